// What one agent says to its gateway, and when.
//
//            dial           welcome
//   waiting ─────▶ greeting ───────▶ up ──goodbye──▶ leaving ──▶ stopped
//      ▲              │               │                            ▲
//      └──── pause ───┴── link down ──┘        deregistered ───────┘
//
// Pure: no stream, no thread, no clock. Inputs come with `now`, answers are
// lists of actions for the caller to carry out in order.

#ifndef MUSTER_AGENT_LINK_LINK_MACHINE_H_
#define MUSTER_AGENT_LINK_LINK_MACHINE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::agent {

// How long the agent waits for things. The gateway tells the heartbeat
// interval, with every acknowledgement, and reconnect_max, with every welcome.
struct LinkPolicy {
  // Until a gateway has told one.
  absl::Duration heartbeat_interval = absl::Seconds(30);

  // A heartbeat that stays unacknowledged for this many intervals condemns the
  // link: the same factor after which the gateway calls a machine stale.
  double lease_intervals = 2.5;

  // From the dial until the welcome.
  absl::Duration welcome_timeout = absl::Seconds(30);

  // Upper bound of the first pause between two dials; it doubles from there, up
  // to the larger of heartbeat_interval and this.
  absl::Duration reconnect_base = absl::Milliseconds(500);
  absl::Duration reconnect_max = {};  // Until a gateway has told one.

  // Pause after a refusal that time alone does not mend.
  absl::Duration slow_retry = absl::Minutes(5);

  // How long a goodbye may take to be sent.
  absl::Duration goodbye_timeout = absl::Seconds(1);
};

// The actions.
struct DialNow {};
struct SendMessage {
  v1::AgentMessage message;
};
struct FinishWrites {};  // Nothing will be sent after what is queued.
struct CloseLink {};     // The current attempt ends now; LinkDown() follows.
struct WentOnline {
  uint64_t epoch;
  absl::Duration heartbeat_interval;
  absl::Duration reconnect_max;
  // When a new certificate is due. Absent: the gateway does not say.
  std::optional<absl::Duration> renew_certificate_in = {};
};
struct HeartbeatSent {
  uint64_t sequence;
};
struct HeartbeatAcknowledged {
  uint64_t sequence;
  absl::Duration round_trip;
};
// The link is gone or was never made; the next dial is `retry_in` away.
struct WentOffline {
  bool was_online;
  std::string failure_class;  // DESIGN §5: "connection_reset", "refused", …
  std::string detail;
  absl::Duration retry_in;
};
struct OrderArrived {
  v1::CommandOrder order;
};
struct CancelArrived {
  std::string command_id;
};
struct InputArrived {
  v1::CommandInput input;
};
struct UpdateAcknowledged {
  v1::CommandUpdateAck ack;
};
struct CertificateArrived {
  v1::CertificateIssued issued;
};
struct Deregistered {  // Nothing follows.
  std::string text;
};
struct Stopped {};  // The goodbye is over; nothing follows.

using LinkAction =
    std::variant<DialNow, SendMessage, FinishWrites, CloseLink, WentOnline,
                 HeartbeatSent, HeartbeatAcknowledged, WentOffline,
                 OrderArrived, CancelArrived, InputArrived, UpdateAcknowledged,
                 CertificateArrived, Deregistered, Stopped>;
using LinkActions = std::vector<LinkAction>;

// What only the rest of the agent knows when a hello is due.
struct CommandsForHello {
  uint64_t seen_high = 0;
  std::vector<std::string> open_command_ids;
};

// LinkMachine decides for one agent. Not thread-safe; owned by one loop.
//
// Every input returns the actions it causes. Inputs that make no sense in the
// present state (a message after the link went down, a late LinkDown) cause
// none. After each input the caller arms one timer for wake_at().
class LinkMachine {
 public:
  // `random` returns numbers in [0, 1), uniformly. `commands` is asked once for
  // every hello.
  LinkMachine(LinkPolicy policy, v1::AgentFacts facts, v1::Instance instance,
              std::function<double()> random,
              std::function<CommandsForHello()> commands);

  // Dials and greets: the hello is queued behind the dial.
  LinkActions Start(Instant now);

  LinkActions Message(const v1::GatewayMessage& message, Instant now,
                      absl::Time wall);

