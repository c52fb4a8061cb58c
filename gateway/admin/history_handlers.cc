#include "gateway/admin/history_handlers.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/admin/convert.h"
#include "gateway/admin/page_token.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

std::string Utc(absl::Time t) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", t, absl::UTCTimeZone());
}

// What `request` for the history `list` asks for.
template <typename Request>
absl::StatusOr<HistoryRange> RangeOf(std::string_view list,
                                     const Request& request) {
  RETURN_IF_ERROR(wire::ValidatePageSize(request.limit()));
  HistoryRange range(request.limit() == 0 ? wire::kPageSizeDefault
                                          : request.limit());
  if (request.has_since()) range.since = wire::FromProto(request.since());
  if (request.has_until()) range.until = wire::FromProto(request.until());
  if (range.since >= range.until) {
    return absl::InvalidArgumentError(
        fmt::format("since: must be before until ({}), got {}",
                    Utc(range.until), Utc(range.since)));
  }
  if (!request.page_token().empty()) {
    ASSIGN_OR_RETURN(const HistoryPosition position,
                     DecodeHistoryToken(list, request.page_token()));
    range.newest = position.newest;
    range.skip = position.skip;
  }
  return range;
}

// The same for a history of one machine, which must be there.
template <typename Request>
absl::StatusOr<HistoryRange> RangeOf(std::string_view list, Fleet& fleet,
                                     const OrgId& org, const Request& request) {
  const AgentId id(request.agent_id());
  if (fleet.machines().FindLiving(org, id) == nullptr) {
    return NotFound("agent", request.agent_id());
  }
  return RangeOf(list, request);
}

// Cuts `rows` to the page; its last row, if there are more.
template <typename Record>
const Record* Cut(std::vector<Record>& rows, size_t limit) {
  if (rows.size() <= limit) return nullptr;
  rows.erase(rows.begin() + static_cast<ptrdiff_t>(limit), rows.end());
  return &rows.back();
}

// After a row whose key no other row has.
template <typename Key>
std::string TokenAfter(std::string_view list, Key key) {
  return EncodeHistoryToken(list, {static_cast<int64_t>(key) - 1, 0});
}

// After the last of `rows`, of which several may have the same time.
template <typename Record, typename KeyOf>
std::string TokenAfterTime(std::string_view list,
                           const std::vector<Record>& rows,
                           const HistoryRange& range, KeyOf key_of) {
  const absl::Time last = key_of(rows.back());
  HistoryPosition position{absl::ToUnixMicros(last), 0};
  position.skip = static_cast<size_t>(std::ranges::count_if(
      rows, [&](const Record& row) { return key_of(row) == last; }));
  if (position.newest == range.newest) position.skip += range.skip;
  return EncodeHistoryToken(list, position);
}

void AddIdentities(Machines& machines, const AgentId& id,
                   v1::ListTransitionsResponse& response) {
  if (const auto newer = ReplacedBy(machines.Find(id)->record)) {
    response.set_replaced_by(newer->str());
  }
  for (const AgentId& old : machines.ReplacesOf(id)) {
    response.add_replaces(old.str());
  }
}

}  // namespace

void HistoryHandlers::AddTo(HandlerTable& table) {
  const std::string service = "muster.v1.FleetAdmin.";
  table.Add(service + "ListTransitions", this, &HistoryHandlers::Transitions);
  table.Add(service + "ListLinks", this, &HistoryHandlers::Links);
  table.Add(service + "ListNotes", this, &HistoryHandlers::Notes);
  table.Add(service + "ListIncidents", this, &HistoryHandlers::Incidents);
  table.Add(service + "ListBlindIntervals", this,
            &HistoryHandlers::BlindIntervals);
  table.Add(service + "WatchHeartbeats", this, &HistoryHandlers::Watch);
}

template <typename Response, typename List, typename Render>
void HistoryHandlers::Answer(absl::StatusOr<HistoryRange> range, List list,
                             Render render, Reply<Response> reply) {
  if (!range.ok()) {
    reply(range.status());
    return;
  }
  store_.Read(
      [list = std::move(list), range = *range](FleetStore& store) {
        HistoryRange one_more = range;
        ++one_more.limit;
        return list(store, one_more);
      },
      [render = std::move(render), range = *range,
       reply = std::move(reply)](auto rows) mutable {
        if (!rows.ok()) {
          reply(rows.status());
        } else {
          reply(render(*std::move(rows), range));
        }
      });
}

void HistoryHandlers::Transitions(const Caller& caller,
                                  const v1::ListTransitionsRequest& request,
                                  Reply<v1::ListTransitionsResponse> reply) {
  const AgentId id(request.agent_id());
  Answer<v1::ListTransitionsResponse>(
      RangeOf("transitions", fleet_, caller.org, request),
      [id](FleetStore& store, const HistoryRange& range) {
        return store.ListTransitions(id, range);
      },
      [this, id](std::vector<StoredTransition> rows,
                 const HistoryRange& range) {
        // What the store has not taken yet is newer than all it has.
        const uint64_t durable = rows.empty() ? 0 : rows.front().sequence;
        for (const TransitionRecord& t : fleet_.history().NotDurable(id)) {
          if (t.sequence > durable && range.Covers(t.at) &&
              static_cast<int64_t>(t.sequence) <= range.newest) {
            rows.insert(rows.begin(), {t});
          }
        }
        v1::ListTransitionsResponse response;
        if (const StoredTransition* last = Cut(rows, range.limit)) {
          response.set_next_page_token(
              TokenAfter("transitions", last->sequence));
        }
        for (const StoredTransition& t : rows) {
          v1::Transition& shown = *response.add_transitions();
          shown = ToProto(t, t.sequence <= durable);
          shown.set_disputed(t.disputed);
        }
        AddIdentities(fleet_.machines(), id, response);
        return response;
      },
      std::move(reply));
}

