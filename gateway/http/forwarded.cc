#include "gateway/http/forwarded.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/net/dial.h"

namespace muster::gateway {
namespace {

std::string_view Trimmed(std::string_view text) {
  return ToStd(absl::StripAsciiWhitespace(ToAbsl(text)));
}

// All that proxies added under this name, the newest last.
std::vector<std::string> Added(const HttpRequest& request,
                               std::string_view header) {
  std::vector<std::string> words;
  for (const auto& [name, value] : request.headers) {
    if (name != header) continue;
    for (const auto word : absl::StrSplit(ToAbsl(value), ',')) {
      words.emplace_back(Trimmed(ToStd(word)));
    }
  }
  return words;
}

}  // namespace

absl::StatusOr<TrustedProxies> TrustedProxies::Parse(std::string_view text) {
  TrustedProxies proxies;
  for (const auto part : absl::StrSplit(ToAbsl(text), ',')) {
    const std::string_view one = Trimmed(ToStd(part));
    if (one.empty()) continue;
    auto range = AddressRange::Parse(one);
    if (!range.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("{:?} {}", one, ToStd(range.status().message())));
    }
    proxies.ranges_.push_back(*std::move(range));
  }
  return proxies;
}

bool TrustedProxies::Trusts(std::string_view address) const {
  return std::ranges::any_of(ranges_, [&](const AddressRange& range) {
    return range.Contains(address);
  });
}

std::string TrustedProxies::ClientOf(const HttpRequest& request) const {
  std::string nearest = request.peer_address;
  std::vector<std::string> hops = Added(request, "x-forwarded-for");
  while (Trusts(nearest) && !hops.empty() && IsIpAddress(hops.back())) {
    nearest = std::move(hops.back());
    hops.pop_back();
  }
  return nearest;
}

bool TrustedProxies::Secure(const HttpRequest& request, bool here) const {
  if (!Trusts(request.peer_address)) return here;
  const std::vector<std::string> said = Added(request, "x-forwarded-proto");
  return said.empty() ? here : said.back() == "https";
}

}  // namespace muster::gateway
