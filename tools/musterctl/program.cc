#include "tools/musterctl/program.h"

#include <memory>
#include <utility>

#include "libprotocol/base/status_macros.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/gateway_api.h"

namespace muster::ctl {
namespace {

bool UseColor(const Settings& settings, const World& world) {
  switch (settings.color) {
    case ColorMode::kAlways:
      return true;
    case ColorMode::kNever:
      return false;
    case ColorMode::kAuto:
      return world.console.OutIsTerminal() &&
             world.environment("TERM") != "dumb";
  }
  return false;
}

absl::StatusOr<int> RunApiVerb(const ApiVerb& verb, const GlobalFlags& flags,
                               World& world) {
  ASSIGN_OR_RETURN(const Settings settings,
                   ResolveSettings(flags, world.environment));
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   world.connect(settings.endpoint));
  GatewayApi api(*transport, settings.token, settings.timeout, settings.org);
  Tool tool{.api = api,
            .console = world.console,
            .patience = world.patience,
            .clock = world.clock,
            .format = settings.output,
            .color = UseColor(settings, world),
            .another_line = [&]() -> absl::StatusOr<Line> {
              ASSIGN_OR_RETURN(auto own, world.connect(settings.endpoint));
              auto own_api = std::make_unique<GatewayApi>(
                  *own, settings.token, settings.timeout, settings.org);
              return Line{std::move(own), std::move(own_api)};
            },
            .open_input = world.open_input};
  absl::StatusOr<int> code = verb(tool);
  if (!code.ok() && TokenRefused(code.status()) && settings.token.empty()) {
    return WithHint(code.status(), TokenHint());
  }
  return code;
}

// As far as it is known before, or in spite of, a failure.
bool ErrorsAsJson(const GlobalFlags& flags, const World& world) {
  if (flags.output) return *flags.output == OutputFormat::kJson;
  return world.environment("MUSTER_OUTPUT") == "json";
}

}  // namespace

int RunProgram(const Invocation& invocation, World& world) {
  const GlobalFlags& flags = invocation.flags;
  absl::StatusOr<int> code = kExitOk;
  if (const auto* verb = std::get_if<ApiVerb>(&invocation.verb)) {
    code = RunApiVerb(*verb, flags, world);
  } else {
    code = std::get<LocalVerb>(invocation.verb)(world, flags);
  }
  if (code.ok()) return *code;
  world.console.Err(ErrorText(code.status(), ErrorsAsJson(flags, world)));
  return ExitCodeOf(code.status());
}

}  // namespace muster::ctl
