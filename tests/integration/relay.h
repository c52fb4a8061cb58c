// A wire between an agent and its gateway that a test can cut.

#ifndef MUSTER_TESTS_INTEGRATION_RELAY_H_
#define MUSTER_TESTS_INTEGRATION_RELAY_H_

#include <cstdint>
#include <list>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/mutex.h"

namespace muster::integration {

enum class Direction { kToGateway, kToAgent };

// Relay listens on a port of 127.0.0.1 and carries bytes to another one. Its
// port stays the same while the gateway behind it comes and goes.
//
// Threading: thread-safe; owns one thread. Lifetime: the destructor cuts what
// is open.
class Relay {
 public:
  explicit Relay(uint16_t target);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  uint16_t port() const { return port_; }

  // Where connections go that are made from now on.
  void SetTarget(uint16_t target) ABSL_LOCKS_EXCLUDED(mu_);

  // Resets every connection, as a middlebox does that lost its state.
  void Cut() ABSL_LOCKS_EXCLUDED(mu_);

  // While true, new connections are reset at once.
  void Refuse(bool refuse) ABSL_LOCKS_EXCLUDED(mu_);

  // While held, bytes of that direction do not arrive; nothing is closed, and
  // nobody is told. They arrive, in order, when it is released.
  void Hold(Direction direction, bool hold) ABSL_LOCKS_EXCLUDED(mu_);

  // Connections that are open now.
  int connections() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Connection {
    Fd agent, gateway;
    std::string to_gateway, to_agent;  // Read, not yet written.
    bool over = false;  // One side has ended: the rest is written, then closed.
  };

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Wake() const;

  // Constant after construction.
  Fd listener_, wake_;
  uint16_t port_ = 0;

  mutable Mutex mu_;
  uint16_t target_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool refusing_ ABSL_GUARDED_BY(mu_) = false;
  bool hold_to_gateway_ ABSL_GUARDED_BY(mu_) = false;
  bool hold_to_agent_ ABSL_GUARDED_BY(mu_) = false;
  std::list<Connection> connections_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;  // Last: starts when everything above exists.
};

}  // namespace muster::integration

#endif  // MUSTER_TESTS_INTEGRATION_RELAY_H_
