// Is what came from outside within the contract?
//
// Types and encoding are the readers' business (proto_json.h, protobuf); here
// are the bounds of limits.h. Every error is InvalidArgument and names field,
// bound and value: "hostname: must be 1 to 64 bytes, got 65". Values that may
// be secret are never quoted. All functions are pure and thread-safe.

#ifndef MUSTER_LIBPROTOCOL_WIRE_VALIDATION_H_
#define MUSTER_LIBPROTOCOL_WIRE_VALIDATION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/map.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::wire {

using LabelMap = google::protobuf::Map<std::string, std::string>;

// Valid UTF-8 without control characters (C0, DEL, C1), at most `bytes_max`
// bytes. `field` names it in the error.
absl::Status ValidateText(std::string_view field, std::string_view text,
                          size_t bytes_max);

// [a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?
absl::Status ValidateLabelKey(std::string_view key);

// Keys as above, values as ValidateText, at most kLabelsMax of them. `field`
// is the path in errors: "labels".
absl::Status ValidateLabels(std::string_view field, const LabelMap& labels);

// A name of one machine, which cannot be taken for that of another: letters,
// digits, dots, hyphens and underscores, no hyphen or dot first, no UUID, 1 to
// kHostnameBytesMax.
absl::Status ValidateHostname(std::string_view field, std::string_view name);
bool IsHostnameCharacter(char c);

absl::Status ValidateFacts(const v1::AgentFacts& facts);
absl::Status ValidateRegister(const v1::RegisterRequest& request);
absl::Status ValidateRenew(const v1::RenewRequest& request);
absl::Status ValidateCertificateRequest(const v1::CertificateRequest& request);
absl::Status ValidateSetLabels(const v1::SetLabelsRequest& request);
// At least one setting is set or reset, none is both.
absl::Status ValidatePresenceEdit(
    const v1::PresenceSettings& set,
    const google::protobuf::RepeatedField<int>& reset);
absl::Status ValidateSubmitCommand(const v1::SubmitCommandRequest& request);
absl::Status ValidateSubmitBatch(const v1::SubmitBatchRequest& request);
absl::Status ValidateOpenSession(const v1::OpenSessionRequest& request);
// Of a terminal: `field` is its name.
absl::Status ValidateWindowSize(std::string_view field,
                                const v1::WindowSize& size);
// What is piped or typed in one request.
absl::Status ValidateInputData(std::string_view data);

absl::Status ValidateCreateToken(const v1::CreateTokenRequest& request);

absl::Status ValidateSignIn(const v1::SignInRequest& request);
absl::Status ValidateSetPassword(const v1::SetPasswordRequest& request);
absl::Status ValidateChangePassword(const v1::ChangePasswordRequest& request);
absl::Status ValidateCreateOrg(const v1::CreateOrgRequest& request);
absl::Status ValidateCreateUser(const v1::CreateUserRequest& request);
absl::Status ValidateUpdateUser(const v1::UpdateUserRequest& request);
// Scopes are checked where the methods are known.
absl::Status ValidateCreateAccessToken(
    const v1::CreateAccessTokenRequest& request);

// The limit of a list: 0 … kPageSizeMax.
absl::Status ValidatePageSize(uint32_t limit);

// The `wait` of a long poll: 0 … kWaitMax.
absl::Status ValidateWait(const google::protobuf::Duration& wait);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_VALIDATION_H_
