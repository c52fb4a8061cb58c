// Columns of text for people and for cut(1).

#ifndef MUSTER_TOOLS_MUSTERCTL_TABLE_H_
#define MUSTER_TOOLS_MUSTERCTL_TABLE_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::ctl {

enum class Color { kNone, kRed, kYellow, kGreen };

struct Cell {
  std::string text;
  Color color = Color::kNone;
};

struct TableStyle {
  bool header = true;
  bool color = false;
  // Columns of the terminal; 0: as wide as it needs.
  size_t columns_max = 0;
};

// Cells that `text` takes on a terminal. Bytes that are no UTF-8 count one
// each.
size_t DisplayWidth(std::string_view text);

// `text` in at most `width` (≥ 1) cells; what was cut is told with "…".
std::string Clip(std::string_view text, size_t width);

// `text` with every control character and broken byte replaced by "?": names
// come from machines and must not steer the terminal.
std::string Printable(std::string_view text);

// Table aligns rows left, two spaces between columns, no spaces at the end of
// a line, never wrapped. Not thread-safe.
class Table {
 public:
  // `elastic` is the title of the column that gives way first on a narrow
  // terminal; then lines are cut.
  explicit Table(std::vector<std::string> titles, std::string elastic = "")
      : titles_(std::move(titles)), elastic_(std::move(elastic)) {}

  // One cell for each title. An empty cell is shown as "-".
  void AddRow(std::vector<Cell> row);

  std::string Render(const TableStyle& style) const;

 private:
  std::vector<size_t> Widths(const TableStyle& style) const;

  const std::vector<std::string> titles_;
  const std::string elastic_;
  std::vector<std::vector<Cell>> rows_;
};

// "Name     value" lines, values aligned; lines with an empty value are left
// out.
std::string Details(
    const std::vector<std::pair<std::string, std::string>>& lines);

// 3000 → "3,000".
std::string Grouped(uint64_t n);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_TABLE_H_
