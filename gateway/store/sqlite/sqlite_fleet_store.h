// FleetStore in one SQLite file.

#ifndef MUSTER_GATEWAY_STORE_SQLITE_SQLITE_FLEET_STORE_H_
#define MUSTER_GATEWAY_STORE_SQLITE_SQLITE_FLEET_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/store/fleet_store.h"
#include "gateway/store/sqlite/sqlite.h"

namespace muster::gateway {

class SqliteFleetStore final : public FleetStore {
 public:
  // Opens or creates the file at `path` (mode 0600), brings it to today's
  // schema (the old file stays beside it as "<path>.before-v<N>") and checks
  // it; the bytes of command output are not checked, which keeps a large file
  // quick to open. One writer per file.
  //
  // DataLoss: corrupt. FailedPrecondition: written by a newer gateway, another
  // program's, a folder, or in a read-only place. ResourceExhausted: disk full.
  // Every text names the file.
  static absl::StatusOr<std::unique_ptr<SqliteFleetStore>> Open(
      const std::string& path);

  // A second view of a file that a writer has open: sees what is committed;
  // every change fails.
  static absl::StatusOr<std::unique_ptr<SqliteFleetStore>> OpenReader(
      const std::string& path);

  absl::Status Begin() override { return db_->Begin(); }
  absl::Status Commit() override { return db_->Commit(); }
  void Rollback() override { db_->Rollback(); }

  absl::StatusOr<uint64_t> BeginRun(absl::Time now) override;
  absl::StatusOr<std::vector<MachineRecord>> LoadMachines() override;
  absl::StatusOr<std::vector<CommandRecord>> LoadOpenCommands() override;

  absl::StatusOr<Enrollment> Enroll(const EnrollmentRequest& request) override;
  absl::Status Reissue(const TokenRecord& token) override;
  absl::Status PutMachine(const MachineRecord& machine) override;
  absl::Status SetLabels(const AgentId& agent, const Labels& labels) override;
  absl::StatusOr<std::vector<PresenceRecord>> LoadPresence() override;
  absl::Status EditPresence(const OrgId& org, const AgentId& agent,
                            const PresenceEdit& edit) override;
  absl::Status PutLastHeard(
      std::span<const std::pair<AgentId, absl::Time>> heard) override;
  absl::Status AddTransition(const TransitionRecord& transition) override;
  absl::StatusOr<std::vector<StoredTransition>> ListTransitions(
      const AgentId& agent, const HistoryRange& range) override;
  absl::Status PutLink(const LinkRecord& link) override;
  absl::StatusOr<std::vector<LinkRecord>> ListLinks(
      const AgentId& agent, const HistoryRange& range) override;
  absl::Status AddNote(const NoteRecord& note) override;
  absl::StatusOr<std::vector<StoredNote>> ListNotes(
      const AgentId& agent, const HistoryRange& range) override;

  absl::Status AddBlindInterval(const BlindRecord& blind) override;
  absl::StatusOr<std::vector<BlindRecord>> ListBlindIntervals(
      const HistoryRange& range) override;
  absl::Status PutIncident(const IncidentRecord& incident) override;
  absl::StatusOr<std::vector<IncidentRecord>> ListIncidents(
      const OrgId& org, const HistoryRange& range) override;
  absl::StatusOr<std::vector<IncidentRecord>> LoadOpenIncidents() override;
  absl::Status SignOfLife(absl::Time now) override;
  absl::StatusOr<std::optional<absl::Time>> LastSignOfLife() override;

  absl::StatusOr<CommandRecord> FindCommand(const OrgId& org,
                                            const std::string& key) override;
  absl::StatusOr<CommandRecord> AddCommand(
      const CommandRecord& command) override;
  absl::Status PutCommand(const CommandRecord& command) override;
  absl::StatusOr<CommandRecord> GetCommand(const CommandId& id) override;
  absl::StatusOr<std::vector<CommandRecord>> ListCommands(
      const CommandFilter& filter, size_t limit) override;
  absl::StatusOr<uint64_t> AppendOutput(const OutputRecord& output) override;
  absl::StatusOr<std::vector<OutputRecord>> ReadOutput(
      const CommandId& id, uint64_t stdout_offset, uint64_t stderr_offset,
      size_t bytes_max) override;

