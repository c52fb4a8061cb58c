#include "tools/musterctl/events_verb.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/enum_words.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/history_table.h"
#include "tools/musterctl/outage.h"

namespace muster::ctl {
namespace {

// One question to the gateway lasts so long at most.
constexpr absl::Duration kEventsPoll = absl::Seconds(15);

HistoryRow RowOf(const v1::Incident& incident) {
  std::string what = incident.has_closed_at() ? "incident closed" : "incident";
  return {
      .at = {},
      .what = {std::move(what)},
      .span = "",
      .why = fmt::format("{} machines of {}: {}", Grouped(incident.machines()),
                         incident.group(), incident.summary()),
      .sequence = "",
      .epoch = "",
      .detail = ""};
}

// What happened and why, in the words of `agents history`.
HistoryRow RowOf(const v1::Event& event) {
  const absl::Time at = wire::FromProto(event.at());
  std::vector<HistoryRow> rows;
  if (event.has_transition()) {
    v1::Transition transition = event.transition();
    transition.set_durable(true);  // It is told before it is stored: always.
    AddTransitions(std::span(&transition, 1), at, rows);
  } else if (event.has_note()) {
    AddNotes(std::span(&event.note(), 1), rows);
  } else if (event.has_blind_interval()) {
    AddBlindIntervals(std::span(&event.blind_interval(), 1), rows);
  } else if (event.has_incident()) {
    return RowOf(event.incident());
  } else {  // It joined, was deleted, or did what only a newer gateway knows.
    rows.resize(1);
    rows[0].what = {EnumWord(v1::EventKind_descriptor(), event.kind())};
  }
  return rows[0];
}

// An event does not know whether others have its machine's name: as
// LongName(), always.
std::string MachineText(const v1::Event& event) {
  if (event.agent_id().empty()) return "-";  // A group, or the gateway.
  v1::Agent agent;
  agent.set_hostname(event.hostname());
  agent.set_agent_id(event.agent_id());
  return Printable(LongName(agent));
}

// Shower shows what comes, and says what cannot be shown.
class Shower {
 public:
  Shower(Tool& tool, const EventsOptions& options)
      : tool_(tool), header_(options.header), count_(options.count) {}

  absl::Status Show(const v1::WatchEventsResponse& answer) {
    if (answer.has_reset() && answer.reset() != v1::EVENT_RESET_START) {
      tool_.console.Err(fmt::format(
          "events before now are not known any more ({}): musterctl agents "
          "ls\n",
          EnumWord(v1::EventReset_descriptor(), answer.reset())));
    }
    for (const v1::Event& event : answer.events()) {
      if (Done()) break;
      RETURN_IF_ERROR(ShowOne(event));
      ++shown_;
    }
    return absl::OkStatus();
  }
  bool Done() const { return count_ && shown_ >= *count_; }

 private:
  absl::Status ShowOne(const v1::Event& event) {
    if (tool_.format == OutputFormat::kYaml) tool_.console.Out("---\n");
    ASSIGN_OR_RETURN(const bool shown,
                     ShowTree(tool_, wire::ProtoToJson(event)));
    if (shown) return absl::OkStatus();
    if (tool_.format == OutputFormat::kName) {
      tool_.console.Out(Printable(event.version()) + "\n");
      return absl::OkStatus();
    }
    if (header_) Line("TIME", "MACHINE", "WHAT", "WHY", "VERSION");
    header_ = false;
    const HistoryRow row = RowOf(event);
    Line(absl::FormatTime("%H:%M:%E3S", wire::FromProto(event.at()),
                          absl::LocalTimeZone()),
         MachineText(event), row.what.text,
         row.why.empty() ? "-" : Printable(row.why),
         Printable(event.version()));
    return absl::OkStatus();
  }

  // Widths do not depend on what comes: a line is shown when it is there.
  void Line(const std::string& time, const std::string& machine,
            const std::string& what, const std::string& why,
            const std::string& version) {
    const std::string line =
        fmt::format("{:<12}  {:<24}  {:<18}", time, machine, what);
    tool_.console.Out(tool_.format == OutputFormat::kWide
                          ? fmt::format("{}  {:<48}  {}\n", line, why, version)
                          : fmt::format("{}  {}\n", line, why));
  }

  Tool& tool_;
  bool header_;
  const std::optional<uint32_t> count_;
  uint32_t shown_ = 0;
};

// The next answer. A gateway that does not answer is waited for, once it has.
absl::StatusOr<v1::WatchEventsResponse> NextAnswer(
    Tool& tool, const v1::WatchEventsRequest& request, bool begun,
    Outage& outage) {
  while (true) {
    auto answer = tool.api.Call<v1::WatchEventsResponse>("WatchEvents", request,
                                                         {.wait = kEventsPoll});
    if (answer.ok()) {
      outage.Answered("");
      return std::move(answer->message);
    }
    if (!begun || !IsPassing(answer.status())) return answer.status();
    outage.Failed(answer.status());
  }
}

// The gateway knows exactly; it calls the field by another name.
bool LooksLikeVersion(const std::string& text) {
  const size_t dash = text.find('-');
  const auto number = [](std::string_view part) {
    // A run and a number have 64 bits: at most 19 digits are sure to fit.
    return !part.empty() && part.size() <= 19 &&
           part.find_first_not_of("0123456789") == part.npos;
  };
  return dash != text.npos && number(std::string_view(text).substr(0, dash)) &&
         number(std::string_view(text).substr(dash + 1));
}

}  // namespace

absl::StatusOr<int> Events(Tool& tool, const EventsOptions& options) {
  if (!options.follow && options.since.empty()) {
    return WithHint(absl::InvalidArgumentError(
                        "events needs -f, or --since with a version"),
                    "musterctl events -f");
  }
  if (!options.since.empty() && !LooksLikeVersion(options.since)) {
    return WithHint(
        absl::InvalidArgumentError(fmt::format(
            "--since: must be the version of an event, RUN-NUMBER, got '{}'",
            options.since)),
        "musterctl events -f -o wide shows the version of each");
  }
  Shower shower(tool, options);
  Outage outage(tool);
  v1::WatchEventsRequest request;
  request.set_after(options.since);
  bool begun = false;
  bool more = true;
  while (more && !shower.Done()) {
    ASSIGN_OR_RETURN(const v1::WatchEventsResponse answer,
                     NextAnswer(tool, request, begun, outage));
    RETURN_IF_ERROR(shower.Show(answer));
    request.set_after(answer.next());
    more = options.follow || answer.events_size() > 0;
    begun = options.follow;
    if (options.follow) *request.mutable_wait() = wire::ToProto(kEventsPoll);
  }
  return kExitOk;
}

}  // namespace muster::ctl
