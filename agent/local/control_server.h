// The running agent's control socket.

#ifndef MUSTER_AGENT_LOCAL_CONTROL_SERVER_H_
#define MUSTER_AGENT_LOCAL_CONTROL_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "agent/local/control_protocol.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// ControlServer accepts one request per connection and posts it to the loop.
//
// Threading: a thread of its own reads, with a deadline; the handler runs on
// the loop, perhaps still after the server died: what it refers to outlives
// `loop`, which outlives the server. Who may connect is decided by
// the file system: the socket is 0600 in a 0700 folder.
class ControlServer {
 public:
  // Call once, now or later.
  using Reply = std::function<void(const ControlReply&)>;
  using Handler = std::function<void(const ControlRequest&, Reply)>;

  // Replaces a socket that a dead agent left at `path` (the caller holds the
  // agent's lock). InvalidArgument if the path is too long for a socket.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(
      const std::string& path, EventLoop& loop, Handler handler);

  // Removes the socket.
  ~ControlServer();

 private:
  ControlServer(std::string path, Fd listener, Fd stop, EventLoop& loop,
                Handler handler);
  void Run();
  void Serve(std::shared_ptr<Fd> connection);

  // Constant after construction.
  const std::string path_;
  const Fd listener_;
  const Fd stop_;  // An eventfd: readable once the server shall end.
  EventLoop& loop_;
  const std::shared_ptr<const Handler> handler_;

  std::thread thread_;  // Last: starts when everything above exists.
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LOCAL_CONTROL_SERVER_H_
