// Operations on the gateway itself.

#ifndef MUSTER_GATEWAY_ADMIN_GATEWAY_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_GATEWAY_HANDLERS_H_

#include "absl/time/time.h"
#include "gateway/admin/addresses.h"
#include "gateway/admin/handlers.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// The version of this build.
inline constexpr char kVersion[] = MUSTER_VERSION;

// Lives on the fleet loop; everything given must outlive it.
class GatewayHandlers {
 public:
  GatewayHandlers(Fleet& fleet, StoreClient& store, const Addresses& addresses,
                  absl::Time started_at)
      : fleet_(fleet),
        store_(store),
        addresses_(addresses),
        started_at_(started_at) {}
  void AddTo(HandlerTable& table);

 private:
  void Status(const Caller&, const v1::GetStatusRequest&,
              Reply<v1::GatewayStatus>);
  void WhoAmI(const Caller&, const v1::WhoAmIRequest&,
              Reply<v1::WhoAmIResponse>);

  Fleet& fleet_;
  StoreClient& store_;
  const Addresses& addresses_;
  const absl::Time started_at_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_GATEWAY_HANDLERS_H_
