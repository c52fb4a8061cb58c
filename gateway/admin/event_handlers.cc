#include "gateway/admin/event_handlers.h"

#include <iterator>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

// What `request` has read already.
absl::StatusOr<std::optional<EventVersion>> AfterOf(
    const v1::WatchEventsRequest& request) {
  RETURN_IF_ERROR(wire::ValidateWait(request.wait()));
  RETURN_IF_ERROR(wire::ValidatePageSize(request.limit()));
  if (request.after().empty()) return std::nullopt;
  return EventVersion::Parse("after", request.after());
}

}  // namespace

EventHandlers::EventHandlers(EventLoop& loop, Fleet& fleet, Options options)
    : loop_(loop), fleet_(fleet), options_(options) {
  fleet_.events().set_tap(this);
}

EventHandlers::~EventHandlers() {
  fleet_.events().set_tap(nullptr);
  for (const Waiting& waiting : waiting_) loop_.Cancel(waiting.timer);
}

void EventHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.WatchEvents", this, &EventHandlers::Watch);
}

void EventHandlers::EndWaits() {
  ending_ = true;
  while (!waiting_.empty()) Answer(waiting_.begin());
}

void EventHandlers::Watch(const Caller& caller,
                          const v1::WatchEventsRequest& request,
                          Reply<v1::WatchEventsResponse> reply) {
  const auto after = AfterOf(request);
  if (!after.ok()) {
    reply(after.status());
    return;
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  const absl::Duration wait = wire::FromProto(request.wait());
  v1::WatchEventsResponse response = Read(caller.org, *after, limit);
  if (response.events_size() > 0 || response.has_reset() || ending_ ||
      wait <= absl::ZeroDuration()) {
    reply(std::move(response));
    return;
  }
  if (waiting_.size() >= options_.waiting_max) {
    reply(TooManyWatchers(
        fmt::format("{} calls wait for events", waiting_.size()),
        options_.waiting_max));
    return;
  }
  waiting_.push_back({caller.org, **after, limit, std::move(reply), {}});
  const auto mine = std::prev(waiting_.end());
  mine->timer =
      loop_.PostAt(loop_.clock().Now() + wait, [this, mine] { Answer(mine); });
}

void EventHandlers::OnEvent(const OrgId& org) {
  auto it = waiting_.begin();
  for (size_t left = waiting_.size(); left > 0; --left) {
    const auto one = it++;
    if (one->org == org) Answer(one);
  }
}

void EventHandlers::Answer(std::list<Waiting>::iterator waiting) {
  Waiting over = std::move(*waiting);
  waiting_.erase(waiting);
  loop_.Cancel(over.timer);
  over.reply(Read(over.org, over.after, over.limit));
}

v1::WatchEventsResponse EventHandlers::Read(
    const OrgId& org, const std::optional<EventVersion>& after, size_t limit) {
  const EventLog::Reading reading = fleet_.events().Read(org, after, limit);
  v1::WatchEventsResponse response;
  for (const Event* event : reading.events) {
    const auto* transition = std::get_if<TransitionRecord>(&event->what);
    const bool durable =
        transition != nullptr &&
        transition->sequence <=
            fleet_.machines().Find(transition->agent)->durable_sequence;
    *response.add_events() = ToProto(*event, durable);
  }
  response.set_next(reading.next.Text());
  if (reading.reset) {
    response.set_reset(static_cast<v1::EventReset>(*reading.reset));
  }
  return response;
}

}  // namespace muster::gateway
