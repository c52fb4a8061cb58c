// What makes a registration token.

#include <algorithm>
#include <string>
#include <string_view>

#include "libprotocol/base/address_range.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/validation.h"
#include "libprotocol/wire/validation_parts.h"

namespace muster::wire {
namespace {

absl::Status ValidateAllowedFrom(
    const google::protobuf::RepeatedPtrField<std::string>& allowed_from) {
  if (static_cast<size_t>(allowed_from.size()) > kTokenRangesMax) {
    return Invalid("allowed_from: at most {} addresses and networks, got {}",
                   kTokenRangesMax, allowed_from.size());
  }
  for (int i = 0; i < allowed_from.size(); ++i) {
    const auto range = AddressRange::Parse(allowed_from[i]);
    if (!range.ok()) {
      return Invalid("allowed_from[{}]: {}, got {}", i,
                     ToStd(range.status().message()), Shown(allowed_from[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateHostnameGlob(std::string_view glob) {
  const auto is_glob_character = [](char c) {
    return IsHostnameCharacter(c) || c == '*' || c == '?';
  };
  if (glob.size() <= kHostnameBytesMax &&
      std::all_of(glob.begin(), glob.end(), is_glob_character)) {
    return absl::OkStatus();
  }
  return Invalid(
      "hostname: must be at most {} letters, digits, dots, hyphens, "
      "underscores, * and ?, got {}",
      kHostnameBytesMax, Shown(glob));
}

absl::Status ValidateExpire(const v1::CreateTokenRequest& request) {
  if (!request.has_expire()) return absl::OkStatus();
  if (!request.ephemeral()) {
    return Invalid(
        "expire: only of ephemeral machines, and ephemeral is false");
  }
  return ValidateDuration("expire", request.expire(), kEphemeralMin,
                          kEphemeralMax);
}

}  // namespace

absl::Status ValidateCreateToken(const v1::CreateTokenRequest& request) {
  RETURN_IF_ERROR(ValidateText("description", request.description(),
                               kTokenDescriptionBytesMax));
  if (request.has_ttl()) {
    RETURN_IF_ERROR(
        ValidateDuration("ttl", request.ttl(), kTokenTtlMin, kTokenTtlMax));
  }
  if (request.has_uses_max() &&
      (request.uses_max() == 0 || request.uses_max() > kTokenUsesMax)) {
    return Invalid("uses_max: must be 1 to {}, got {}", kTokenUsesMax,
                   request.uses_max());
  }
  RETURN_IF_ERROR(ValidateAllowedFrom(request.allowed_from()));
  RETURN_IF_ERROR(ValidateHostnameGlob(request.hostname()));
  RETURN_IF_ERROR(ValidateExpire(request));
  return ValidateLabels("labels", request.labels());
}

}  // namespace muster::wire
