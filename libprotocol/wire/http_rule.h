// Where an operator method lives in HTTP, as its `http` option says.

#ifndef MUSTER_LIBPROTOCOL_WIRE_HTTP_RULE_H_
#define MUSTER_LIBPROTOCOL_WIRE_HTTP_RULE_H_

#include <string>
#include <string_view>
#include <utility>

#include "muster/v1/options.pb.h"

namespace muster::wire {

// In Accept, for an answer that is the message itself and no JSON: bulk output
// costs a tenth of the processor time so. Problems are JSON all the same.
inline constexpr std::string_view kProtobufType = "application/x-protobuf";

// {"GET", "/api/agents"}; empty if the option names no verb.
inline std::pair<std::string, std::string> VerbAndPattern(
    const v1::HttpRule& rule) {
  switch (rule.pattern_case()) {
    case v1::HttpRule::kGet:
      return {"GET", rule.get()};
    case v1::HttpRule::kPost:
      return {"POST", rule.post()};
    case v1::HttpRule::kPut:
      return {"PUT", rule.put()};
    case v1::HttpRule::kPatch:
      return {"PATCH", rule.patch()};
    case v1::HttpRule::kDelete:
      return {"DELETE", rule.delete_()};
    case v1::HttpRule::PATTERN_NOT_SET:
      return {};
  }
  return {};
}

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_HTTP_RULE_H_
