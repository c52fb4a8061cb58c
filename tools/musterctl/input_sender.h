// Sends what is typed or piped here, in order, over lost connections.

#ifndef MUSTER_TOOLS_MUSTERCTL_INPUT_SENDER_H_
#define MUSTER_TOOLS_MUSTERCTL_INPUT_SENDER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "tools/musterctl/live_input.h"

namespace muster::ctl {

// InputSender reads `input` on a thread of its own and puts it.
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
  };
  struct Progress {
    uint64_t accepted = 0;
    uint64_t taken = 0;
    bool closed = false;  // Nobody reads any more.
  };
  // Called on the thread; may block. Unavailable and the like: it is asked
  // again. Others end the sending.
  using Put = std::function<absl::StatusOr<Progress>(const Part&)>;
  // Looks at what was typed before it goes out, and may change it. False: there
  // is no more to send. Called on the thread.
  using Filter = std::function<bool(std::string& bytes)>;

  // `input` must outlive it. `offset`: of the first byte.
  InputSender(LiveInput& input, uint64_t offset, Put put,
              Filter filter = nullptr);
  // Ends the thread, which may have to wait for a call under way.
  ~InputSender();

 private:
  void Run();
  // False: the sending is over.
  bool Send(Part part);
  // After the last part: until the machine has taken everything.
  void Settle();
  // What the gateway has accepted of it; makes it what is still to be sent.
  void Account(const Progress& progress, Part& part);

  LiveInput& input_;
  const Put put_;
  const Filter filter_;
  absl::Notification stopped_;

  // Touched only on thread_.
  uint64_t offset_;   // Of the next byte.
  std::string tail_;  // Accepted and not taken: what is before offset_.

  std::thread thread_;  // Last.
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_INPUT_SENDER_H_
