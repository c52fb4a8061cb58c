// What the gateway remembers across restarts: the seam.

#ifndef MUSTER_GATEWAY_STORE_FLEET_STORE_H_
#define MUSTER_GATEWAY_STORE_FLEET_STORE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "gateway/fleet/token_records.h"
#include "gateway/fleet/user_records.h"
#include "gateway/store/history_range.h"
#include "libprotocol/base/audit_record.h"

namespace muster::gateway {

// A machine that asks to be let in with a registration token.
struct EnrollmentRequest {
  std::string token_sha256;  // 32 raw bytes.
  std::string key_pin;       // Of the key in its certificate request.
  Facts facts;
  Labels labels;         // Its own; the token's labels win.
  AgentId candidate_id;  // Used if this is a new machine.
  std::string address;
  absl::Time now;
};

struct Enrollment {
  MachineRecord machine;
  TokenId token;
  // The same token and key were here before: nothing was used up or changed.
  bool repeated = false;
};

// Which commands to list. Empty fields select everything.
struct CommandFilter {
  OrgId org;
  std::optional<AgentId> agent = {};
  std::vector<CommandState> states = {};
  // Only commands with a smaller id: ids sort by time of creation.
  std::optional<CommandId> before = {};
  BatchId batch = {};
  bool sessions = false;  // Only sessions; else none.
};

// A transition, and what was found out about it later. Its row is never
// rewritten: the mark is read from the note of the dispute.
struct StoredTransition : TransitionRecord {
  // It was the last to offline of its epoch, and a note disputes that epoch.
  bool disputed = false;
};

// A note, and its place among those of all machines.
struct StoredNote : NoteRecord {
  int64_t arrival = 0;
};

// Which records of the audit log to list. Empty fields select everything.
struct AuditFilter {
  OrgId org;
  // Oldest first, from the record after this one on; else newest first.
  std::optional<uint64_t> after = {};
  std::optional<uint64_t> before = {};  // Only records with a smaller sequence.
  absl::Time since = absl::InfinitePast();
  absl::Time until = absl::InfiniteFuture();  // Not included.
  std::string principal = {};
  std::string method = {};
  std::string target = {};  // Or a part of it.
};

// How long each kind is kept; see DESIGN "Storage".
struct Retention {
  // Notes, incidents and blind intervals too.
  absl::Duration transitions = absl::Hours(24 * 90);
  absl::Duration links = absl::Hours(24 * 90);
  absl::Duration commands = absl::Hours(24 * 90);
  absl::Duration output = absl::Hours(24 * 30);
  absl::Duration idempotency_keys = absl::Hours(24);
  // Access tokens that have expired, or were revoked.
  absl::Duration ended_tokens = absl::Hours(24 * 90);
  absl::Duration audit = absl::Hours(24 * 400);
};

// FleetStore is durable storage for one gateway.
//
// Threading: not thread-safe and may block on disk. Called only from the store
// thread or, for a read-only instance, from one reader thread; everyone else
// goes through StoreClient.
//
// Atomicity: every method is all or nothing. Between Begin() and Commit() many
// calls become one durable transaction; a method that fails in between undoes
// its own changes only. Transactions nest: an inner Rollback() undoes what
// happened since the inner Begin(), an inner Commit() hands it to the outer
// one.
//
// Histories (List… with a HistoryRange) are newest first.
//
// Resolution: times and durations are kept to the microsecond; infinite ones
// stay infinite.
//
// Errors, for every method: Unavailable when the database is locked,
// ResourceExhausted when the disk is full (retrying may help), DataLoss when
// the file is corrupt (it will not). Methods list only the errors they add.
class FleetStore {
 public:
  virtual ~FleetStore() = default;

  // --- Transactions -------------------------------------------------------
  virtual absl::Status Begin() = 0;
  // Durable (fsync) on success of the outermost. On failure nothing since
  // Begin() happened, and the transaction is over.
  virtual absl::Status Commit() = 0;
  virtual void Rollback() = 0;

