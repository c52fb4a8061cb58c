// The nouns of the fleet, as the rules see them and the store keeps them.
//
// Plain data, no behaviour. Enum values are stored and equal those of
// proto/muster/v1 (a test compares them); never renumber.

#ifndef MUSTER_GATEWAY_FLEET_RECORDS_H_
#define MUSTER_GATEWAY_FLEET_RECORDS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {

enum class Status : uint8_t { kOnline = 1, kStale = 2, kOffline = 3 };

enum class Domain : uint8_t {
  kGateway = 1,
  kNetwork = 2,
  kHost = 3,
  kAgent = 4,
  kIdentity = 5,
  kUnknown = 6,
};

enum class Confidence : uint8_t {
  kProven = 1,
  kLikely = 2,
  kUndetermined = 3,
};

enum class Cause : uint8_t {
  kUndetermined = 1,
  kNeverConnected = 2,
  kNetworkInterrupted = 10,
  kNetworkOneWay = 11,
  kNetworkGroup = 12,
  kAgentStopped = 20,
  kAgentRestarted = 21,
  kAgentCrashed = 22,
  kAgentUpgrading = 23,
  kAgentHung = 24,
  kAgentOomKilled = 25,
  kHostShutdown = 30,
  kHostRebooted = 31,
  kHostCrashed = 32,
  kHostSuspended = 33,
  kGatewayDrift = 40,
  kGatewayRestarted = 41,
  kGatewayBlind = 42,
  kCredentialRevoked = 50,
  kCredentialExpired = 51,
  kClockWrong = 52,
  kVersionRefused = 53,
  kDuplicateIdentity = 54,
  kNotRegistered = 55,
};

// Why a machine is not online, in short.
struct Verdict {
  Domain domain = Domain::kUnknown;
  Cause cause = Cause::kUndetermined;
  Confidence confidence = Confidence::kUndetermined;
  std::string summary;  // At most 48 characters.

  friend bool operator==(const Verdict&, const Verdict&) = default;
};

using Labels = std::map<std::string, std::string>;

// What an org, or one machine, has of its own in place of what holds for all
// (presence.h). Absent: inherited.
struct PresenceSettings {
  std::optional<absl::Duration> heartbeat_interval;
  std::optional<absl::Duration> stale_after;
  std::optional<absl::Duration> offline_after;  // Infinite: never.
  std::optional<absl::Duration> reconnect_grace;

  friend bool operator==(const PresenceSettings&,
                         const PresenceSettings&) = default;
};
using PresenceField = std::optional<absl::Duration> PresenceSettings::*;

// A change of some of them: those in `set` get its values, those in `reset` are
// inherited again, the others stay.
struct PresenceEdit {
  PresenceSettings set;
  std::vector<PresenceField> reset;
};

// The settings of a machine; of the org itself if `agent` is empty.
struct PresenceRecord {
  OrgId org;
  AgentId agent;
  PresenceSettings settings;

  friend bool operator==(const PresenceRecord&,
                         const PresenceRecord&) = default;
};

enum class RuntimeKind : uint8_t {
  kUnspecified = 0,
  kProcess = 1,
  kSystemd = 2,
  kContainer = 3,
};

// What a machine says of itself. Validated at the wire; data, never proof.
struct Facts {
  std::string hostname;
  std::string machine_id;
  std::string os;
  std::string kernel;
  std::string architecture;
  std::string agent_version;
  RuntimeKind runtime = RuntimeKind::kUnspecified;
  std::string runtime_name;

  friend bool operator==(const Facts&, const Facts&) = default;
};

// One machine, alive or deleted (a tombstone: `deleted_at` is set).
struct MachineRecord {
  AgentId id;
  OrgId org;
  Facts facts;
  Labels labels;
  // "sha256//…" of the key that speaks for it; empty: none does, it was
  // reissued. Changed by registration and reissue only.
  std::string key_pin;
  absl::Time registered_at;

  Status status = Status::kStale;
  absl::Time status_since;
  std::optional<Verdict> verdict;  // Absent while online.
  // Age decides nothing after a restart; shown only. Kept in a table of its
  // own.
  std::optional<absl::Time> last_heard;
  // Wall-clock end of the promise made with the last goodbye, if it made one
  // and no link came since.
  std::optional<absl::Time> promised_back;

