// The gateway in numbers, for Prometheus. docs/operations/metrics.md explains
// each; a test compares the two.

#ifndef MUSTER_GATEWAY_ADMIN_METRICS_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_METRICS_HANDLERS_H_

#include "absl/time/time.h"
#include "gateway/admin/event_handlers.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/metrics_text.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// MetricsHandlers reads what others count. A scrape costs the fleet loop one
// short task; what takes longer is read on a reader thread. No label names a
// machine: a series for each would be too many.
//
// Lives on the fleet loop; everything given must outlive it.
class MetricsHandlers {
 public:
  MetricsHandlers(const Clock& clock, Fleet& fleet, StoreClient& store,
                  const EventHandlers& events, absl::Time started_at)
      : clock_(clock),
        fleet_(fleet),
        store_(store),
        events_(events),
        started_at_(started_at) {}
  void AddTo(HandlerTable& table);

 private:
  void Get(const Caller&, const v1::GetMetricsRequest&, Reply<v1::RawBody>);
  static v1::RawBody Body(MetricsText& out);
  // All but the first are of the whole gateway.
  void WriteMachines(const OrgId& org, MetricsText& out) const;
  void WriteRules(MetricsText& out) const;
  void WriteLinks(MetricsText& out) const;
  void WriteDetector(MetricsText& out) const;
  void WriteBlindness(MetricsText& out) const;
  void WriteHistory(MetricsText& out) const;
  void WriteStore(MetricsText& out) const;

  const Clock& clock_;
  Fleet& fleet_;
  StoreClient& store_;
  const EventHandlers& events_;
  const absl::Time started_at_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_METRICS_HANDLERS_H_
