#include "tools/swarm/loopback.h"

#include "libprotocol/net/dial.h"

namespace muster::swarm {

bool IsLoopback(std::string_view text) {
  if (const size_t scheme = text.find("://"); scheme != text.npos) {
    text.remove_prefix(scheme + 3);
  }
  if (const size_t path = text.find('/'); path != text.npos) {
    text = text.substr(0, path);
  }
  if (text.starts_with('[')) {
    text.remove_prefix(1);
    text = text.substr(0, text.find(']'));
  } else {
    text = text.substr(0, text.find(':'));
  }
  if (text == "localhost" || text == "::1") return true;
  // "127.evil.example" is a name.
  return IsIpAddress(text) && text.starts_with("127.");
}

}  // namespace muster::swarm