  // --- Start --------------------------------------------------------------
  // Raises the gateway's run number and returns it: larger than every one
  // returned before. Closes links left open by the previous run
  // (kGatewayStopped), at its last sign of life or, if it gave none, at `now`.
  // Its open incidents go on.
  virtual absl::StatusOr<uint64_t> BeginRun(absl::Time now) = 0;
  // All machines, tombstones included, in order of id.
  virtual absl::StatusOr<std::vector<MachineRecord>> LoadMachines() = 0;
  // Commands that are not in a terminal state or whose output is incomplete, in
  // order of id.
  virtual absl::StatusOr<std::vector<CommandRecord>> LoadOpenCommands() = 0;
  // Of all orgs, in order of id.
  virtual absl::StatusOr<std::vector<StoredBatch>> LoadOpenBatches() = 0;
  // Of all orgs, oldest first.
  virtual absl::StatusOr<std::vector<IncidentRecord>> LoadOpenIncidents() = 0;
  // Of the newest SignOfLife(), in whatever run; absent: none was given.
  virtual absl::StatusOr<std::optional<absl::Time>> LastSignOfLife() = 0;

  // --- Machines -----------------------------------------------------------
  // Checks the token and admits the machine:
  //   same token, same key     → the machine it made before, `repeated`, even
  //                              if the token has since expired or is used up
  //   known key, another token → that machine again (same id and record), one
  //                              use counted
  //   token of one machine     → that machine, which this key speaks for from
  //                              now on
  //   otherwise                → a new machine with `candidate_id`, kStale with
  //                              cause kNeverConnected, one use counted
  // A new machine waits for approval, and is ephemeral, as the token says; what
  // is known keeps what it has. A key is known within the token's org.
  // AlreadyExists: its machine is a tombstone, which is not revived,
  // `candidate_id` is taken, or the token is of one machine and the key
  // another's. PermissionDenied: that key was taken from its machine, or
  // TokenRefused() (fleet/errors.h); then nothing has changed.
  virtual absl::StatusOr<Enrollment> Enroll(const EnrollmentRequest&) = 0;
  // Takes the key from the machine that `token` is for, revokes all older
  // tokens for it, and adds `token`. NotFound for an unknown machine or a
  // tombstone, AlreadyExists as AddToken().
  virtual absl::Status Reissue(const TokenRecord& token) = 0;
  // Inserts or replaces, except last_heard and, of a stored machine, labels,
  // key_pin and status (KeepStatus() in fleet/journal.h).
  // Aborted, and nothing changes, if a newer epoch is stored: it wins.
  virtual absl::Status PutMachine(const MachineRecord&) = 0;
  // NotFound for an unknown machine.
  virtual absl::Status SetLabels(const AgentId& agent,
                                 const Labels& labels) = 0;
  // What orgs and machines have of their own, by org, the org's own first.
  virtual absl::StatusOr<std::vector<PresenceRecord>> LoadPresence() = 0;
  // Edits what the machine has of its own, or the org if `agent` is empty.
  // NotFound for an unknown machine.
  virtual absl::Status EditPresence(const OrgId& org, const AgentId& agent,
                                    const PresenceEdit& edit) = 0;
  // Machines that are not stored are skipped.
  virtual absl::Status PutLastHeard(
      std::span<const std::pair<AgentId, absl::Time>>) = 0;
  // The machine has the status of this transition from now on. AlreadyExists if
  // that sequence exists: history is never rewritten. NotFound for an unknown
  // machine.
  virtual absl::Status AddTransition(const TransitionRecord&) = 0;
  // By sequence.
  virtual absl::StatusOr<std::vector<StoredTransition>> ListTransitions(
      const AgentId& agent, const HistoryRange& range) = 0;
  // Inserts or replaces by (agent, epoch). NotFound for an unknown machine.
  virtual absl::Status PutLink(const LinkRecord&) = 0;
  // By epoch.
  virtual absl::StatusOr<std::vector<LinkRecord>> ListLinks(
      const AgentId& agent, const HistoryRange& range) = 0;

