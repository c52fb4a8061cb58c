// Who follows what changes in the fleet, and has not heard of it yet?

#ifndef MUSTER_GATEWAY_ADMIN_EVENT_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_EVENT_HANDLERS_H_

#include <cstddef>
#include <list>
#include <optional>

#include "gateway/admin/handlers.h"
#include "gateway/fleet/fleet.h"
#include "libprotocol/base/event_loop.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// EventHandlers answers WatchEvents. A call that waits is answered in the turn
// of the loop in which the event is decided. A reader owns nothing here: one
// that is slow asks late, and is told so when too much has happened since.
//
// Lives on the fleet loop; everything given must outlive it.
class EventHandlers final : private EventTap {
 public:
  struct Options {
    // Calls that wait at once; all are answered in one turn of the loop, at
    // some ten microseconds each.
    size_t waiting_max = 128;
  };

  EventHandlers(EventLoop& loop, Fleet& fleet, Options options);
  ~EventHandlers() override;
  EventHandlers(const EventHandlers&) = delete;
  EventHandlers& operator=(const EventHandlers&) = delete;

  void AddTo(HandlerTable& table);

  // Answers every call that waits, and from now on those that come, with what
  // there is: the gateway stops.
  void EndWaits();

  size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    OrgId org;
    EventVersion after;
    size_t limit = 0;
    Reply<v1::WatchEventsResponse> reply;
    EventLoop::TimerId timer{};
  };

  void Watch(const Caller&, const v1::WatchEventsRequest&,
             Reply<v1::WatchEventsResponse>);
  void OnEvent(const OrgId& org) override;
  // Takes it out and answers it.
  void Answer(std::list<Waiting>::iterator waiting);
  v1::WatchEventsResponse Read(const OrgId& org,
                               const std::optional<EventVersion>& after,
                               size_t limit);

  EventLoop& loop_;
  Fleet& fleet_;
  const Options options_;
  std::list<Waiting> waiting_;
  bool ending_ = false;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_EVENT_HANDLERS_H_
