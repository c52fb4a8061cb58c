// MemoryFleetStore: batches.

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/store/memory_fleet_store.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

absl::StatusOr<BatchRecord> MemoryFleetStore::AddBatch(
    const BatchRecord& batch, std::span<const AgentId> targets) {
  RETURN_IF_ERROR(error());
  if (!batch.idempotency_key.empty()) {
    const auto known = FindBatch(batch.org, batch.idempotency_key);
    if (known.ok()) return SameRequest(*known, batch);
  }
  if (batches_.contains(batch.id)) {
    return absl::AlreadyExistsError(
        fmt::format("batch {} exists already", batch.id.str()));
  }
  for (const AgentId& agent : targets) RETURN_IF_ERROR(CheckMachine(agent));
  Put(batches_, batch.id, batch);
  Put(batch_targets_, batch.id, {targets.begin(), targets.end()});
  return batch;
}

absl::Status MemoryFleetStore::PutBatch(const BatchRecord& batch) {
  RETURN_IF_ERROR(error());
  const auto it = batches_.find(batch.id);
  if (it == batches_.end()) return UnknownBatch(batch.id);
  Put(batches_, batch.id, Changed(it->second, batch));
  return absl::OkStatus();
}

absl::StatusOr<BatchRecord> MemoryFleetStore::FindBatch(
    const OrgId& org, const std::string& key) {
  RETURN_IF_ERROR(error());
  for (const auto& [id, batch] : batches_) {
    if (batch.org == org && batch.idempotency_key == key) return batch;
  }
  return absl::NotFoundError(fmt::format("no batch has the key {}", key));
}

absl::StatusOr<BatchRecord> MemoryFleetStore::GetBatch(const BatchId& id) {
  RETURN_IF_ERROR(error());
  const auto it = batches_.find(id);
  if (it == batches_.end()) return UnknownBatch(id);
  return it->second;
}

absl::StatusOr<std::vector<BatchRecord>> MemoryFleetStore::ListBatches(
    const OrgId& org, const std::optional<BatchId>& before, size_t limit) {
  RETURN_IF_ERROR(error());
  std::vector<BatchRecord> found;
  auto it = before ? batches_.lower_bound(*before) : batches_.end();
  while (it != batches_.begin() && found.size() < limit) {
    --it;
    if (it->second.org == org) found.push_back(it->second);
  }
  return found;
}

absl::StatusOr<std::vector<BatchTarget>> MemoryFleetStore::ListBatchTargets(
    const BatchId& batch, size_t skip, size_t limit) {
  RETURN_IF_ERROR(error());
  std::vector<BatchTarget> found;
  const auto targets = batch_targets_.find(batch);
  if (targets == batch_targets_.end()) return found;
  const std::vector<AgentId>& agents = targets->second;
  for (size_t i = skip; i < agents.size() && found.size() < limit; ++i) {
    BatchTarget& target = found.emplace_back(BatchTarget{agents[i], {}});
    for (const auto& [id, command] : commands_) {
      if (command.batch != batch || command.agent != agents[i]) continue;
      target.command = command;
      target.command->spec = {};
    }
  }
  return found;
}

absl::StatusOr<std::vector<StoredBatch>> MemoryFleetStore::LoadOpenBatches() {
  RETURN_IF_ERROR(error());
  std::vector<StoredBatch> open;
  for (const auto& [id, batch] : batches_) {
    if (HasEnded(batch.state)) continue;
    ASSIGN_OR_RETURN(auto targets,
                     ListBatchTargets(id, 0, batch_targets_[id].size()));
    open.push_back({batch, std::move(targets)});
  }
  return open;
}

}  // namespace muster::gateway