  absl::StatusOr<BatchRecord> AddBatch(
      const BatchRecord& batch, std::span<const AgentId> targets) override;
  absl::Status PutBatch(const BatchRecord& batch) override;
  absl::StatusOr<BatchRecord> FindBatch(const OrgId& org,
                                        const std::string& key) override;
  absl::StatusOr<BatchRecord> GetBatch(const BatchId& id) override;
  absl::StatusOr<std::vector<BatchRecord>> ListBatches(
      const OrgId& org, const std::optional<BatchId>& before,
      size_t limit) override;
  absl::StatusOr<std::vector<BatchTarget>> ListBatchTargets(
      const BatchId& batch, size_t skip, size_t limit) override;
  absl::StatusOr<std::vector<StoredBatch>> LoadOpenBatches() override;

  absl::Status AddToken(const TokenRecord& token) override;
  absl::StatusOr<std::vector<TokenRecord>> ListTokens(
      const OrgId& org) override;
  absl::StatusOr<TokenRecord> RevokeToken(const OrgId& org, const TokenId& id,
                                          absl::Time now) override;

  absl::Status AddRefusal(const EnrollmentRequest& request,
                          RefusalReason reason) override;
  absl::StatusOr<std::vector<RefusalRecord>> ListRefusals(
      const OrgId& org, size_t limit) override;

  absl::StatusOr<std::vector<OrgRecord>> LoadOrgs() override;
  absl::Status AddOrg(const OrgRecord& org) override;
  absl::StatusOr<std::vector<UserRecord>> LoadUsers() override;
  absl::Status AddUser(const UserRecord& user) override;
  absl::StatusOr<UserRecord> EditUser(const OrgId& org, const std::string& name,
                                      const UserEdit& edit) override;
  absl::StatusOr<std::vector<AccessTokenRecord>> LoadAccessTokens() override;
  absl::Status AddAccessToken(const AccessTokenRecord& token) override;
  absl::StatusOr<AccessTokenRecord> RevokeAccessToken(const OrgId& org,
                                                      const std::string& user,
                                                      const TokenId& id,
                                                      absl::Time now) override;

  absl::StatusOr<AuditRecord> AddAudit(const AuditEntry& entry) override;
  absl::StatusOr<std::vector<AuditRecord>> ListAudit(const AuditFilter& filter,
                                                     size_t limit) override;
  absl::StatusOr<std::vector<AuditHead>> AuditHeads() override;

  absl::StatusOr<size_t> DeleteExpired(const Retention& retention,
                                       absl::Time now,
                                       size_t rows_max) override;
  absl::StatusOr<std::map<std::string, uint64_t>> StoredBytes() override;
  absl::Status BackupTo(const std::string& path) override;

 private:
  explicit SqliteFleetStore(std::unique_ptr<sqlite::Database> db)
      : db_(std::move(db)) {}

  // Machines whose row satisfies `where`, in order of id.
  template <typename... Values>
  absl::StatusOr<std::vector<MachineRecord>> SelectMachines(
      std::string_view where, const Values&... values);
  // Enroll() step by step.
  absl::StatusOr<TokenRecord> TokenOf(const EnrollmentRequest& request);
  absl::StatusOr<std::vector<MachineRecord>> EnrolledWith(
      const TokenRecord& token, const std::string& key_pin);
  absl::StatusOr<MachineRecord> Admit(const EnrollmentRequest& request,
                                      const TokenRecord& token);
  // The machine of `token`, whose key is that of `request` from now on.
  absl::StatusOr<MachineRecord> GiveKey(const EnrollmentRequest& request,
                                        const TokenRecord& token);
  absl::Status CountUse(const TokenRecord& token, const std::string& key_pin,
                        const AgentId& agent);

  // The number under which the other tables know a command; NotFound.
  absl::StatusOr<int64_t> RowNumber(const CommandId& id);
  // If its batch has ended: PutCommand() makes it count as it is now.
  absl::Status CountInBatch(const CommandRecord& now);
  // Where reading of one stream must start; see ReadOutput().
  absl::StatusOr<int64_t> ArrivalOf(int64_t command, Stream stream,
                                    uint64_t offset);
  absl::StatusOr<size_t> DeleteOutput(absl::Time before, size_t rows_max);
  absl::StatusOr<AuditHead> HeadOf(const OrgId& org);
  absl::StatusOr<size_t> DeleteAudit(absl::Time before, size_t rows_max);
  // The same of one chain.
  absl::StatusOr<size_t> DeleteAuditOf(const AuditHead& head, absl::Time before,
                                       size_t rows_max);

  std::unique_ptr<sqlite::Database> db_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_SQLITE_SQLITE_FLEET_STORE_H_
