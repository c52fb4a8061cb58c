// musterctl presence …, as it is typed.

#include <algorithm>

#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/help_text.h"
#include "tools/musterctl/presence_verbs.h"

namespace muster::ctl {
namespace {

// A flag for each field of the contract: "--stale-after 90s|inherit".
void AddSetting(CLI::App* set, const google::protobuf::FieldDescriptor& field,
                PresenceSetOptions& options, const std::string& help) {
  std::string flag = "--" + field.name();
  std::ranges::replace(flag, '_', '-');
  const auto take = [&field, &options, flag](const std::string& word) {
    if (word == "inherit") {
      options.reset.push_back(static_cast<v1::PresenceSetting>(field.number()));
      return;
    }
    const auto value = wire::ParseDurationOrNever(word);
    if (!value.ok()) Refuse(flag, ToStd(value.status().message()));
    *static_cast<google::protobuf::Duration*>(
        options.set.GetReflection()->MutableMessage(&options.set, &field)) =
        wire::ToProto(*value);
  };
  AddParsed(set, flag, take, help, "DURATION|inherit");
}

}  // namespace

void AddPresence(CLI::App& app, Parse& parse) {
  CLI::App* presence = AddNoun(
      app, "presence", "",
      "when the silence of a machine becomes news; AGENT is a hostname, "
      "a full id, or name~suffix");
  auto agent = std::make_shared<std::string>();
  CLI::App* get =
      AddVerb(presence, "get", "what holds, and who has set it",
              "musterctl presence get\n  musterctl presence get web-1");
  AddText(get, "AGENT", *agent, "of this machine [of all that have no own]");
  Bind(get, parse, agent, PresenceGet);

  CLI::App* set = AddLongVerb(presence, "set", "set it, or inherit it again",
                              kPresenceSetFooter);
  auto options = std::make_shared<PresenceSetOptions>();
  AddText(set, "AGENT", options->agent, "for this machine");
  AddSwitch(set, "--org", options->org,
            "for every machine that has nothing of its own");
  AddTexts(set, "-l,--label", options->labels,
           "for machines with this label: k=v, k!=v or k; repeatable", "TERM");
  AddEnums(set, "--status", v1::Status_descriptor(), options->status,
           "for machines with this status; repeatable");
  AddText(set, "--hostname", options->hostname,
          "for machines with names like this (GLOB)");
  const auto& fields = *v1::PresenceSettings::descriptor();
  AddSetting(set, *fields.FindFieldByName("heartbeat_interval"), *options,
             "how often it speaks, 100ms to 1h");
  AddSetting(set, *fields.FindFieldByName("stale_after"), *options,
             "more than 2.2 heartbeat intervals, up to 7d");
  AddSetting(set, *fields.FindFieldByName("offline_after"), *options,
             "more than stale-after, up to 7d, or never");
  AddSetting(set, *fields.FindFieldByName("reconnect_grace"), *options,
             "how long a lost link goes unnoticed");
  Bind(set, parse, options, PresenceSet);
}

}  // namespace muster::ctl
