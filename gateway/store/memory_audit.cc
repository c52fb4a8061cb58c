// MemoryFleetStore: the audit log.

#include <limits>
#include <utility>
#include <vector>

#include "gateway/store/memory_fleet_store.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

bool Selects(const AuditFilter& filter, const AuditRecord& r) {
  return r.org == filter.org && r.sequence > filter.after.value_or(0) &&
         r.sequence <
             filter.before.value_or(std::numeric_limits<uint64_t>::max()) &&
         r.at >= filter.since && r.at < filter.until &&
         (filter.principal.empty() || r.principal == filter.principal) &&
         (filter.method.empty() || r.method == filter.method) &&
         r.target.find(filter.target) != std::string::npos;
}

}  // namespace

absl::StatusOr<AuditRecord> MemoryFleetStore::AddAudit(
    const AuditEntry& entry) {
  RETURN_IF_ERROR(error());
  AuditHead head;
  head.org = entry.org;
  const auto known = audit_heads_.find(entry.org);
  if (known != audit_heads_.end()) head = known->second;
  AuditRecord record = Linked(entry, head);
  head.sequence = record.sequence;
  head.hash = record.hash;
  Put(audit_, {entry.org, record.sequence}, record);
  Put(audit_heads_, entry.org, head);
  return record;
}

absl::StatusOr<std::vector<AuditRecord>> MemoryFleetStore::ListAudit(
    const AuditFilter& filter, size_t limit) {
  RETURN_IF_ERROR(error());
  std::vector<AuditRecord> found;
  const auto take = [&](const AuditRecord& record) {
    if (found.size() < limit && Selects(filter, record)) {
      found.push_back(record);
    }
  };
  if (filter.after) {
    for (const auto& [key, record] : audit_) take(record);
  } else {
    for (auto it = audit_.rbegin(); it != audit_.rend(); ++it) {
      take(it->second);
    }
  }
  return found;
}

absl::StatusOr<std::vector<AuditHead>> MemoryFleetStore::AuditHeads() {
  RETURN_IF_ERROR(error());
  std::vector<AuditHead> heads;
  for (const auto& [org, head] : audit_heads_) heads.push_back(head);
  return heads;
}

size_t MemoryFleetStore::DeleteAudit(absl::Time before, size_t rows_max) {
  std::map<OrgId, AuditHead> heads = audit_heads_;
  const size_t deleted = EraseExpired(
      audit_, rows_max, [&](const auto& key, const AuditRecord& record) {
        AuditHead& head = heads[key.first];
        if (record.at >= before || record.sequence != head.kept_from ||
            record.sequence == head.sequence) {
          return false;
        }
        ++head.kept_from;
        return true;
      });
  for (const auto& [org, head] : heads) Put(audit_heads_, org, head);
  return deleted;
}

}  // namespace muster::gateway
