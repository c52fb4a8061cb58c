// The decisions that every FleetStore must take alike.

#ifndef MUSTER_GATEWAY_STORE_STORE_RULES_H_
#define MUSTER_GATEWAY_STORE_STORE_RULES_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/store/fleet_store.h"

namespace muster::gateway {

absl::Status UnknownToken(const TokenId& id);
// NotFound: a refusal is remembered of a token that exists only.
absl::Status NoTokenToRefuse();
absl::Status UnknownCommand(const CommandId& id);
absl::Status UnknownKey(std::string_view key);
absl::Status UnknownBatch(const BatchId& id);
absl::Status UnknownMachine(const AgentId& id);
absl::Status UnknownUser(std::string_view name);
absl::Status OrgExists(const OrgId& id);
absl::Status UserExists(std::string_view name);
// The user after `edit`.
UserRecord Edited(UserRecord user, const UserEdit& edit);
absl::Status MachineIdTaken(const AgentId& id);
// Aborted: what was judged of an older epoch does not count any more.
absl::Status NewerEpoch(const MachineRecord& refused);

// Whether `token` opens the door to this `request`; else TokenRefused().
// `repeated`: its holder has already passed with the same key; then its end and
// its uses do not shut it any more.
absl::Status CheckToken(const TokenRecord& token, bool repeated,
                        const EnrollmentRequest& request);

// AlreadyExists for a tombstone: deletion is not undone by registering again.
// Whether `key_pin`, with which it was registered, still speaks for it.
absl::Status CheckKeyHeld(const MachineRecord& machine,
                          const std::string& key_pin);
absl::Status KeyOfAnother(const MachineRecord& other);
absl::Status CheckNotDeleted(const MachineRecord& machine);

// The machine as it is born: stale, never connected, and what its token says.
MachineRecord NewMachine(const EnrollmentRequest& request,
                         const TokenRecord& token);

// What a second use of an idempotency key gets: the `stored` command if it is
// the same request, else AlreadyExists.
absl::StatusOr<CommandRecord> SameRequest(const CommandRecord& stored,
                                          const CommandRecord& asked);

// The same for a batch.
absl::StatusOr<BatchRecord> SameRequest(const BatchRecord& stored,
                                        const BatchRecord& asked);
// The batch of `now` has ended: one of its machines, which counted as `before`,
// counts as it is now.
void CountAnew(BatchCounts& counts, const CommandRecord& before,
               const CommandRecord& now);
// `batch` with what PutBatch() replaces, and nothing else of `changed`.
BatchRecord Changed(BatchRecord batch, const BatchRecord& changed);

struct FreshOutput {
  uint64_t start = 0;
  std::string_view bytes;  // Points into the record.
};
// The part of `output` behind `end`, the stored end of its stream. OutOfRange
// if there is a hole between the two, unless it is a recording.
absl::StatusOr<FreshOutput> FreshPart(const OutputRecord& output, uint64_t end);

// Cuts off what lies before `offset`, which is less than the record's end.
void SkipBefore(OutputRecord& output, uint64_t offset);

// Not terminal, or output is still to come.
bool IsOpen(const CommandRecord& command);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_STORE_RULES_H_
