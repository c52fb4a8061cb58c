// musterctl events, as it is typed.

#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/events_verb.h"
#include "tools/musterctl/help_text.h"

namespace muster::ctl {

void AddEvents(CLI::App& app, Parse& parse) {
  CLI::App* events = AddLongVerb(
      &app, "events", "what changes, as it is decided", kEventsFooter);
  auto options = std::make_shared<EventsOptions>();
  AddSwitch(events, "-f,--follow", options->follow, "go on until Ctrl-C");
  AddParsed(
      events, "--since",
      [options](const std::string& version) { options->since = version; },
      "what came after this one", "VERSION");
  AddCount(events, "--count", options->count, 1'000'000'000,
           "end after so many");
  AddNoHeaders(events, options->header);
  Bind(events, parse, options, Events);
}

}  // namespace muster::ctl
