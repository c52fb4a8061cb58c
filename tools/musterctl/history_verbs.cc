#include "tools/musterctl/history_verbs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/history_table.h"
#include "tools/musterctl/resolve.h"

namespace muster::ctl {
namespace {

constexpr uint32_t kRowsDefault = 50;
constexpr uint32_t kRowsSinceMax = 10'000;

uint32_t RowsMax(const PastOptions& options) {
  if (options.limit > 0) return options.limit;
  return options.since ? kRowsSinceMax : kRowsDefault;
}

// All rows of one list that were asked for.
template <typename Row>
struct Listed {
  std::vector<Row> rows;
  std::string body;   // Of one answer with them all.
  bool more = false;  // There are older ones.
};

// `rows_of(response)` are the rows of one page, the field `key` of its JSON.
template <typename Response, typename Request, typename RowsOf>
auto Fetch(Tool& tool, std::string_view method, Request request,
           const std::string& key, uint32_t rows_max, RowsOf rows_of)
    -> absl::StatusOr<Listed<
        std::decay_t<decltype(*rows_of(std::declval<Response&>()).begin())>>> {
  Listed<std::decay_t<decltype(*rows_of(std::declval<Response&>()).begin())>>
      listed;
  std::vector<std::string> bodies;
  do {
    const auto left = rows_max - static_cast<uint32_t>(listed.rows.size());
    request.set_limit(std::min(left, wire::kPageSizeMax));
    ASSIGN_OR_RETURN(auto page, tool.api.Call<Response>(method, request));
    const auto& rows = rows_of(page.message);
    listed.rows.insert(listed.rows.end(), rows.begin(), rows.end());
    bodies.push_back(std::move(page.body));
    request.set_page_token(page.message.next_page_token());
  } while (!request.page_token().empty() && listed.rows.size() < rows_max);
  listed.more = !request.page_token().empty();
  ASSIGN_OR_RETURN(listed.body, JoinPages(bodies, key));
  return listed;
}

absl::StatusOr<Listed<v1::BlindInterval>> FetchBlindIntervals(Tool& tool,
                                                              absl::Time since,
                                                              uint32_t rows) {
  v1::ListBlindIntervalsRequest request;
  *request.mutable_since() = wire::ToProto(since);
  return Fetch<v1::ListBlindIntervalsResponse>(
      tool, "ListBlindIntervals", std::move(request), "blind_intervals", rows,
      [](const auto& page) -> const auto& { return page.blind_intervals(); });
}

// What the gateway knows of one machine's past.
struct Past {
  Listed<v1::Transition> transitions;
  Listed<v1::Note> notes;
  Listed<v1::Link> links;
  Listed<v1::BlindInterval> blind;
};

template <typename Request>
Request RequestFor(const std::string& agent_id,
                   std::optional<absl::Time> since) {
  Request request;
  request.set_agent_id(agent_id);
  if (since) *request.mutable_since() = wire::ToProto(*since);
  return request;
}

absl::StatusOr<Past> FetchPast(Tool& tool, const std::string& id,
                               std::optional<absl::Time> since, bool links,
                               uint32_t rows) {
  Past past;
  ASSIGN_OR_RETURN(
      past.transitions,
      Fetch<v1::ListTransitionsResponse>(
          tool, "ListTransitions",
          RequestFor<v1::ListTransitionsRequest>(id, since), "transitions",
          rows,
          [](const auto& page) -> const auto& { return page.transitions(); }));
  ASSIGN_OR_RETURN(
      past.notes,
      Fetch<v1::ListNotesResponse>(
          tool, "ListNotes", RequestFor<v1::ListNotesRequest>(id, since),
          "notes", rows,
          [](const auto& page) -> const auto& { return page.notes(); }));
  if (!links) return past;
  ASSIGN_OR_RETURN(
      past.links,
      Fetch<v1::ListLinksResponse>(
          tool, "ListLinks", RequestFor<v1::ListLinksRequest>(id, since),
          "links", rows,
          [](const auto& page) -> const auto& { return page.links(); }));
  return past;
}

// The newest `rows_max` lines of it, without the gateway's own. `more`: there
// are older ones.
std::vector<HistoryRow> RowsOf(const Past& past, absl::Time now,
                               std::optional<absl::Time> since,
                               uint32_t rows_max, bool& more) {
  std::vector<HistoryRow> rows;
  AddTransitions(past.transitions.rows, now, rows);
  AddNotes(past.notes.rows, rows);
  AddLinks(past.links.rows, now, rows);
  // A link may have been opened earlier.
  std::erase_if(rows,
                [&](const HistoryRow& r) { return since && r.at < *since; });
  SortRows(rows);
  more = past.transitions.more || past.notes.more || past.links.more ||
         rows.size() > rows_max;
  if (rows.size() > rows_max) {
    rows.erase(rows.begin() + static_cast<ptrdiff_t>(rows_max), rows.end());
  }
  return rows;
}

void SayThatThereIsMore(Tool& tool, size_t shown) {
  tool.console.Err(
      fmt::format("\n{} newest shown; --since or --limit for more.\n", shown));
}

// The gateway's time: of a call that costs it nothing.
absl::StatusOr<absl::Time> GatewayNow(Tool& tool) {
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::WhoAmIResponse>(
                                          "WhoAmI", v1::WhoAmIRequest()));
  return tool.Now(answer.served_at);
}

bool WantsTree(const Tool& tool) {
  return tool.format == OutputFormat::kJson ||
         tool.format == OutputFormat::kYaml;
}

absl::StatusOr<int> ShowJoined(Tool& tool, std::vector<std::string> bodies) {
  ASSIGN_OR_RETURN(const std::string body, JoinObjects(bodies));
  RETURN_IF_ERROR(ShowTree(tool, body).status());
  return kExitOk;
}

}  // namespace

