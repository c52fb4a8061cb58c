// How the rules ask for something to be remembered.

#ifndef MUSTER_GATEWAY_FLEET_JOURNAL_H_
#define MUSTER_GATEWAY_FLEET_JOURNAL_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

struct LastHeard {
  std::vector<std::pair<AgentId, absl::Time>> at;
};

struct LabelChange {
  AgentId agent;
  Labels labels;
};

struct PresenceChange {
  OrgId org;
  std::vector<AgentId> agents;  // An empty one stands for the org itself.
  PresenceEdit edit;
};

// One thing to remember. Several make one transaction. A MachineRecord does not
// change the labels of a machine that is stored, a LabelChange only those; its
// status is changed by TransitionRecords, see KeepStatus().
using Change = std::variant<MachineRecord, TransitionRecord, LinkRecord,
                            CommandRecord, LastHeard, LabelChange, NoteRecord,
                            IncidentRecord, BlindRecord, PresenceChange,
                            BatchRecord>;

// What a store does with the status of a machine that it knows: only the
// transition that is stored with it changes it, as `record` may be ahead of a
// transition that still waits, and history would have a gap after a crash.
inline void KeepStatus(const MachineRecord& stored, MachineRecord& record) {
  if (record.transition_sequence != stored.transition_sequence) {
    record.verdict = stored.verdict;
  }
  record.status = stored.status;
  record.status_since = stored.status_since;
  record.transition_sequence = stored.transition_sequence;
}
// What it does with an incident: a count never falls, and what is over stays
// so, as two writers tell of it, each in its own time.
inline void TakeIncident(const IncidentRecord& incident,
                         IncidentRecord& stored) {
  const uint32_t machines = std::max(stored.machines, incident.machines);
  const auto closed_at =
      incident.closed_at ? incident.closed_at : stored.closed_at;
  stored = incident;
  stored.machines = machines;
  stored.closed_at = closed_at;
}
inline void TakeStatus(const TransitionRecord& transition,
                       MachineRecord& stored) {
  stored.status = transition.to;
  stored.status_since = transition.at;
  stored.transition_sequence = transition.sequence;
  stored.verdict = transition.verdict;
  if (transition.to == Status::kOnline) stored.incident.clear();
}

// The same write may succeed later.
inline bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

// Journal writes in the order of its calls. Called on the fleet loop; never
// blocks; every `done` runs once, later, on that loop, after the write is
// durable or has failed. Unavailable and ResourceExhausted may pass. Aborted:
// the store knows a newer epoch of that machine, which wins.
class Journal {
 public:
  virtual ~Journal() = default;

  // All of `changes` or none.
  virtual void Put(std::vector<Change> changes,
                   absl::AnyInvocable<void(absl::Status)> done) = 0;

  // Adds a queued command, or finds the one that the same idempotency key made
  // before. AlreadyExists if that one is different.
  virtual void AddCommand(
      CommandRecord command,
      absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> done) = 0;

  // Adds a batch of these machines, or finds the one that the same idempotency
  // key made before. AlreadyExists if that one is different. A Change of one
  // that was never added is NotFound.
  virtual void AddBatch(
      BatchRecord batch, std::vector<AgentId> targets,
      absl::AnyInvocable<void(absl::StatusOr<BatchRecord>)> done) = 0;

  // NotFound if there is none.
  virtual void LoadCommand(
      CommandId id,
      absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> done) = 0;

  // Appends output and returns the stored end of that stream.
  virtual void AppendOutput(
      OutputRecord output,
      absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> done) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_JOURNAL_H_
