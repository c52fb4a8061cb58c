// How a handler has its call recorded in the transaction of its change.

#ifndef MUSTER_GATEWAY_ADMIN_AUDITED_H_
#define MUSTER_GATEWAY_ADMIN_AUDITED_H_

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/admin/handlers.h"
#include "gateway/store/fleet_store.h"
#include "libprotocol/base/audit_record.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

// The record that one call makes. Belongs to the fleet loop, but to the store
// thread while a write of the call is under way; one at a time is.
struct AuditTicket {
  AuditEntry entry;
  // It was stored with what the call changed. Counts if the call succeeds: a
  // write that fails takes its record along.
  bool kept = false;
};

// Says what the call is about, where the path of the request does not: the id
// or name of what is made.
inline void NameTarget(const Caller& caller, std::string target) {
  if (caller.audit) caller.audit->entry.target = std::move(target);
}

// Stores the record of a call that has succeeded so far.
inline absl::Status KeepAudit(FleetStore& store, AuditTicket& ticket) {
  ticket.entry.result = "ok";
  RETURN_IF_ERROR(store.AddAudit(ticket.entry).status());
  ticket.kept = true;
  return absl::OkStatus();
}

// `work` for StoreClient::Write(), which records the call if it succeeds. Work
// and record are one transaction: neither is without the other.
template <typename Work>
auto Audited(const Caller& caller, Work work) {
  return [ticket = caller.audit,
          work = std::move(work)](FleetStore& store) mutable {
    auto result = work(store);
    if (!result.ok() || ticket == nullptr) return result;
    if (absl::Status kept = KeepAudit(store, *ticket); !kept.ok()) {
      result = std::move(kept);
    }
    return result;
  };
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_AUDITED_H_
