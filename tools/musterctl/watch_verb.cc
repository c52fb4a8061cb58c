#include "tools/musterctl/watch_verb.h"

#include <optional>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/outage.h"
#include "tools/musterctl/resolve.h"

namespace muster::ctl {
namespace {

// One question to the gateway lasts so long at most: a change of status shows
// no later.
constexpr absl::Duration kPoll = absl::Seconds(5);

std::string DurationOr(bool known, const google::protobuf::Duration& d) {
  return known ? ShortDuration(wire::FromProto(d)) : "-";
}

// Watcher shows what comes, and says what a reader would wonder about.
class Watcher {
 public:
  Watcher(Tool& tool, const AgentsWatchOptions& options, const v1::Agent& agent)
      : tool_(tool), header_(options.header), agent_(agent) {}

  absl::Status Show(const v1::WatchHeartbeatsResponse& answer) {
    SayStatus(answer);
    if (answer.missed() > 0) {
      tool_.console.Err(fmt::format("{} missed\n", Grouped(answer.missed())));
    }
    for (const v1::HeartbeatSample& heartbeat : answer.heartbeats()) {
      RETURN_IF_ERROR(ShowOne(heartbeat));
    }
    return absl::OkStatus();
  }
  uint64_t shown() const { return shown_; }

 private:
  void SayStatus(const v1::WatchHeartbeatsResponse& answer) {
    if (answer.status() == status_) return;
    // The first one may be unconfirmed; a change has been decided since.
    if (status_) agent_.set_confirmed(true);
    status_ = answer.status();
    agent_.set_status(*status_);
    tool_.console.Err(fmt::format(
        "{} is {}; a heartbeat is due every {}\n", Printable(Name(agent_)),
        StatusCell(agent_).text,
        ShortDuration(wire::FromProto(answer.heartbeat_interval()))));
  }

  absl::Status ShowOne(const v1::HeartbeatSample& heartbeat) {
    if (epoch_ && *epoch_ != heartbeat.epoch()) {
      tool_.console.Err(
          fmt::format("a new link, epoch {}\n", heartbeat.epoch()));
    }
    epoch_ = heartbeat.epoch();
    ++shown_;
    const std::string json = wire::ProtoToJson(heartbeat);
    if (tool_.format == OutputFormat::kYaml) tool_.console.Out("---\n");
    ASSIGN_OR_RETURN(const bool shown, ShowTree(tool_, json));
    if (shown) return absl::OkStatus();
    if (tool_.format == OutputFormat::kName) {
      tool_.console.Out(fmt::format("{}\n", heartbeat.sequence()));
      return absl::OkStatus();
    }
    if (header_) Line("TIME", "SEQ", "RTT", "SKEW", "EPOCH");
    header_ = false;
    Line(absl::FormatTime("%H:%M:%E3S", wire::FromProto(heartbeat.at()),
                          absl::LocalTimeZone()),
         std::to_string(heartbeat.sequence()),
         DurationOr(heartbeat.has_round_trip(), heartbeat.round_trip()),
         DurationOr(heartbeat.has_clock_skew(), heartbeat.clock_skew()),
         std::to_string(heartbeat.epoch()));
    return absl::OkStatus();
  }

  // Widths do not depend on what comes: a line is shown when it is there.
  void Line(const std::string& time, const std::string& sequence,
            const std::string& round_trip, const std::string& skew,
            const std::string& epoch) {
    std::string line =
        fmt::format("{:<12}  {:<8}  {:<6}  {}", time, sequence, round_trip,
                    tool_.format == OutputFormat::kWide
                        ? fmt::format("{:<6}  {}", skew, epoch)
                        : skew);
    tool_.console.Out(line + "\n");
  }

  Tool& tool_;
  bool header_;
  v1::Agent agent_;
  std::optional<v1::Status> status_;
  std::optional<uint64_t> epoch_;
  uint64_t shown_ = 0;
};

// The next answer, whenever it comes. Errors are those that asking again does
// not mend, and any before the first answer: `request` asks nothing after it.
absl::StatusOr<v1::WatchHeartbeatsResponse> NextAnswer(
    Tool& tool, const v1::WatchHeartbeatsRequest& request, Outage& outage) {
  while (true) {
    v1::WatchHeartbeatsRequest asked = request;
    if (outage.lasts()) asked.clear_wait();
    auto answer = tool.api.Call<v1::WatchHeartbeatsResponse>(
        "WatchHeartbeats", asked, {.wait = kPoll});
    if (answer.ok()) {
      outage.Answered("; heartbeats meanwhile may be missing");
      return std::move(answer->message);
    }
    if (!request.has_after() || !IsPassing(answer.status())) {
      return answer.status();
    }
    outage.Failed(answer.status());
  }
}

}  // namespace

absl::StatusOr<int> AgentsWatch(Tool& tool, const AgentsWatchOptions& options) {
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  Watcher watcher(tool, options, resolved.agent);
  Outage outage(tool);
  v1::WatchHeartbeatsRequest request;
  request.set_agent_id(resolved.agent.agent_id());
  while (options.count == 0 || watcher.shown() < options.count) {
    ASSIGN_OR_RETURN(v1::WatchHeartbeatsResponse answer,
                     NextAnswer(tool, request, outage));
    if (options.count > 0) {
      const uint64_t left = options.count - watcher.shown();
      auto& heartbeats = *answer.mutable_heartbeats();
      if (static_cast<uint64_t>(heartbeats.size()) > left) {
        heartbeats.DeleteSubrange(static_cast<int>(left),
                                  heartbeats.size() - static_cast<int>(left));
      }
    }
    RETURN_IF_ERROR(watcher.Show(answer));
    request.set_after(answer.next());
    // The first answer came at once: it says how the machine is.
    *request.mutable_wait() = wire::ToProto(kPoll);
  }
  return kExitOk;
}

}  // namespace muster::ctl
