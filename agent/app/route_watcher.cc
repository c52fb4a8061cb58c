#include "agent/app/route_watcher.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace muster::agent {

RouteWatcher::RouteWatcher()
    : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                 NETLINK_ROUTE)) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof address) != 0) {
    fd_.Reset();
  }
}

// Which route it was does not matter. An overflow (ENOBUFS) means that many
// changed.
bool RouteWatcher::Drain() {
  bool changed = false;
  char buffer[8192];
  while (recv(fd_.get(), buffer, sizeof buffer, 0) > 0) changed = true;
  return changed || errno == ENOBUFS;
}

}  // namespace muster::agent
