// Percent-encoding and query strings, decoded exactly once.

#ifndef MUSTER_GATEWAY_HTTP_URL_H_
#define MUSTER_GATEWAY_HTTP_URL_H_

#include <optional>
#include <string>
#include <string_view>

#include "libprotocol/wire/proto_json.h"

namespace muster::gateway {

// Nothing if a "%" is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecode(std::string_view text);

// Encodes everything but letters, digits and "-._~".
std::string PercentEncode(std::string_view text);

// "a=1&b=x+y" → pairs in order; "+" is a space, "a" alone has an empty value,
// empty parts are skipped. Nothing if an encoding is broken.
std::optional<wire::QueryPairs> ParseQuery(std::string_view query);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_URL_H_
