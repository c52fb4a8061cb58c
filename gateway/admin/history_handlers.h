// Operations on what happened: to machines, to groups of them, to the gateway;
// and on what happens this moment.

#ifndef MUSTER_GATEWAY_ADMIN_HISTORY_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_HISTORY_HANDLERS_H_

#include "gateway/admin/handlers.h"
#include "gateway/admin/heartbeat_taps.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class HistoryHandlers {
 public:
  HistoryHandlers(EventLoop& loop, Fleet& fleet, StoreClient& store,
                  HeartbeatTaps::Options taps = {})
      : fleet_(fleet), store_(store), taps_(loop, taps) {}
  void AddTo(HandlerTable& table);

 private:
  void Transitions(const Caller&, const v1::ListTransitionsRequest&,
                   Reply<v1::ListTransitionsResponse>);
  void Links(const Caller&, const v1::ListLinksRequest&,
             Reply<v1::ListLinksResponse>);
  void Notes(const Caller&, const v1::ListNotesRequest&,
             Reply<v1::ListNotesResponse>);
  void Incidents(const Caller&, const v1::ListIncidentsRequest&,
                 Reply<v1::ListIncidentsResponse>);
  void BlindIntervals(const Caller&, const v1::ListBlindIntervalsRequest&,
                      Reply<v1::ListBlindIntervalsResponse>);
  void Watch(const Caller&, const v1::WatchHeartbeatsRequest&,
             Reply<v1::WatchHeartbeatsResponse>);

  // Reads a page with `list`(store, range), one row more than asked for, and
  // has it rendered by `render`(rows, range).
  template <typename Response, typename List, typename Render>
  void Answer(absl::StatusOr<HistoryRange> range, List list, Render render,
              Reply<Response> reply);

  Fleet& fleet_;
  StoreClient& store_;
  HeartbeatTaps taps_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_HISTORY_HANDLERS_H_