absl::StatusOr<int> AgentsHistory(Tool& tool,
                                  const AgentsHistoryOptions& options) {
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  const absl::Time now = resolved.now;
  std::optional<absl::Time> since;
  if (options.past.since) since = now - *options.past.since;
  const uint32_t rows_max = RowsMax(options.past);
  ASSIGN_OR_RETURN(Past past, FetchPast(tool, resolved.agent.agent_id(), since,
                                        options.links, rows_max));
  bool more = false;
  std::vector<HistoryRow> rows = RowsOf(past, now, since, rows_max, more);
  // The gateway's own past, as far back as the machine's is shown.
  if (since || !rows.empty()) {
    const absl::Time from = since && !more ? *since : rows.back().at;
    ASSIGN_OR_RETURN(past.blind,
                     FetchBlindIntervals(tool, from, kRowsSinceMax));
  }
  if (WantsTree(tool)) {
    std::vector<std::string> bodies = {past.transitions.body, past.notes.body};
    if (options.links) bodies.push_back(past.links.body);
    if (!past.blind.body.empty()) bodies.push_back(past.blind.body);
    return ShowJoined(tool, std::move(bodies));
  }
  if (tool.format == OutputFormat::kName) {
    for (const v1::Transition& t : past.transitions.rows) {
      tool.console.Out(fmt::format("{}\n", t.sequence()));
    }
    return kExitOk;
  }
  const size_t shown = rows.size();
  AddBlindIntervals(past.blind.rows, rows);
  SortRows(rows);
  if (rows.empty()) {
    tool.console.Err("Nothing happened.\n");
    return kExitOk;
  }
  tool.console.Out(HistoryTable(rows, now, absl::LocalTimeZone(),
                                tool.format == OutputFormat::kWide)
                       .Render(tool.Style(options.past.header)));
  if (more) SayThatThereIsMore(tool, shown);
  if (past.blind.more) {
    tool.console.Err(fmt::format(
        "\nonly the {} newest lines of the gateway shown; --since for less.\n",
        past.blind.rows.size()));
  }
  return kExitOk;
}

absl::StatusOr<int> Incidents(Tool& tool, const PastOptions& options) {
  ASSIGN_OR_RETURN(const absl::Time now, GatewayNow(tool));
  v1::ListIncidentsRequest request;
  if (options.since) {
    *request.mutable_since() = wire::ToProto(now - *options.since);
  }
  const uint32_t rows_max = RowsMax(options);
  ASSIGN_OR_RETURN(
      const auto incidents,
      Fetch<v1::ListIncidentsResponse>(
          tool, "ListIncidents", std::move(request), "incidents", rows_max,
          [](const auto& page) -> const auto& { return page.incidents(); }));
  absl::Time since = options.since ? now - *options.since : absl::UnixEpoch();
  if (incidents.more) {
    since = wire::FromProto(incidents.rows.back().opened_at());
  }
  ASSIGN_OR_RETURN(const auto blind,
                   FetchBlindIntervals(tool, since, rows_max));
  if (WantsTree(tool)) return ShowJoined(tool, {incidents.body, blind.body});
  if (tool.format == OutputFormat::kName) {
    for (const v1::Incident& incident : incidents.rows) {
      tool.console.Out(Printable(incident.incident_id()) + "\n");
    }
    return kExitOk;
  }
  if (incidents.rows.empty() && blind.rows.empty()) {
    tool.console.Err("No incidents.\n");
    return kExitOk;
  }
  tool.console.Out(IncidentsTable(incidents.rows, blind.rows, now,
                                  absl::LocalTimeZone(),
                                  tool.format == OutputFormat::kWide)
                       .Render(tool.Style(options.header)));
  if (incidents.more || blind.more) {
    SayThatThereIsMore(tool, incidents.rows.size() + blind.rows.size());
  }
  return kExitOk;
}

}  // namespace muster::ctl
