#include "gateway/store/sqlite/columns.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace muster::gateway::sqlite {
namespace {

template <typename T>
absl::StatusOr<std::string> ToJson(const T& value, const char* what) {
  try {
    return nlohmann::json(value).dump();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError(fmt::format("{}: not UTF-8", what));
  }
}

template <typename T>
absl::StatusOr<T> FromJson(const std::string& json, const char* what) {
  try {
    return nlohmann::json::parse(json).get<T>();
  } catch (const nlohmann::json::exception&) {
    return absl::DataLossError(
        fmt::format("the database holds {} that cannot be read", what));
  }
}

}  // namespace

VerdictColumns::VerdictColumns(const std::optional<Verdict>& verdict) {
  if (!verdict.has_value()) return;
  domain = verdict->domain;
  cause = verdict->cause;
  confidence = verdict->confidence;
  summary = verdict->summary;
}

TerminalColumns::TerminalColumns(const std::optional<Terminal>& terminal) {
  if (!terminal) return;
  rows = terminal->size.rows;
  columns = terminal->size.columns;
  type = terminal->type;
  keep = terminal->keep;
  recorded = terminal->recorded;
}

std::optional<Terminal> TerminalColumns::ToTerminal() const {
  if (!rows || !columns || !type || !keep || !recorded) return std::nullopt;
  return Terminal{.size = {*rows, *columns},
                  .type = *type,
                  .keep = *keep,
                  .recorded = *recorded};
}

std::optional<Verdict> VerdictColumns::ToVerdict() const {
  if (!domain.has_value()) return std::nullopt;
  return Verdict{*domain, cause.value_or(Cause::kUndetermined),
                 confidence.value_or(Confidence::kUndetermined),
                 summary.value_or("")};
}

absl::StatusOr<std::string> LabelsToJson(const Labels& labels) {
  return ToJson(labels, "labels");
}
absl::StatusOr<Labels> LabelsFromJson(const std::string& json) {
  return FromJson<Labels>(json, "labels");
}
absl::StatusOr<std::string> EnvironmentToJson(
    const std::map<std::string, std::string>& environment) {
  return ToJson(environment, "environment");
}
absl::StatusOr<std::map<std::string, std::string>> EnvironmentFromJson(
    const std::string& json) {
  return FromJson<std::map<std::string, std::string>>(json, "environment");
}
absl::StatusOr<std::string> ArgvToJson(const std::vector<std::string>& argv) {
  return ToJson(argv, "argv");
}
absl::StatusOr<std::vector<std::string>> ArgvFromJson(const std::string& json) {
  return FromJson<std::vector<std::string>>(json, "argv");
}

}  // namespace muster::gateway::sqlite
