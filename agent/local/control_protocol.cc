#include "agent/local/control_protocol.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/json_tree.h"
#include "nlohmann/json.hpp"

namespace muster::agent {
namespace {

constexpr std::pair<ControlVerb, std::string_view> kVerbs[] = {
    {ControlVerb::kStatus, "status"},
    {ControlVerb::kHeartbeatNow, "heartbeat-now"},
    {ControlVerb::kStop, "stop"},
    {ControlVerb::kStopForUpgrade, "stop-for-upgrade"},
    {ControlVerb::kLeave, "leave"},
    {ControlVerb::kReplaced, "replaced"},
};

absl::StatusOr<nlohmann::json> ParseObject(std::string_view line) {
  if (line.size() > kControlLineBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("a line is at most {} bytes, got {}", kControlLineBytesMax,
                    line.size()));
  }
  ASSIGN_OR_RETURN(nlohmann::json tree, wire::ParseJsonTree(line));
  if (!tree.is_object())
    return absl::InvalidArgumentError("expected an object");
  return tree;
}

std::string Line(const nlohmann::json& tree) {
  return tree.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace

std::string_view VerbName(ControlVerb verb) {
  for (const auto& [value, name] : kVerbs) {
    if (value == verb) return name;
  }
  return "";
}

absl::Status ValidateBackWithin(std::string_view field, absl::Duration value) {
  if (value >= kBackWithinMin && value <= kBackWithinMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format("{}: must be {} to {}, got {}",
                                                field, kBackWithinMin,
                                                kBackWithinMax, value));
}

std::string RenderRequest(const ControlRequest& request) {
  nlohmann::json tree = {{"verb", std::string(VerbName(request.verb))}};
  if (request.back_within) {
    tree["back_within"] = wire::DurationText(*request.back_within);
  }
  return Line(tree);
}

std::string RenderReply(const ControlReply& reply) {
  return Line(
      {{"ok", reply.ok}, {"text", reply.text}, {"fields", reply.fields}});
}

absl::StatusOr<ControlRequest> ParseRequest(std::string_view line) {
  ASSIGN_OR_RETURN(const nlohmann::json tree, ParseObject(line));
  const auto verb = tree.find("verb");
  if (verb == tree.end() || !verb->is_string()) {
    return absl::InvalidArgumentError("verb: expected a string");
  }
  const auto* const known =
      std::ranges::find(kVerbs, verb->get_ref<const std::string&>(),
                        [](const auto& entry) { return entry.second; });
  if (known == std::end(kVerbs)) {
    return absl::InvalidArgumentError("verb: unknown");
  }
  ControlRequest request{.verb = known->first};
  const auto back_within = tree.find("back_within");
  if (back_within == tree.end()) return request;
  if (!back_within->is_string()) {
    return absl::InvalidArgumentError("back_within: expected a string");
  }
  ASSIGN_OR_RETURN(
      request.back_within,
      wire::ParseDurationText(back_within->get_ref<const std::string&>()));
  RETURN_IF_ERROR(ValidateBackWithin("back_within", *request.back_within));
  return request;
}

absl::StatusOr<ControlReply> ParseReply(std::string_view line) {
  ASSIGN_OR_RETURN(const nlohmann::json tree, ParseObject(line));
  ControlReply reply;
  const auto ok = tree.find("ok");
  const auto text = tree.find("text");
  if (ok == tree.end() || !ok->is_boolean() || text == tree.end() ||
      !text->is_string()) {
    return absl::InvalidArgumentError("expected \"ok\" and \"text\"");
  }
  reply.ok = ok->get<bool>();
  reply.text = text->get<std::string>();
  if (const auto fields = tree.find("fields");
      fields != tree.end() && fields->is_object()) {
    for (const auto& [key, value] : fields->items()) {
      if (value.is_string()) reply.fields[key] = value.get<std::string>();
    }
  }
  return reply;
}

}  // namespace muster::agent
