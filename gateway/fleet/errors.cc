#include "gateway/fleet/errors.h"

#include "absl/strings/cord.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {
constexpr char kCodePayload[] = "muster/code";
constexpr char kRefusalPayload[] = "muster/refusal";
// Real ids are shorter; a caller's long one is not sent back whole.
constexpr size_t kIdBytesShownMax = 64;

constexpr RefusalReason kRefusalReasons[] = {
    RefusalReason::kUnknown, RefusalReason::kRevoked, RefusalReason::kExpired,
    RefusalReason::kUsedUp,  RefusalReason::kAddress, RefusalReason::kHostname};

// Says nothing of what the token would admit.
std::string_view Sentence(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kUnknown:
      return "unknown token";
    case RefusalReason::kRevoked:
      return "token revoked";
    case RefusalReason::kExpired:
      return "token expired";
    case RefusalReason::kUsedUp:
      return "token used up";
    case RefusalReason::kAddress:
      return "token not valid from this address";
    case RefusalReason::kHostname:
      return "token not valid for this hostname";
  }
  return "token refused";
}
}  // namespace

absl::Status WithCode(absl::Status status, std::string_view code) {
  status.SetPayload(kCodePayload, absl::Cord(ToAbsl(code)));
  return status;
}

std::string ErrorCode(const absl::Status& status) {
  const auto payload = status.GetPayload(kCodePayload);
  return payload.has_value() ? std::string(*payload) : "";
}

absl::Status TokenRefused(RefusalReason reason) {
  absl::Status status = WithCode(
      absl::PermissionDeniedError(ToAbsl(Sentence(reason))), "token_refused");
  status.SetPayload(kRefusalPayload, absl::Cord(ToAbsl(NameOf(reason))));
  return status;
}

std::optional<RefusalReason> RefusalReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRefusalPayload);
  if (!payload) return std::nullopt;
  for (const RefusalReason reason : kRefusalReasons) {
    if (*payload == ToAbsl(NameOf(reason))) return reason;
  }
  return std::nullopt;
}

std::string_view NameOf(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kUnknown:
      return "unknown";
    case RefusalReason::kRevoked:
      return "revoked";
    case RefusalReason::kExpired:
      return "expired";
    case RefusalReason::kUsedUp:
      return "used_up";
    case RefusalReason::kAddress:
      return "address";
    case RefusalReason::kHostname:
      return "hostname";
  }
  return "unknown";
}

absl::Status NotFound(std::string_view kind, std::string_view id) {
  if (id.size() > kIdBytesShownMax) id = id.substr(0, kIdBytesShownMax);
  return WithCode(
      absl::NotFoundError(fmt::format("{} \"{}\" not found", kind, id)),
      "not_found");
}

absl::Status AgentUnreachable(std::string_view why) {
  return WithCode(absl::FailedPreconditionError(ToAbsl(why)),
                  "agent_unreachable");
}

absl::Status TooManyCommands(std::string_view hostname, size_t open,
                             size_t open_max) {
  return WithCode(absl::ResourceExhaustedError(
                      fmt::format("{} has {} open commands, the limit is {}",
                                  hostname, open, open_max)),
                  "too_many_commands");
}

absl::Status TooManyBatches(size_t open, size_t open_max) {
  return WithCode(
      absl::ResourceExhaustedError(fmt::format(
          "{} batches have not ended, the limit is {}", open, open_max)),
      "too_many_batches");
}

absl::Status TooManySettings(size_t max) {
  return WithCode(
      absl::ResourceExhaustedError(fmt::format(
          "{} different presence settings were given to machines since this "
          "gateway started, and no more are kept: use some of them, or restart "
          "the gateway",
          max)),
      "too_many_settings");
}

absl::Status TooManyWatchers(std::string_view watching, size_t max) {
  return WithCode(absl::ResourceExhaustedError(
                      fmt::format("{}, the limit is {}", watching, max)),
                  "too_many_watchers");
}

absl::Status TooManySessions(size_t open_max) {
  return WithCode(absl::ResourceExhaustedError(fmt::format(
                      "{} sessions are open, which is the limit", open_max)),
                  "too_many_sessions");
}

absl::Status SessionTakenOver() {
  return WithCode(
      absl::AbortedError("somebody else has attached to this session: attach "
                         "again to take it back"),
      "session_taken_over");
}

absl::Status NotAttached() {
  return WithCode(absl::AbortedError("nobody is attached to this session, "
                                     "perhaps as the gateway was restarted: "
                                     "attach to go on"),
                  "not_attached");
}

absl::Status InputUnknown() {
  return WithCode(
      absl::UnavailableError("the machine has not said yet where the input of "
                             "this session goes on: try again"),
      "input_unknown");
}

absl::Status IdempotencyConflict(std::string_view key) {
  return WithCode(
      absl::AlreadyExistsError(fmt::format(
          "idempotency_key \"{}\" was used for a different command", key)),
      "idempotency_conflict");
}

}  // namespace muster::gateway
