// Accepts connections for the fleet port and hands them to gRPC.
//
// gRPC 1.51's own accept loop dies for good when descriptors run out
// (CVE-2023-4785, reproduced); this one closes what it cannot serve and goes
// on. It also knows every peer's address before TLS begins, so one source
// cannot take all places.

#ifndef MUSTER_GATEWAY_RPC_ACCEPTOR_H_
#define MUSTER_GATEWAY_RPC_ACCEPTOR_H_

#include <sys/socket.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "gateway/rpc/turnstile.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/base/token_bucket.h"

namespace muster::gateway {

struct AcceptorOptions {
  // host:port. An IPv6 address stands in brackets; port 0 picks a free one.
  std::string listen = "0.0.0.0:7443";
  // Connections taken from the kernel's queue in a second; the others wait
  // there. Every one costs a TLS handshake, and the agents that are connected
  // must keep their turn while a whole fleet dials. Above zero.
  double connections_per_second_max = 1000;
  // Handshakes under way; the others wait in the kernel's queue. As many as a
  // core finishes in half a second. One that takes longer than the time does
  // not count any more, so at least half as many begin in every second.
  size_t handshakes_max = 256;
  absl::Duration handshake_counts = absl::Seconds(2);
  // Who waited in the queue for longer than this is closed, not served: its
  // client gives up after 20 s, and what is left would not do for a handshake
  // on a busy machine. Served in turn, nobody would be served in time.
  absl::Duration wait_max = absl::Seconds(10);
  // When the door has not been empty for so long, newcomers count as hindered;
  // told again each time that this has passed.
  absl::Duration wait_unnoticed = absl::Seconds(1);
  // Open connections from one source; more are closed at once. A NAT may hide
  // a whole site.
  size_t connections_per_source_max = 4096;
  // Descriptors that stay free for everything else.
  size_t descriptors_reserved = 64;
  // After this time without acknowledgement from the peer's kernel a connection
  // is dead. As gRPC's own listener sets it.
  absl::Duration tcp_user_timeout = absl::Seconds(20);
};

// What counts as one source: an IPv4 address, also one mapped into IPv6, or the
// /64 of an IPv6 address.
std::string SourceOf(const sockaddr_storage& address);

// Acceptor owns the listening socket and one thread. Thread-safe.
class Acceptor {
 public:
  // Receives an accepted, non-blocking, close-on-exec descriptor and owns it.
  // Whoever hung up while waiting is not handed over.
  using Handler = std::function<void(int fd)>;

  // Binds and listens; connections wait in the kernel until Run().
  // FailedPrecondition if the port is in use, InvalidArgument if the address
  // cannot be understood, PermissionDenied for a privileged port.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Listen(
      AcceptorOptions options);
  ~Acceptor();

  // Why newcomers cannot speak in time; whoever judges silence must know.
  using Hindered = std::function<void(BlindReason)>;

  // Starts the thread. Once. `handler` runs on it, and so does `hindered`,
  // after each connection that was closed for want of descriptors or because
  // its source has enough of them, and every wait_unnoticed while the door has
  // not been empty for that long.
  void Run(Handler handler, Hindered hindered);

  // A handshake has succeeded. From any thread.
  void CameThrough() { ++came_through_; }

  // Stops accepting and joins the thread. Idempotent.
  void Stop();

  uint16_t port() const { return port_; }

 private:
  Acceptor(AcceptorOptions options, Fd listener, uint16_t port, Fd wake);
  void Loop();
  void AcceptAll();
  bool SomebodyWaits();
  // Returns when the next one may be accepted; false if Stop() was called.
  bool WaitForPlace();
  // Whether to serve it, after all the time that it waited.
  bool StillWorthIt(int fd);
  // False if Stop() was called meanwhile.
  bool Pause(absl::Duration length);
  // Descriptors ran out: takes one connection with the spare one and closes it,
  // so that the peer learns at once and the queue moves.
  void ShedOne();
  bool Admit(int fd, const std::string& source);
  void ForgetEnded();

  // Constant after construction.
  const AcceptorOptions options_;
  const uint16_t port_;
  Fd listener_;
  Fd wake_;
  Handler handler_;
  Hindered hindered_;

  const SystemClock clock_;

  // Touched only on the thread.
  TokenBucket rate_;
  Turnstile turnstile_;
  // When to tell that newcomers are hindered, if somebody still waits then.
  Instant tell_at_ = Instant::Never();
  Fd spare_;
  struct Connection {
    int fd;
    uint64_t inode;  // Tells whether `fd` is still that socket.
    bool Ended() const;
  };
  // Swept of what has ended when it doubled: bounded by what is open.
  absl::flat_hash_map<std::string, std::vector<Connection>> by_source_;
  size_t sweep_at_ = 1024;

  std::atomic<size_t> came_through_ = 0;  // Not yet told to the turnstile.

  std::thread thread_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_ACCEPTOR_H_
