// How the compound parts of a record fit into columns.

#ifndef MUSTER_GATEWAY_STORE_SQLITE_COLUMNS_H_
#define MUSTER_GATEWAY_STORE_SQLITE_COLUMNS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/records.h"

namespace muster::gateway::sqlite {

// An optional verdict as four columns, all NULL or none.
struct VerdictColumns {
  VerdictColumns() = default;
  explicit VerdictColumns(const std::optional<Verdict>& verdict);
  std::optional<Verdict> ToVerdict() const;

  std::optional<Domain> domain;
  std::optional<Cause> cause;
  std::optional<Confidence> confidence;
  std::optional<std::string> summary;
};

// What a session runs on as columns, all NULL or none.
struct TerminalColumns {
  TerminalColumns() = default;
  explicit TerminalColumns(const std::optional<Terminal>& terminal);
  std::optional<Terminal> ToTerminal() const;

  std::optional<uint32_t> rows;
  std::optional<uint32_t> columns;
  std::optional<std::string> type;
  std::optional<absl::Duration> keep;
  std::optional<bool> recorded;
};

// Greater than every id.
inline constexpr char kAfterEveryId[] = "\U0010FFFF";

// JSON, so that a person with a database shell can read it. InvalidArgument if
// a text is not UTF-8; reading fails with DataLoss.
absl::StatusOr<std::string> LabelsToJson(const Labels& labels);
absl::StatusOr<Labels> LabelsFromJson(const std::string& json);
absl::StatusOr<std::string> EnvironmentToJson(
    const std::map<std::string, std::string>& environment);
absl::StatusOr<std::map<std::string, std::string>> EnvironmentFromJson(
    const std::string& json);
absl::StatusOr<std::string> ArgvToJson(const std::vector<std::string>& argv);
absl::StatusOr<std::vector<std::string>> ArgvFromJson(const std::string& json);

}  // namespace muster::gateway::sqlite

#endif  // MUSTER_GATEWAY_STORE_SQLITE_COLUMNS_H_
