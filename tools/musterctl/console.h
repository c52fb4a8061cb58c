// Where results, remarks and answers go, as the seam that tests replace.

#ifndef MUSTER_TOOLS_MUSTERCTL_CONSOLE_H_
#define MUSTER_TOOLS_MUSTERCTL_CONSOLE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/secret.h"

namespace muster::ctl {

// Console is the terminal or the pipes of one run of the program. Results go to
// Out(), everything else to Err(). Not thread-safe; may block.
class Console {
 public:
  virtual ~Console() = default;

  // Writes every byte, unbuffered and as it is. A closed pipe ends the program
  // as the shell expects it (SIGPIPE).
  virtual void Out(std::string_view bytes) = 0;
  virtual void Err(std::string_view bytes) = 0;

  // From now on the program lives on when nobody reads what it writes: Out()
  // drops it.
  virtual void SurviveClosedOut() = 0;
  // Why Out() reaches nobody any more, since SurviveClosedOut(); empty: it
  // does.
  virtual std::string OutFailure() = 0;

  virtual bool OutIsTerminal() const = 0;
  virtual bool InIsTerminal() const = 0;
  // Columns of the terminal that Out() writes to; 0 if it is none.
  virtual size_t Columns() const = 0;

  // Standard input to its end. InvalidArgument beyond `bytes_max`.
  virtual absl::StatusOr<std::string> ReadInput(size_t bytes_max) = 0;

  // One line from the terminal, without its end; `prompt` goes to Err().
  // FailedPrecondition without a terminal.
  virtual absl::StatusOr<std::string> Ask(std::string_view prompt) = 0;

  // The same without showing what is typed.
  virtual absl::StatusOr<Secret> AskSecret(std::string_view prompt) = 0;
};

// Patience waits, and knows whether the person has lost theirs.
class Patience {
 public:
  virtual ~Patience() = default;

  // Returns after `d`, or earlier when Ctrl-C is pressed.
  virtual void Pause(absl::Duration d) = 0;

  // From now on Ctrl-C no longer ends the program at once: the first one writes
  // `first` to stderr and is counted, the second writes `second` and exits with
  // 130. Called again, the texts are replaced.
  virtual void CatchInterrupts(std::string_view first,
                               std::string_view second) = 0;

  // Whether Ctrl-C was pressed since CatchInterrupts().
  virtual bool Interrupted() const = 0;
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_CONSOLE_H_
