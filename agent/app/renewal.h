// Keeps the agent's certificate good.
//
//   due, on the link     asks there; the key stays
//   the fleet port does  asks on the web port, which takes a certificate that
//   not take it          has ended, and says why if it takes none

#ifndef MUSTER_AGENT_APP_RENEWAL_H_
#define MUSTER_AGENT_APP_RENEWAL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/app/agent_state.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/thread_event_loop.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::agent {

// Renewal lives on `loop`; a call to the web port blocks a thread of its own,
// for which its end waits. At most one such call in kWebPause.
class Renewal {
 public:
  struct Ports {
    // Sends it on the link; false if there is none.
    std::function<bool(v1::CertificateRequest)> ask;
    // It is saved: dial with it from now on, and at once if not linked.
    std::function<void(const Identity&)> renewed;
    // What the web port says of this identity.
    std::function<void(const v1::Disconnect&)> refused;
  };

  // How long after a call to the web port the next one may be made.
  static constexpr absl::Duration kWebPause = absl::Minutes(5);
  // When it was not reached.
  static constexpr absl::Duration kUnreachedPause = absl::Seconds(10);
  // While the machine waits for approval.
  static constexpr absl::Duration kPendingPause = absl::Seconds(30);
  // Certificates of the gateway begin five minutes before they are made: a
  // clock that is further away believes none that is fresh.
  static constexpr absl::Duration kSkewMax = absl::Minutes(5);

  // `spread` in [0, 1) places the request within a twentieth after its time, so
  // that machines that joined together do not ask together.
  Renewal(EventLoop& loop, AgentState state, Identity identity, Secret key,
          double spread, Ports ports);
  ~Renewal();

  // The link is up; a new certificate is due after this time, if the gateway
  // says so.
  void OnOnline(std::optional<absl::Duration> due_in);
  void OnIssued(const v1::CertificateIssued& issued);
  // The gateway's port was reached, and took no link.
  void OnTurnedAway();

  const Identity& identity() const { return identity_; }
  // This machine's clock minus the gateway's, if that is what keeps them
  // apart: known from the web port, until the next link.
  std::optional<absl::Duration> clock_wrong() const { return clock_wrong_; }

 private:
  void AskIn(absl::Duration delay);
  void AskOnLink();
  bool Adopt(const v1::CertificateIssued& issued);
  void OnWebAnswer(const absl::StatusOr<v1::RenewResponse>& answer);

  // Constant after construction.
  EventLoop& loop_;
  const AgentState state_;
  const Secret key_;
  const double spread_;
  const Ports ports_;

  Identity identity_;
  EventLoop::TimerId timer_{};
  Instant next_web_;
  bool calling_ = false;
  std::optional<absl::Duration> clock_wrong_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  ThreadEventLoop thread_;  // Last.
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_RENEWAL_H_
