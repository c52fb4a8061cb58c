#include "tools/musterctl/table.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "fmt/format.h"
#include "libprotocol/base/check.h"
#include "libprotocol/wire/utf8.h"

namespace muster::ctl {
namespace {

constexpr size_t kGap = 2;
// An elastic column narrower than this says nothing any more.
constexpr size_t kElasticMin = 12;

uint32_t CodePoint(std::string_view character) {
  const auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<unsigned char>(character[i]));
  };
  if (character.size() == 1) return byte(0);
  uint32_t point = byte(0) & (0x7fu >> character.size());
  for (size_t i = 1; i < character.size(); ++i) {
    point = point << 6 | (byte(i) & 0x3f);
  }
  return point;
}

// wcwidth() asks the thread's locale; "C" knows ASCII only.
int CharacterWidth(std::string_view character) {
  static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  const locale_t before = uselocale(utf8);
  const int width = wcwidth(static_cast<wchar_t>(CodePoint(character)));
  uselocale(before);
  return std::max(width, 0);
}

// The character at the front, or one broken byte.
std::string_view Front(std::string_view text) {
  return text.substr(0, std::max<size_t>(wire::Utf8Length(text), 1));
}

std::string Painted(const std::string& text, Color color) {
  switch (color) {
    case Color::kNone:
      return text;
    case Color::kRed:
      return "\x1b[31m" + text + "\x1b[0m";
    case Color::kYellow:
      return "\x1b[33m" + text + "\x1b[0m";
    case Color::kGreen:
      return "\x1b[32m" + text + "\x1b[0m";
  }
  return text;
}

}  // namespace

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const std::string_view front = Front(text);
    width += wire::Utf8Length(text) == 0 ? 1 : CharacterWidth(front);
    text.remove_prefix(front.size());
  }
  return width;
}

std::string Clip(std::string_view text, size_t width) {
  if (DisplayWidth(text) <= width) return std::string(text);
  std::string out;
  size_t used = 0;
  while (true) {
    const std::string_view front = Front(text);
    used += DisplayWidth(front);
    if (used + 1 > width) break;
    out += front;
    text.remove_prefix(front.size());
  }
  return out + "…";
}

std::string Printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view front = Front(text);
    const uint32_t point = CodePoint(front);
    const bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
    out += wire::Utf8Length(text) == 0 || control ? "?" : std::string(front);
    text.remove_prefix(front.size());
  }
  return out;
}

void Table::AddRow(std::vector<Cell> row) {
  MUSTER_CHECK(row.size() == titles_.size());
  for (Cell& cell : row) {
    cell.text = cell.text.empty() ? "-" : Printable(cell.text);
  }
  rows_.push_back(std::move(row));
}

std::vector<size_t> Table::Widths(const TableStyle& style) const {
  std::vector<size_t> widths(titles_.size());
  for (size_t i = 0; i < titles_.size(); ++i) {
    widths[i] = style.header ? DisplayWidth(titles_[i]) : 0;
    for (const auto& row : rows_) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i].text));
    }
  }
  const size_t total = std::accumulate(widths.begin(), widths.end(),
                                       kGap * (titles_.size() - 1));
  const auto elastic = std::ranges::find(titles_, elastic_);
  if (style.columns_max == 0 || total <= style.columns_max ||
      elastic == titles_.end()) {
    return widths;
  }
  size_t& width = widths[elastic - titles_.begin()];
  const size_t excess = total - style.columns_max;
  const size_t least = std::min(width, kElasticMin);
  width = width > excess ? std::max(width - excess, least) : least;
  return widths;
}

std::string Table::Render(const TableStyle& style) const {
  const std::vector<size_t> widths = Widths(style);
  std::string out;
  const auto line = [&](const std::vector<Cell>& cells) {
    size_t used = 0, blanks = 0;
    for (size_t i = 0; i < cells.size(); ++i) {
      size_t room = i + 1 < cells.size() || cells[i].text.empty()
                        ? widths[i]
                        : std::string::npos;
      if (style.columns_max != 0) {
        if (used + blanks + 1 > style.columns_max) break;
        room = std::min(room, style.columns_max - used - blanks);
      }
      const std::string text = Clip(cells[i].text, room);
      out += std::string(blanks, ' ');
      out += style.color ? Painted(text, cells[i].color) : text;
      const size_t width = DisplayWidth(text);
      used += blanks + width;
      blanks = widths[i] - std::min(width, widths[i]) + kGap;
    }
    out += '\n';
  };
  if (style.header) {
    std::vector<Cell> titles;
    for (const std::string& title : titles_) titles.push_back({title});
    line(titles);
  }
  for (const auto& row : rows_) line(row);
  return out;
}

std::string Details(
    const std::vector<std::pair<std::string, std::string>>& lines) {
  size_t width = 0;
  for (const auto& [name, value] : lines) {
    if (!value.empty()) width = std::max(width, DisplayWidth(name));
  }
  std::string out;
  for (const auto& [name, value] : lines) {
    if (value.empty()) continue;
    out += fmt::format("{:<{}}  {}\n", name, width, Printable(value));
  }
  return out;
}

std::string Grouped(uint64_t n) {
  std::string text = std::to_string(n);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

}  // namespace muster::ctl
