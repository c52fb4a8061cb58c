// The errors that a caller may meet, by name.
//
// Each is an absl::Status whose text can be shown as it is, and which carries
// the `code` of the API's problem document.

#ifndef MUSTER_GATEWAY_FLEET_ERRORS_H_
#define MUSTER_GATEWAY_FLEET_ERRORS_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "gateway/fleet/token_records.h"

namespace muster::gateway {

// `status` with a code of our own, as ErrorCode() returns it.
absl::Status WithCode(absl::Status status, std::string_view code);

// The code given by WithCode(), or "" if there is none.
std::string ErrorCode(const absl::Status& status);

// 403 token_refused: a registration that its token does not admit.
absl::Status TokenRefused(RefusalReason reason);

// The reason given by TokenRefused(), if it made `status`.
std::optional<RefusalReason> RefusalReasonOf(const absl::Status& status);

// "used_up".
std::string_view NameOf(RefusalReason reason);

// 404 not_found: `kind` is "agent", "command", "token".
absl::Status NotFound(std::string_view kind, std::string_view id);

// 400 agent_unreachable: the machine is known and not online. `why` says its
// status, since when, and when it was last heard.
absl::Status AgentUnreachable(std::string_view why);

// 429 too_many_commands: no further one is taken until others have ended.
absl::Status TooManyCommands(std::string_view hostname, size_t open,
                             size_t open_max);

// 429 too_many_batches: no further one is taken until others have ended.
absl::Status TooManyBatches(size_t open, size_t open_max);

// 429 too_many_settings: more different presence settings than are kept.
absl::Status TooManySettings(size_t max);

// 429 too_many_watchers: `watching` says how many of what.
absl::Status TooManyWatchers(std::string_view watching, size_t max);

// 429 too_many_sessions: no further one is opened until others have ended.
absl::Status TooManySessions(size_t open_max);

// 409 session_taken_over: somebody else types now.
absl::Status SessionTakenOver();

// 409 not_attached: nobody has attached, at least since the gateway started.
absl::Status NotAttached();

// 503 input_unknown: the machine has not said where the input goes on.
absl::Status InputUnknown();

// 409 idempotency_conflict: the key was used for a different command.
absl::Status IdempotencyConflict(std::string_view key);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_ERRORS_H_