  // NotFound for an unknown machine.
  virtual absl::Status AddNote(const NoteRecord&) = 0;
  // By arrival.
  virtual absl::StatusOr<std::vector<StoredNote>> ListNotes(
      const AgentId& agent, const HistoryRange& range) = 0;

  // --- The gateway itself -------------------------------------------------
  virtual absl::Status AddBlindInterval(const BlindRecord&) = 0;
  // By their end, then by arrival.
  virtual absl::StatusOr<std::vector<BlindRecord>> ListBlindIntervals(
      const HistoryRange& range) = 0;
  // Inserts, or changes by TakeIncident() in fleet/journal.h.
  virtual absl::Status PutIncident(const IncidentRecord&) = 0;
  // By their beginning, then by id.
  virtual absl::StatusOr<std::vector<IncidentRecord>> ListIncidents(
      const OrgId& org, const HistoryRange& range) = 0;
  // The gateway runs at `now`; which also proves that the store takes writes.
  virtual absl::Status SignOfLife(absl::Time now) = 0;

  // --- Commands -----------------------------------------------------------
  // Adds a queued command and returns it. If its org already used the same
  // idempotency key: returns the stored command when agent and spec are equal,
  // else AlreadyExists and nothing is added. AlreadyExists if the id exists,
  // NotFound for an unknown machine.
  virtual absl::StatusOr<CommandRecord> AddCommand(const CommandRecord&) = 0;
  // The one that this org submitted with this key. NotFound if there is none.
  virtual absl::StatusOr<CommandRecord> FindCommand(const OrgId& org,
                                                    const std::string& key) = 0;
  // Replaces the mutable part: state and what follows it, but stdout_bytes and
  // stderr_bytes, which only AppendOutput() moves; and counts it anew in its
  // batch, if that has ended. NotFound if it was never added.
  virtual absl::Status PutCommand(const CommandRecord&) = 0;
  // Adds a batch and its machines, in the order of their turns, and returns it.
  // If its org already used the same idempotency key: returns the stored batch
  // when its `request` is equal, else AlreadyExists and nothing is added.
  // AlreadyExists if the id exists, NotFound for an unknown machine.
  virtual absl::StatusOr<BatchRecord> AddBatch(
      const BatchRecord& batch, std::span<const AgentId> targets) = 0;
  // Replaces the mutable part: state, reason, finished_at and counts. NotFound
  // if it was never added.
  virtual absl::Status PutBatch(const BatchRecord&) = 0;
  // The one that this org made with this key. NotFound if there is none.
  virtual absl::StatusOr<BatchRecord> FindBatch(const OrgId& org,
                                                const std::string& key) = 0;
  // NotFound if it was never added or has expired.
  virtual absl::StatusOr<BatchRecord> GetBatch(const BatchId&) = 0;
  // Newest first, at most `limit`; only those with a smaller id than `before`.
  virtual absl::StatusOr<std::vector<BatchRecord>> ListBatches(
      const OrgId& org, const std::optional<BatchId>& before, size_t limit) = 0;
  // In the order of their turns, at most `limit`, without the first `skip`.
  // Empty for an unknown batch.
  virtual absl::StatusOr<std::vector<BatchTarget>> ListBatchTargets(
      const BatchId& batch, size_t skip, size_t limit) = 0;
  // NotFound if it was never added or has expired.
  virtual absl::StatusOr<CommandRecord> GetCommand(const CommandId&) = 0;
  // Newest first, at most `limit`.
  virtual absl::StatusOr<std::vector<CommandRecord>> ListCommands(
      const CommandFilter&, size_t limit) = 0;
  // Appends; bytes before the stored end are skipped (a repeated transfer).
  // Returns the stored end. OutOfRange if it would leave a hole in what is no
  // recording (OutputRecord::at), NotFound for an unknown command.
  virtual absl::StatusOr<uint64_t> AppendOutput(const OutputRecord&) = 0;
  // In order of arrival, starting at the given offset of each stream, until
  // about `bytes_max` bytes are collected: the last record is not cut. Bytes
  // that have expired are missing. NotFound for an unknown command.
  virtual absl::StatusOr<std::vector<OutputRecord>> ReadOutput(
      const CommandId&, uint64_t stdout_offset, uint64_t stderr_offset,
      size_t bytes_max) = 0;

