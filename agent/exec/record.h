// How are the small files of a command folder written down?
//
//   key=value
//   key=value
//   end
//
// One pair a line; bytes below 0x20, 0x7f and '%' appear as %XX, so every value
// fits. The last line tells a whole record from a cut one.

#ifndef MUSTER_AGENT_EXEC_RECORD_H_
#define MUSTER_AGENT_EXEC_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace muster::agent {

// Record is an ordered list of pairs. A plain value.
class Record {
 public:
  // `key` is one of ours: lower-case letters and '_'.
  void Add(std::string_view key, std::string_view value);
  void Add(std::string_view key, int64_t value);
  std::string Encode() const;

  // DataLoss naming the line that is none, or a missing end. A key that nobody
  // asks for is no error: an older agent reads what a newer shim wrote.
  static absl::StatusOr<Record> Parse(std::string_view text);

  // DataLoss unless `key` occurs exactly once and, for Int(), holds a decimal
  // number within [min, max].
  absl::StatusOr<std::string> Text(std::string_view key) const;
  absl::StatusOr<int64_t> Int(std::string_view key, int64_t min,
                              int64_t max) const;

  // Every value of `key`, in order; none is fine.
  std::vector<std::string> All(std::string_view key) const;
  bool Has(std::string_view key) const { return !All(key).empty(); }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_RECORD_H_
