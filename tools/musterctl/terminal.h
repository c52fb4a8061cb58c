// The console of this process: file descriptors 0, 1 and 2, and SIGINT.

#ifndef MUSTER_TOOLS_MUSTERCTL_TERMINAL_H_
#define MUSTER_TOOLS_MUSTERCTL_TERMINAL_H_

#include <string>
#include <string_view>

#include "tools/musterctl/console.h"

namespace muster::ctl {

class Terminal final : public Console {
 public:
  void Out(std::string_view bytes) override;
  void Err(std::string_view bytes) override;
  void SurviveClosedOut() override;
  std::string OutFailure() override;
  bool OutIsTerminal() const override;
  bool InIsTerminal() const override;
  size_t Columns() const override;
  absl::StatusOr<std::string> ReadInput(size_t bytes_max) override;
  absl::StatusOr<std::string> Ask(std::string_view prompt) override;
  absl::StatusOr<Secret> AskSecret(std::string_view prompt) override;

 private:
  bool survive_ = false;
  int out_error_ = 0;  // errno of the write that failed.
};

// Only one may exist: it owns the process's handler of SIGINT.
class SignalPatience final : public Patience {
 public:
  void Pause(absl::Duration d) override;
  void CatchInterrupts(std::string_view first,
                       std::string_view second) override;
  bool Interrupted() const override;
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_TERMINAL_H_
