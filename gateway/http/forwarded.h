// Who asks, when a proxy of ours stands between.

#ifndef MUSTER_GATEWAY_HTTP_FORWARDED_H_
#define MUSTER_GATEWAY_HTTP_FORWARDED_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/http/http_message.h"
#include "libprotocol/base/address_range.h"

namespace muster::gateway {

// TrustedProxies says which connections come from proxies that tell the truth
// in X-Forwarded-For and X-Forwarded-Proto. From anybody else these headers
// count for nothing: whoever asks could write what he likes.
class TrustedProxies {
 public:
  // None.
  TrustedProxies() = default;

  // Addresses and networks, separated by commas: "10.0.0.5, 10.1.0.0/16".
  // InvalidArgument that names the one that is none.
  static absl::StatusOr<TrustedProxies> Parse(std::string_view text);

  // The nearest address on the way that is no trusted proxy's. Each proxy adds
  // at the end whom it saw, so what stands before the first stranger is the
  // stranger's own invention.
  std::string ClientOf(const HttpRequest& request) const;

  // Whether the client speaks TLS, by the nearest proxy; `here`: this port
  // does.
  bool Secure(const HttpRequest& request, bool here) const;

 private:
  bool Trusts(std::string_view address) const;

  std::vector<AddressRange> ranges_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_FORWARDED_H_
