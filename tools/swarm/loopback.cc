#include "tools/swarm/loopback.h"

#include "libprotocol/base/host_port.h"

namespace muster::swarm {

bool IsLoopback(std::string_view text) {
  if (const size_t scheme = text.find("://"); scheme != text.npos) {
    text.remove_prefix(scheme + 3);
  }
  if (const size_t path = text.find('/'); path != text.npos) {
    text = text.substr(0, path);
  }
  const auto authority = ParseAuthority(text);
  return authority.ok() && muster::IsLoopback(authority->host);
}

}  // namespace muster::swarm
