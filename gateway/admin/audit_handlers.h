// Operations on the audit log.

#ifndef MUSTER_GATEWAY_ADMIN_AUDIT_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_AUDIT_HANDLERS_H_

#include <memory>

#include "gateway/admin/handlers.h"
#include "gateway/store/store_client.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; `store` must outlive it.
class AuditHandlers {
 public:
  explicit AuditHandlers(StoreClient& store) : store_(store) {}
  void AddTo(HandlerTable& table);

  // Records that one step of a verification reads: a few milliseconds of a
  // reader thread.
  static constexpr size_t kStepRecords = 1000;

 private:
  // A verification that is under way.
  struct Verification;

  void ListAudit(const Caller&, const v1::ListAuditRequest&,
                 Reply<v1::ListAuditResponse>);
  void VerifyAudit(const Caller&, const v1::VerifyAuditRequest&,
                   Reply<v1::VerifyAuditResponse>);
  void Step(std::shared_ptr<Verification> verification);

  StoreClient& store_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_AUDIT_HANDLERS_H_
