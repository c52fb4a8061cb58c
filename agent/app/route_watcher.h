// Has this machine got or lost a way out?

#ifndef MUSTER_AGENT_APP_ROUTE_WATCHER_H_
#define MUSTER_AGENT_APP_ROUTE_WATCHER_H_

#include "libprotocol/base/files.h"

namespace muster::agent {

// RouteWatcher hears the kernel's announcements of changed routes. For one
// thread, which polls fd(). Without netlink it hears nothing.
class RouteWatcher {
 public:
  RouteWatcher();

  // Readable when Drain() has something to say; -1 without netlink.
  int fd() const { return fd_.get(); }

  // Takes in what was announced; true if a route changed.
  bool Drain();

 private:
  Fd fd_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_ROUTE_WATCHER_H_