  // --- Registration tokens ------------------------------------------------
  // AlreadyExists if the id or the secret does.
  virtual absl::Status AddToken(const TokenRecord&) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<TokenRecord>> ListTokens(const OrgId&) = 0;
  // NotFound if unknown in that org. Idempotent: the first revocation counts.
  virtual absl::StatusOr<TokenRecord> RevokeToken(const OrgId&, const TokenId&,
                                                  absl::Time now) = 0;

  // Remembers that Enroll() refused this request, if its token exists; else
  // NotFound. Of each org the newest kRefusalsMax are kept.
  static constexpr size_t kRefusalsMax = 1000;
  virtual absl::Status AddRefusal(const EnrollmentRequest&, RefusalReason) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<RefusalRecord>> ListRefusals(
      const OrgId&, size_t limit) = 0;

  // --- Orgs and users -----------------------------------------------------
  // All but the default one, by id.
  virtual absl::StatusOr<std::vector<OrgRecord>> LoadOrgs() = 0;
  // AlreadyExists if there is, or was, one of this id.
  virtual absl::Status AddOrg(const OrgRecord&) = 0;
  // Of all orgs, by org and name.
  virtual absl::StatusOr<std::vector<UserRecord>> LoadUsers() = 0;
  // AlreadyExists if the org has, or had, one of this name.
  virtual absl::Status AddUser(const UserRecord&) = 0;
  // The user as it is now. NotFound. It stays disabled since it first was.
  // Another password revokes the tokens of those who signed in.
  virtual absl::StatusOr<UserRecord> EditUser(const OrgId&,
                                              const std::string& name,
                                              const UserEdit&) = 0;
  // Of all orgs, oldest first.
  virtual absl::StatusOr<std::vector<AccessTokenRecord>> LoadAccessTokens() = 0;
  // NotFound for an unknown user; AlreadyExists as AddToken().
  virtual absl::Status AddAccessToken(const AccessTokenRecord&) = 0;
  // NotFound if this user has none of this id. Idempotent: the first revocation
  // counts.
  virtual absl::StatusOr<AccessTokenRecord> RevokeAccessToken(
      const OrgId&, const std::string& user, const TokenId&,
      absl::Time now) = 0;

  // --- Audit --------------------------------------------------------------
  // Appends to the chain of its org: numbered, and linked to the record before.
  virtual absl::StatusOr<AuditRecord> AddAudit(const AuditEntry&) = 0;
  // At most `limit`.
  virtual absl::StatusOr<std::vector<AuditRecord>> ListAudit(const AuditFilter&,
                                                             size_t limit) = 0;
  // Of all orgs that have a chain, by org.
  virtual absl::StatusOr<std::vector<AuditHead>> AuditHeads() = 0;

  // --- Care ---------------------------------------------------------------
  // Deletes at most `rows_max` rows that are older than their retention and
  // gives space back; returns how many. Call again until it returns 0. The age
  // of a command, its output and its key counts from created_at; of a batch
  // from finished_at; of a link and an incident from closed_at. What is open
  // stays, and so do the commands of a batch that is there: they tell who had a
  // turn. Of a chain of the audit log what is before its oldest record that is
  // young enough goes, but never the newest.
  virtual absl::StatusOr<size_t> DeleteExpired(const Retention&, absl::Time now,
                                               size_t rows_max) = 0;
  // Bytes per kind: "machines", "transitions", "links", "commands", "output",
  // "tokens", "file", …. Reads the whole file: for a reader, and rarely.
  virtual absl::StatusOr<std::map<std::string, uint64_t>> StoredBytes() = 0;
  // Writes a consistent copy (mode 0600) while others go on. AlreadyExists if
  // `path` does, FailedPrecondition between Begin() and Commit(), Unimplemented
  // if there is no file to copy.
  virtual absl::Status BackupTo(const std::string& path) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_FLEET_STORE_H_