void HistoryHandlers::Links(const Caller& caller,
                            const v1::ListLinksRequest& request,
                            Reply<v1::ListLinksResponse> reply) {
  Answer<v1::ListLinksResponse>(
      RangeOf("links", fleet_, caller.org, request),
      [id = AgentId(request.agent_id())](FleetStore& store,
                                         const HistoryRange& range) {
        return store.ListLinks(id, range);
      },
      [](std::vector<LinkRecord> rows, const HistoryRange& range) {
        v1::ListLinksResponse response;
        if (const LinkRecord* last = Cut(rows, range.limit)) {
          response.set_next_page_token(TokenAfter("links", last->epoch));
        }
        for (const LinkRecord& l : rows) *response.add_links() = ToProto(l);
        return response;
      },
      std::move(reply));
}

void HistoryHandlers::Notes(const Caller& caller,
                            const v1::ListNotesRequest& request,
                            Reply<v1::ListNotesResponse> reply) {
  Answer<v1::ListNotesResponse>(
      RangeOf("notes", fleet_, caller.org, request),
      [id = AgentId(request.agent_id())](FleetStore& store,
                                         const HistoryRange& range) {
        return store.ListNotes(id, range);
      },
      [](std::vector<StoredNote> rows, const HistoryRange& range) {
        v1::ListNotesResponse response;
        if (const StoredNote* last = Cut(rows, range.limit)) {
          response.set_next_page_token(TokenAfter("notes", last->arrival));
        }
        for (const StoredNote& n : rows) *response.add_notes() = ToProto(n);
        return response;
      },
      std::move(reply));
}

void HistoryHandlers::Incidents(const Caller& caller,
                                const v1::ListIncidentsRequest& request,
                                Reply<v1::ListIncidentsResponse> reply) {
  Answer<v1::ListIncidentsResponse>(
      RangeOf("incidents", request),
      [org = caller.org](FleetStore& store, const HistoryRange& range) {
        return store.ListIncidents(org, range);
      },
      [](std::vector<IncidentRecord> rows, const HistoryRange& range) {
        v1::ListIncidentsResponse response;
        if (Cut(rows, range.limit) != nullptr) {
          response.set_next_page_token(
              TokenAfterTime("incidents", rows, range,
                             std::mem_fn(&IncidentRecord::opened_at)));
        }
        for (const IncidentRecord& i : rows) {
          *response.add_incidents() = ToProto(i);
        }
        return response;
      },
      std::move(reply));
}

void HistoryHandlers::BlindIntervals(
    const Caller&, const v1::ListBlindIntervalsRequest& request,
    Reply<v1::ListBlindIntervalsResponse> reply) {
  Answer<v1::ListBlindIntervalsResponse>(
      RangeOf("blind_intervals", request),
      [](FleetStore& store, const HistoryRange& range) {
        return store.ListBlindIntervals(range);
      },
      [](std::vector<BlindRecord> rows, const HistoryRange& range) {
        v1::ListBlindIntervalsResponse response;
        if (Cut(rows, range.limit) != nullptr) {
          response.set_next_page_token(TokenAfterTime(
              "blind_intervals", rows, range, std::mem_fn(&BlindRecord::to)));
        }
        for (const BlindRecord& b : rows) {
          *response.add_blind_intervals() = ToProto(b);
        }
        return response;
      },
      std::move(reply));
}

void HistoryHandlers::Watch(const Caller& caller,
                            const v1::WatchHeartbeatsRequest& request,
                            Reply<v1::WatchHeartbeatsResponse> reply) {
  if (auto s = wire::ValidateWait(request.wait()); !s.ok()) {
    reply(s);
    return;
  }
  Machine* machine =
      fleet_.machines().FindLiving(caller.org, AgentId(request.agent_id()));
  if (machine == nullptr) {
    reply(NotFound("agent", request.agent_id()));
    return;
  }
  std::optional<uint64_t> after;
  if (request.has_after()) after = request.after();
  taps_.Watch(*machine, after, wire::FromProto(request.wait()),
              [this, machine, reply = std::move(reply)](
                  absl::StatusOr<HeartbeatTaps::Answer> answer) mutable {
                if (!answer.ok()) {
                  reply(answer.status());
                  return;
                }
                v1::WatchHeartbeatsResponse response;
                for (const HeartbeatSample& heartbeat : answer->heartbeats) {
                  *response.add_heartbeats() = ToProto(heartbeat);
                }
                response.set_next(answer->next);
                response.set_missed(answer->missed);
                response.set_status(ToProto(machine->record.status));
                *response.mutable_heartbeat_interval() =
                    wire::ToProto(fleet_.HeartbeatInterval(*machine));
                reply(std::move(response));
              });
}

}  // namespace muster::gateway
