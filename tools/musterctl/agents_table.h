// The machines table, as docs and tests have it word for word.

#ifndef MUSTER_TOOLS_MUSTERCTL_AGENTS_TABLE_H_
#define MUSTER_TOOLS_MUSTERCTL_AGENTS_TABLE_H_

#include <map>
#include <span>
#include <string>

#include "absl/time/time.h"
#include "google/protobuf/map.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/table.h"

namespace muster::ctl {

using AgentSpan = std::span<const v1::Agent* const>;

// "web-1~c07e55": for where a mistake would cost.
std::string LongName(const v1::Agent& agent);

// What to type for this machine, as the gateway says: it knows all names.
std::string Name(const v1::Agent& agent);

// "online", "stale", "offline"; with "?" while the gateway cannot vouch for it.
Cell StatusCell(const v1::Agent& agent);

// The verdict's summary, else what is wrong with its health; empty: nothing.
std::string WhyText(const v1::Agent& agent);

// "env=prod,role=db".
std::string LabelsText(
    const google::protobuf::Map<std::string, std::string>& labels);

// Rows in the order of `agents`.
Table AgentsTable(AgentSpan agents, absl::Time now, bool wide);

// "2 offline, 1 stale, 2,997 online (2 degraded). 50 of 3,000 shown, …"
std::string AgentsFooter(const v1::StatusCounts& counts, size_t shown,
                         size_t matched);

// "warning: not confirmed since 02:11:04 CET: the gateway cannot hear …"
std::string UnconfirmedWarning(const v1::GatewayStatus& status, absl::Time now,
                               absl::TimeZone zone);

// Everything about one machine, line by line.
std::string AgentDetails(const v1::Agent& agent, absl::Time now,
                         absl::TimeZone zone);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_AGENTS_TABLE_H_