  uint64_t epoch = 0;  // Of the newest accepted link; 0: none ever.
  uint64_t transition_sequence = 0;  // Of the newest transition.
  // Highest dispatch_seq ever given to a command of this machine.
  uint64_t dispatch_high = 0;
  // Highest dispatch_seq of which the agent has spoken. One that remembers less
  // was rolled back.
  uint64_t acknowledged_high = 0;
  std::string address;  // Where the newest link came from.
  // Of the incident in which it fell silent, and is not back from; empty: none.
  // Nothing if that incident is closed.
  std::string incident;
  // A newer identity of this machine; see ReplacedBy() in machines.h.
  std::optional<AgentId> replaced_by;
  // Since when it is left out of lists and counts until it is heard again; see
  // Silenced() in machines.h. InfiniteFuture: an operator keeps it in sight.
  std::optional<absl::Time> silenced_at;
  // It waits for an operator's approval; until then no link is accepted.
  bool pending = false;
  // It leaves the fleet by itself when it was offline for so long; absent: it
  // stays. As its first token said.
  std::optional<absl::Duration> ephemeral_for;
  std::optional<absl::Time> deleted_at;

  friend bool operator==(const MachineRecord&, const MachineRecord&) = default;
};

// One change of status. Append-only; `sequence` counts 1, 2, … per machine and
// `from` equals the previous `to`.
struct TransitionRecord {
  AgentId agent;
  uint64_t sequence = 0;
  Status from = Status::kStale;
  Status to = Status::kStale;
  absl::Time at;
  uint64_t epoch = 0;
  std::optional<Verdict> verdict;

  friend bool operator==(const TransitionRecord&,
                         const TransitionRecord&) = default;
};

enum class LinkEnd : uint8_t {
  kOpen = 0,
  kGoodbye = 1,
  kClosedByPeer = 2,
  kClosedByGateway = 3,
  kSilence = 4,
  kSuperseded = 5,
  // The gateway's process ended first; found at start-up.
  kGatewayStopped = 6,
};

// One accepted link.
struct LinkRecord {
  AgentId agent;
  uint64_t epoch = 0;
  std::string boot_id;
  std::string process_start_id;
  std::string address;
  absl::Time opened_at;
  std::optional<absl::Time> closed_at;
  LinkEnd end = LinkEnd::kOpen;

  friend bool operator==(const LinkRecord&, const LinkRecord&) = default;
};

// Why this gateway could not hear. The last three close the door to newcomers
// only: whoever has a link is heard.
enum class BlindReason : uint8_t {
  kNotRunning = 1,   // From its last sign of life until links were accepted.
  kStoodStill = 2,   // The loop did not turn.
  kSuspended = 3,    // Nor did the host.
  kDescriptors = 4,  // Connections were closed unheard: no descriptor left.
  kAdmission = 5,    // Newcomers had to wait, or were told to come back.
  kOneSource = 6,    // Too many connections of one source: its next are closed.
};

// A time in which nobody was judged, or nobody without a link.
struct BlindRecord {
  absl::Time from;
  absl::Time to;
  BlindReason reason = BlindReason::kStoodStill;

  friend bool operator==(const BlindRecord&, const BlindRecord&) = default;
};

// Many machines of one group fell silent together.
struct IncidentRecord {
  std::string id;
  OrgId org;
  std::string group;  // "10.2.3.0/24", "muster.group=rack-7".
  absl::Time opened_at;
  std::optional<absl::Time> closed_at;
  uint32_t machines = 0;  // That fell silent in it.
  Verdict verdict;

  friend bool operator==(const IncidentRecord&,
                         const IncidentRecord&) = default;
};

enum class NoteKind : uint8_t {
  kInterruption = 1,  // A new instance within the grace: no transition.
  kDrift = 2,         // The agent's view of the last link was another one.
  kDisputed = 3,      // An offline that should not have been said.
  kFlapping = 4,
  kDuplicateIdentity = 5,
  kSharedMachineId = 6,
  kReplaced = 7,  // By, or of, another identity of the same machine.
  kSilenced = 8,  // Or shown again.
  kReissued = 9,  // Its key was taken away.
  kApproved = 10,
  kLeft = 11,  // By itself: it was ephemeral.
  kSuspended = 12,  // Its approval was taken back.
};

// Something worth remembering of one machine that is no change of status.
struct NoteRecord {
  AgentId agent;
  absl::Time at;
  NoteKind kind = NoteKind::kInterruption;
  uint64_t epoch = 0;
  std::optional<Verdict> verdict;
  std::string text;  // A sentence for a person.

  friend bool operator==(const NoteRecord&, const NoteRecord&) = default;
};

enum class CommandState : uint8_t {
  kQueued = 1,
  kDispatched = 2,
  kReceived = 3,
  kRunning = 4,
  kSucceeded = 5,
  kFailed = 6,
  kSignaled = 7,
  kTimedOut = 8,
  kCancelled = 9,
  kExpired = 10,
  kRejected = 11,
  kOutcomeUnknown = 12,
};

enum class Shell : uint8_t {
  kBash = 1,
  kSh = 2,
  kZsh = 3,
  kPython3 = 4,
  kPwsh = 5,
  kExec = 6,
};

enum class Stream : uint8_t { kStdout = 1, kStderr = 2 };