  // Why the gateway takes no link of this identity, learned elsewhere than on
  // one: as if it had been said on the attempt that failed.
  LinkActions Refused(const v1::Disconnect& disconnect, Instant now);

  // The gateway ended the attempt in order: it has read all that was said,
  // unless it sent a Disconnect first.
  LinkActions LinkFinished(Instant now);

  // The attempt ended. `failure_class` and `detail` say how it looked from
  // here.
  LinkActions LinkDown(std::string_view failure_class, std::string_view detail,
                       Instant now);

  // Call at or after wake_at(); earlier calls cause nothing.
  LinkActions Tick(Instant now, absl::Time wall);

  // A heartbeat at once if the link is up, a dial at once if it is between two.
  LinkActions HeartbeatNow(Instant now, absl::Time wall);

  // The machine got or lost a way out: a pause for backoff ends within a
  // second. Pauses that the gateway asked for stay.
  LinkActions RouteChanged(Instant now);

  // Says goodbye if there is a link, then Stopped, within goodbye_timeout.
  // `back_within` empty: no promise. A second goodbye stops at once.
  LinkActions Goodbye(v1::GoodbyeReason reason,
                      std::optional<absl::Duration> back_within, Instant now);

  // When Tick() has something to do; Never() when nothing will.
  Instant wake_at() const;

  bool online() const { return state_ == State::kUp; }
  bool stopped() const { return state_ == State::kStopped; }
  // The gateway has read the goodbye; and deleted the machine, durably, if it
  // is one for good.
  bool goodbye_heard() const { return goodbye_heard_; }
  uint64_t epoch() const { return epoch_; }
  absl::Duration heartbeat_interval() const { return interval_; }
  std::optional<absl::Duration> round_trip() const { return round_trip_; }
  std::optional<absl::Time> last_acknowledged() const {
    return last_acknowledged_at_;
  }
  std::optional<absl::Time> connected_since() const { return connected_since_; }

 private:
  enum class State { kIdle, kWaiting, kGreeting, kUp, kLeaving, kStopped };
  struct Unanswered {
    uint64_t sequence;
    Instant sent;
  };

  LinkActions Dial(Instant now);
  v1::AgentMessage Hello(Instant now) const;
  void SendHeartbeat(Instant now, absl::Time wall, LinkActions& out);
  LinkActions Welcomed(const v1::Welcome& welcome, Instant now,
                       absl::Time wall);
  LinkActions Acknowledged(const v1::HeartbeatAck& ack, Instant now,
                           absl::Time wall);
  LinkActions Disconnected(const v1::Disconnect& disconnect, Instant now);
  LinkActions Fail(std::string_view failure_class, std::string_view detail,
                   Instant now);
  void TellInterval(const google::protobuf::Duration& told);
  Instant NextHeartbeat(Instant sent);
  absl::Duration BackoffPause();

  // Constant after construction.
  const LinkPolicy policy_;
  const v1::AgentFacts facts_;
  const v1::Instance instance_;
  const std::function<double()> random_;
  const std::function<CommandsForHello()> commands_;

  State state_ = State::kIdle;
  Instant deadline_ = Instant::Never();  // Of greeting, leaving or the pause.
  bool pause_is_told_ = false;           // The gateway asked for this pause.
  bool goodbye_heard_ = false;
  bool leaves_for_good_ = false;
  bool deregistered_ = false;  // While leaving.
  bool cut_off_ = false;       // Likewise, for another reason.
  int failures_ = 0;           // Dials since the last acknowledgement.
  std::optional<absl::Duration>
      told_pause_;  // By a Disconnect, for the next pause.
  absl::Duration interval_;
  absl::Duration reconnect_max_;  // As the last welcome announced it.

  // Of the present link.
  uint64_t sequence_ = 0;
  uint64_t acknowledgement_ = 0;
  Instant heartbeat_at_ = Instant::Never();
  Instant last_sent_;
  std::deque<Unanswered> unanswered_;  // Oldest first, at most kUnansweredMax.

  // Of the last link, told in the next hello.
  uint64_t epoch_ = 0;
  std::optional<absl::Time> last_acknowledged_at_;
  std::optional<absl::Time> connected_since_;
  std::optional<Instant> acknowledged_sent_;  // By that acknowledgement.
  std::optional<Instant> welcomed_;
  std::optional<absl::Duration> round_trip_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LINK_LINK_MACHINE_H_
