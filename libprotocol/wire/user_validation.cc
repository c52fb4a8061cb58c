#include <algorithm>
#include <string_view>

#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/validation.h"
#include "libprotocol/wire/validation_parts.h"

namespace muster::wire {
namespace {

absl::Status ValidateUserName(std::string_view name) {
  const auto is_middle = [](char c) {
    return IsLabelEnd(c) || c == '.' || c == '_' || c == '-' || c == '@';
  };
  if (name.empty() || name.size() > kUserNameBytesMax ||
      !IsLabelEnd(name.front()) || !IsLabelEnd(name.back()) ||
      !std::all_of(name.begin(), name.end(), is_middle)) {
    return Invalid(
        "name: must be 1 to {} of a-z, 0-9 and inner . _ - @, got {}",
        kUserNameBytesMax, Shown(name));
  }
  if (name == "admin-token") {
    return Invalid("name: {} is the holder of the gateway's own token", name);
  }
  return absl::OkStatus();
}

absl::Status ValidateUserRole(v1::Role role) {
  if (role >= v1::ROLE_VIEWER && role <= v1::ROLE_ADMIN) {
    return absl::OkStatus();
  }
  return Invalid("role: must be viewer, operator or admin");
}

}  // namespace

absl::Status ValidateCreateUser(const v1::CreateUserRequest& request) {
  RETURN_IF_ERROR(ValidateUserName(request.name()));
  return ValidateUserRole(request.role());
}

absl::Status ValidateUpdateUser(const v1::UpdateUserRequest& request) {
  if (!request.has_role() && !request.has_disabled()) {
    return Invalid("role: nothing changes; give role or disabled");
  }
  return request.has_role() ? ValidateUserRole(request.role())
                            : absl::OkStatus();
}

absl::Status ValidateCreateAccessToken(
    const v1::CreateAccessTokenRequest& request) {
  RETURN_IF_ERROR(ValidateText("description", request.description(),
                               kTokenDescriptionBytesMax));
  if (!request.has_ttl()) return absl::OkStatus();
  return ValidateDuration("ttl", request.ttl(), kAccessTokenTtlMin,
                          kAccessTokenTtlMax);
}

}  // namespace muster::wire
