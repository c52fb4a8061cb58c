#include "gateway/admin/audit_log.h"

#include <utility>
#include <vector>

#include "libprotocol/base/log.h"

namespace muster::gateway {

void AuditLog::Keep(AuditEntry entry,
                    absl::AnyInvocable<void(absl::Status)> done) {
  store_.Write(
      [entry = std::move(entry)](FleetStore& store) {
        return store.AddAudit(entry).status();
      },
      std::move(done));
}

void AuditLog::TellHeads(bool all) {
  // Among the writes: it sees all that were asked for before.
  store_.Write(
      [](FleetStore& store) { return store.AuditHeads(); },
      [this, all](const absl::StatusOr<std::vector<AuditHead>>& heads) {
        if (!heads.ok()) return;  // The store's trouble is told elsewhere.
        for (const AuditHead& head : *heads) {
          uint64_t& told = told_[head.org];
          if (!all && told == head.sequence) continue;
          told = head.sequence;
          Log(kInfo, "audit_head",
              {{"org", head.org.str()},
               {"sequence", head.sequence},
               {"hash", head.hash}});
        }
      });
}

}  // namespace muster::gateway
