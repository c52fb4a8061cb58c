// musterctl: drives a Muster fleet from a shell, over REST only.

#include <stdlib.h>

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "libprotocol/base/files.h"
#include "libprotocol/base/system_clock.h"
#include "tools/musterctl/command_line.h"
#include "tools/musterctl/live_input.h"
#include "tools/musterctl/program.h"
#include "tools/musterctl/terminal.h"

namespace {

std::optional<std::string> ReadEnvironment(std::string_view name) {
  const char* value = getenv(std::string(name).c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  muster::OpenStandardDescriptors();
  muster::ctl::Terminal terminal;
  const auto parsed = muster::ctl::ParseCommandLine({argv + 1, argv + argc});
  if (const auto* message = std::get_if<muster::ctl::Message>(&parsed)) {
    (message->code == 0 ? terminal.Out(message->text)
                        : terminal.Err(message->text));
    return message->code;
  }
  muster::ctl::SignalPatience patience;
  const muster::SystemClock clock;
  muster::ctl::World world{.console = terminal,
                           .patience = patience,
                           .clock = clock,
                           .environment = ReadEnvironment,
                           .connect = muster::ctl::ConnectTo,
                           .open_input = muster::ctl::OpenStandardInput};
  return muster::ctl::RunProgram(std::get<muster::ctl::Invocation>(parsed),
                                 world);
}
