// What reaches the audit log without a handler, and what of it reaches the
// process log.

#ifndef MUSTER_GATEWAY_ADMIN_AUDIT_LOG_H_
#define MUSTER_GATEWAY_ADMIN_AUDIT_LOG_H_

#include <cstdint>
#include <map>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/audit_record.h"

namespace muster::gateway {

// AuditLog lives on the fleet loop; `store` must outlive it.
class AuditLog {
 public:
  explicit AuditLog(StoreClient& store) : store_(store) {}

  // Appends; `done` hears on the loop when it is durable, or why it is not.
  void Keep(AuditEntry entry, absl::AnyInvocable<void(absl::Status)> done);

  // Logs `msg=audit_head` for every chain that has grown since it was told of,
  // or for `all`. Who keeps the log elsewhere can show later that a chain was
  // cut or written anew: `musterctl audit verify --head`.
  void TellHeads(bool all);

 private:
  StoreClient& store_;
  std::map<OrgId, uint64_t> told_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_AUDIT_LOG_H_