// In which surroundings; what is empty or absent is the machine's choice.
struct Surroundings {
  std::string user = {};
  std::string working_directory = {};
  std::map<std::string, std::string> environment = {};
  std::optional<uint32_t> umask = {};
  std::string input = {};  // For stdin.

  friend bool operator==(const Surroundings&, const Surroundings&) = default;
};

// In characters.
struct WindowSize {
  uint32_t rows = 24;
  uint32_t columns = 80;

  friend bool operator==(const WindowSize&, const WindowSize&) = default;
};

// What a session runs on.
struct Terminal {
  WindowSize size = {};  // At first.
  std::string type = {};
  absl::Duration keep;  // It lives so long with nobody who looks.
  bool recorded = false;

  friend bool operator==(const Terminal&, const Terminal&) = default;
};

// What to execute and under which limits. Never changes after submission.
struct CommandSpec {
  Shell shell = Shell::kBash;
  std::string text;  // Empty for kExec.
  // For kExec only. None, on a terminal: the user's login shell.
  std::vector<std::string> argv;
  absl::Duration timeout;
  absl::Duration delivery_timeout;
  absl::Duration kill_grace;
  uint64_t output_bytes_max = 0;  // Per stream.
  Surroundings surroundings = {};
  std::optional<Terminal> terminal = {};  // A session.
  bool input_streamed = false;

  friend bool operator==(const CommandSpec&, const CommandSpec&) = default;
};

struct CommandRecord {
  CommandId id;
  AgentId agent;
  OrgId org;
  CommandSpec spec;
  std::string issued_by;
  std::string idempotency_key;  // Empty: none was given.
  Labels labels;
  std::string purpose;  // As the caller gave it.
  BatchId batch;        // Of which it is a part; empty: none.
  absl::Time created_at;

  CommandState state = CommandState::kQueued;
  uint64_t dispatch_seq = 0;  // 0: never dispatched.
  std::optional<absl::Time> dispatched_at;
  std::optional<absl::Time> started_at;
  std::optional<absl::Time> finished_at;
  std::optional<int32_t> exit_code;
  std::optional<int32_t> signal;
  std::string reason;
  bool cancel_requested = false;

  uint64_t stdout_bytes = 0;  // Stored here so far.
  uint64_t stderr_bytes = 0;
  // What the agent will have sent in the end; known with the terminal state.
  std::optional<uint64_t> stdout_total;
  std::optional<uint64_t> stderr_total;
  uint64_t output_dropped_bytes = 0;

  friend bool operator==(const CommandRecord&, const CommandRecord&) = default;
};

enum class BatchState : uint8_t {
  kRunning = 1,
  kStopping = 2,
  kCancelling = 3,
  kFinished = 4,
  kStopped = 5,
  kCancelled = 6,
};

// How the machines of a batch came out; each counts once.
struct BatchCounts {
  uint32_t waiting = 0;
  uint32_t running = 0;
  uint32_t succeeded = 0;
  uint32_t failed = 0;
  uint32_t not_delivered = 0;  // The command did not run there.
  uint32_t unknown = 0;

  friend bool operator==(const BatchCounts&, const BatchCounts&) = default;
};

// One command for many machines. What comes after `created_at` changes.
struct BatchRecord {
  BatchId id;
  OrgId org;
  CommandSpec spec;
  bool queue_offline = false;  // Machines that are not online are waited for.
  uint32_t concurrency = 1;    // Machines at a time.
  uint32_t canary = 0;         // So many must succeed before the others begin.
  uint32_t failures_max = 0;   // So many failures stop it; 0: none does.
  // As they were asked for: "10%".
  std::string concurrency_text;
  std::string stop_after;
  std::string issued_by;
  std::string idempotency_key;
  std::string request;  // What a request with the same key must equal.
  Labels labels;
  std::string purpose;
  std::string selector;  // Which machines were asked for, for a person.
  BatchId retry_of;
  absl::Time created_at;

  BatchState state = BatchState::kRunning;
  std::string reason;
  std::optional<absl::Time> finished_at;
  BatchCounts counts;  // Stored when it has ended.

  friend bool operator==(const BatchRecord&, const BatchRecord&) = default;
};

// A machine of a batch, and its command if its turn has come.
struct BatchTarget {
  AgentId agent;
  std::optional<CommandRecord> command;

  friend bool operator==(const BatchTarget&, const BatchTarget&) = default;
};

struct StoredBatch {
  BatchRecord record;
  std::vector<BatchTarget> targets = {};  // In the order of their turns.
};

// Bytes of one stream of one command, in the order they arrived.
struct OutputRecord {
  CommandId command;
  Stream stream = Stream::kStdout;
  uint64_t offset = 0;
  std::string data;
  // Of a recorded session: when it came. What is between it and the record
  // before was never seen.
  std::optional<absl::Time> at = {};

  friend bool operator==(const OutputRecord&, const OutputRecord&) = default;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_RECORDS_H_
