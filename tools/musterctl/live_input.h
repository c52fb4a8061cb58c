// What is typed or piped here, as it comes.

#ifndef MUSTER_TOOLS_MUSTERCTL_LIVE_INPUT_H_
#define MUSTER_TOOLS_MUSTERCTL_LIVE_INPUT_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace muster::ctl {

// LiveInput reads standard input while it lives. Wait() is called by one
// thread; Wake() by any.
class LiveInput {
 public:
  struct Event {
    std::string bytes;
    bool resized = false;  // The terminal has another size.
    bool ended = false;    // Nothing will follow.
  };
  virtual ~LiveInput() = default;

  // The next thing that happens, at most `bytes_max` bytes of it; blocks. An
  // empty event after Wake().
  virtual Event Wait(size_t bytes_max) = 0;
  // From now on Wait() does not block.
  virtual void Wake() = 0;

  struct Size {
    unsigned rows = 0;
    unsigned columns = 0;
    bool known() const { return rows > 0 && columns > 0; }
  };
  // Of the terminal, as far as the gateway takes it.
  virtual Size WindowSize() const = 0;
};

// Standard input of this process. `raw`: from the first Wait() on every key as
// it is pressed, unseen and without a meaning here, Ctrl-C included; the
// terminal is as it was once the object is gone. FailedPrecondition if it is
// none.
absl::StatusOr<std::unique_ptr<LiveInput>> OpenStandardInput(bool raw);

// As OpenStandardInput(), as the seam that tests replace.
using InputOpener =
    std::function<absl::StatusOr<std::unique_ptr<LiveInput>>(bool raw)>;

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_LIVE_INPUT_H_
