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

// The value is never quoted.
absl::Status CheckPasswordLength(std::string_view field,
                                 std::string_view password, size_t min) {
  if (password.size() >= min && password.size() <= kPasswordBytesMax) {
    return absl::OkStatus();
  }
  return Invalid("{}: must be {} to {} bytes, got {}", field, min,
                 kPasswordBytesMax, password.size());
}

absl::Status ValidateUserRole(v1::Role role) {
  if (role >= v1::ROLE_VIEWER && role <= v1::ROLE_ADMIN) {
    return absl::OkStatus();
  }
  return Invalid("role: must be viewer, operator or admin");
}

}  // namespace

absl::Status ValidateSignIn(const v1::SignInRequest& request) {
  // Nothing is said of what could be right; only that it can be looked up.
  if (request.org().size() > kOrgNameBytesMax) {
    return Invalid("org: must be at most {} bytes, got {}", kOrgNameBytesMax,
                   request.org().size());
  }
  if (request.name().empty() || request.name().size() > kUserNameBytesMax) {
    return Invalid("name: must be 1 to {} bytes, got {}", kUserNameBytesMax,
                   request.name().size());
  }
  return CheckPasswordLength("password", request.password(), 1);
}

absl::Status ValidateSetPassword(const v1::SetPasswordRequest& request) {
  if (request.password().empty()) return absl::OkStatus();  // None any more.
  return CheckPasswordLength("password", request.password(), kPasswordBytesMin);
}

absl::Status ValidateChangePassword(const v1::ChangePasswordRequest& request) {
  RETURN_IF_ERROR(
      CheckPasswordLength("current_password", request.current_password(), 1));
  return CheckPasswordLength("password", request.password(), kPasswordBytesMin);
}

absl::Status ValidateCreateOrg(const v1::CreateOrgRequest& request) {
  const std::string& name = request.name();
  const auto is_middle = [](char c) { return IsLabelEnd(c) || c == '-'; };
  if (!name.empty() && name.size() <= kOrgNameBytesMax &&
      IsLabelEnd(name.front()) && IsLabelEnd(name.back()) &&
      std::all_of(name.begin(), name.end(), is_middle)) {
    return absl::OkStatus();
  }
  return Invalid("name: must be 1 to {} of a-z, 0-9 and inner hyphens, got {}",
                 kOrgNameBytesMax, Shown(name));
}

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
