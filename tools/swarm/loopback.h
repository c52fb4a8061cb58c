// Whether an address stays on this machine.

#ifndef MUSTER_TOOLS_SWARM_LOOPBACK_H_
#define MUSTER_TOOLS_SWARM_LOOPBACK_H_

#include <string_view>

namespace muster::swarm {

// True for localhost, 127.0.0.0/8 and ::1, with or without scheme and port.
// A name is never looked up: only these spellings count.
bool IsLoopback(std::string_view url_or_endpoint);

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_LOOPBACK_H_
