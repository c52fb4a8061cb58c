#include "tools/musterctl/status_verbs.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

constexpr char kVersion[] = MUSTER_VERSION;

// "12 B", "4.0 KiB", "1.5 GiB".
std::string BytesText(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::string_view unit = "KiB";
  for (const std::string_view larger : {"MiB", "GiB", "TiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = larger;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

// Whether it can be vouched for; if not, since when and why.
std::string PresenceText(const v1::GatewayStatus& status, absl::Time now) {
  std::string text = status.presence_confirmed() ? "confirmed" : "unconfirmed";
  if (!status.has_unconfirmed_since()) return text;
  const std::string since = ClockText(
      wire::FromProto(status.unconfirmed_since()), now, absl::LocalTimeZone());
  return fmt::format("{} since {}: {}", text, since,
                     Printable(status.unconfirmed_reason()));
}

}  // namespace

absl::StatusOr<int> ShowStatus(Tool& tool) {
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::GatewayStatus>(
                                          "GetStatus", v1::GetStatusRequest()));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const v1::GatewayStatus& status = answer.message;
  if (tool.format == OutputFormat::kName) {
    tool.console.Out(Printable(status.name()) + "\n");
    return kExitOk;
  }
  const absl::Time now = tool.Now(answer.served_at);
  if (!status.presence_confirmed()) {
    tool.console.Err(UnconfirmedWarning(status, now, absl::LocalTimeZone()) +
                     "\n");
  }
  const v1::StatusCounts& counts = status.agents();
  std::vector<std::pair<std::string, std::string>> lines = {
      {"Gateway",
       fmt::format("{}, up {}", status.version(),
                   AgeText(now - wire::FromProto(status.started_at())))},
      {"Machines", AgentsFooter(counts, 0, 0)},
      {"Presence", PresenceText(status, now)},
      {"Fleet port", status.fleet_endpoint()}};
  if (status.has_links()) {
    lines.emplace_back("Links", Grouped(status.links()));
    lines.emplace_back("Commands",
                       fmt::format("{} open", Grouped(status.commands_open())));
  }
  const std::map<std::string, uint64_t> stored(status.stored_bytes().begin(),
                                               status.stored_bytes().end());
  for (const auto& [kind, bytes] : stored) {
    lines.emplace_back("Stored " + Printable(kind), BytesText(bytes));
  }
  tool.console.Out(Details(lines));
  return kExitOk;
}

absl::StatusOr<int> ShowVersion(Console& console, OutputFormat format) {
  switch (format) {
    case OutputFormat::kJson:
      console.Out(fmt::format("{{\"version\":\"{}\"}}\n", kVersion));
      break;
    case OutputFormat::kYaml:
      console.Out(fmt::format("version: \"{}\"\n", kVersion));
      break;
    default:
      console.Out(fmt::format("musterctl {}\n", kVersion));
  }
  return kExitOk;
}

}  // namespace muster::ctl
