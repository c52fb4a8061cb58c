// Sends what is typed or piped here, in order, over lost connections.

#ifndef MUSTER_TOOLS_MUSTERCTL_INPUT_SENDER_H_
#define MUSTER_TOOLS_MUSTERCTL_INPUT_SENDER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "libprotocol/base/mutex.h"
#include "tools/musterctl/live_input.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// InputSender reads `input` on one thread and puts it on another: however long
// the gateway is silent, what is typed is looked at, up to kQueuedMax.
//
// Each byte arrives at most once, as its offset says which it is; and at least
// once, while this program lives: what the gateway has accepted is kept here
// until the machine has taken it, as a gateway that restarts forgets it.
class InputSender {
 public:
  // A part, and where it begins.
  struct Part {
    uint64_t offset = 0;
    std::string bytes;
    bool end = false;      // Nothing follows.
    LiveInput::Size size;  // Zero: unchanged.

    bool empty() const { return bytes.empty() && !end && !size.known(); }
  };
  struct Progress {
    uint64_t accepted = 0;
    uint64_t taken = 0;
    bool closed = false;  // Nobody reads any more.
  };
  // Called on a thread of its own; may block. Unavailable and the like: it is
  // asked again. Others end the sending.
  using Put = std::function<absl::StatusOr<Progress>(GatewayApi&, const Part&)>;
  // Looks at what was typed before it goes out, and may change it. False: there
  // is no more to send. Called on the thread that reads.
  using Filter = std::function<bool(std::string& bytes)>;

  // `input` must outlive it. `line`: for `put`. `offset`: of the first byte.
  InputSender(LiveInput& input, Line line, uint64_t offset, Put put,
              Filter filter = nullptr);
  // If the filter has ended it, what came before still goes out, for at most
  // kFarewell; else a call under way is given up.
  ~InputSender();

  static constexpr absl::Duration kFarewell = absl::Seconds(2);
  // Bytes that were read and not sent.
  static constexpr size_t kQueuedMax = 1 << 20;

 private:
  void Read();
  void SendAll();
  // What was read and not sent, once there is any, at most one part of it; or,
  // while the machine has not taken everything, nothing after a while. nullopt:
  // there is no more.
  std::optional<Part> Take() ABSL_LOCKS_EXCLUDED(mu_);
  // False: the sending is over.
  bool Send(Part part);
  // After the last part: until the machine has taken everything.
  void Settle();
  // What the gateway has accepted of it; makes it what is still to be sent.
  void Account(const Progress& progress, Part& part);

  LiveInput& input_;
  const Line line_;
  const Put put_;
  const Filter filter_;
  absl::Notification stopped_, sent_all_;

  Mutex mu_;
  CondVar changed_;
  Part next_ ABSL_GUARDED_BY(mu_);
  bool left_ ABSL_GUARDED_BY(mu_) = false;      // By the filter.
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;  // As stopped_.

  // Touched only on sender_.
  uint64_t offset_;   // Of the next byte.
  std::string tail_;  // Accepted and not taken: what is before offset_.

  std::thread reader_, sender_;  // Last.
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_INPUT_SENDER_H_
