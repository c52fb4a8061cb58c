// FleetStore without a disk.

#ifndef MUSTER_GATEWAY_STORE_MEMORY_FLEET_STORE_H_
#define MUSTER_GATEWAY_STORE_MEMORY_FLEET_STORE_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "gateway/store/fleet_store.h"
#include "libprotocol/base/mutex.h"

namespace muster::gateway {

// MemoryFleetStore forgets everything when destroyed: for tests and the
// simulator. Held to the same contract test as the real one; it makes no
// backups.
//
// Threading: as FleetStore; FailWith() from any thread.
class MemoryFleetStore final : public FleetStore {
 public:
  // Every later call returns `error` and does nothing (OkStatus to heal). A
  // Commit() that fails so rolls back.
  void FailWith(absl::Status error) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    error_ = std::move(error);
  }

  absl::Status Begin() override;
  absl::Status Commit() override;
  void Rollback() override;

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
  struct IdempotencyKey {
    CommandId command;
    absl::Time created_at;
  };

  absl::Status error() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return error_;
  }
  absl::Status CheckMachine(const AgentId& id) const;

  // All changes go through these two, which remember how to take them back.
  template <typename Map>
  void Put(Map& map, typename Map::key_type key,
           typename Map::mapped_type value);
  template <typename Map>
  void Erase(Map& map, typename Map::key_type key);
  template <typename Map>
  void Remember(Map& map, const typename Map::key_type& key);

  // Erases entries for which `expired(key, value)` holds, at most `rows_max`.
  template <typename Map, typename Expired>
  size_t EraseExpired(Map& map, size_t rows_max, Expired expired);

  size_t DeleteAudit(absl::Time before, size_t rows_max);

  mutable Mutex mu_;
  absl::Status error_ ABSL_GUARDED_BY(mu_);

  // One element for each change, newest last, while a transaction is open; one
  // mark for each Begin().
  std::vector<absl::AnyInvocable<void()>> undo_;
  std::vector<size_t> marks_;

  // One entry each, so that it can be undone.
  std::map<int, uint64_t> run_;
  std::map<int, absl::Time> alive_at_;
  std::map<AgentId, MachineRecord> machines_;
  std::map<AgentId, absl::Time> last_heard_;
  std::map<std::pair<OrgId, AgentId>, PresenceSettings> presence_;
  std::map<std::pair<AgentId, uint64_t>, TransitionRecord> transitions_;
  std::map<std::pair<AgentId, uint64_t>, LinkRecord> links_;
  // By agent and order of arrival.
  std::map<std::pair<AgentId, uint64_t>, NoteRecord> notes_;
  std::map<uint64_t, BlindRecord> blind_;
  std::map<std::string, IncidentRecord> incidents_;
  uint64_t last_row_ = 0;
  std::map<CommandId, CommandRecord> commands_;
  std::map<std::pair<OrgId, std::string>, IdempotencyKey> keys_;
  std::map<BatchId, BatchRecord> batches_;
  std::map<BatchId, std::vector<AgentId>> batch_targets_;
  // By command and order of arrival.
  std::map<std::pair<CommandId, uint64_t>, OutputRecord> output_;
  uint64_t last_arrival_ = 0;
  std::map<TokenId, TokenRecord> tokens_;
  std::map<std::pair<TokenId, std::string>, AgentId> enrollments_;
  std::map<uint64_t, RefusalRecord> refusals_;  // By arrival.
  std::map<OrgId, OrgRecord> orgs_;
  std::map<std::pair<OrgId, std::string>, UserRecord> users_;
  std::map<TokenId, AccessTokenRecord> access_tokens_;
  std::map<std::pair<OrgId, uint64_t>, AuditRecord> audit_;
  std::map<OrgId, AuditHead> audit_heads_;
};

// --- Templates --------------------------------------------------------------

template <typename Map>
void MemoryFleetStore::Remember(Map& map, const typename Map::key_type& key) {
  if (marks_.empty()) return;
  const auto it = map.find(key);
  if (it == map.end()) {
    undo_.push_back([&map, key] { map.erase(key); });
  } else {
    undo_.push_back([&map, key, old = it->second] { map[key] = old; });
  }
}

template <typename Map>
void MemoryFleetStore::Put(Map& map, typename Map::key_type key,
                           typename Map::mapped_type value) {
  Remember(map, key);
  map.insert_or_assign(std::move(key), std::move(value));
}

template <typename Map>
void MemoryFleetStore::Erase(Map& map, typename Map::key_type key) {
  Remember(map, key);
  map.erase(key);
}

template <typename Map, typename Expired>
size_t MemoryFleetStore::EraseExpired(Map& map, size_t rows_max,
                                      Expired expired) {
  std::vector<typename Map::key_type> keys;
  for (const auto& [key, value] : map) {
    if (keys.size() == rows_max) break;
    if (expired(key, value)) keys.push_back(key);
  }
  for (const auto& key : keys) Erase(map, key);
  return keys.size();
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_MEMORY_FLEET_STORE_H_
