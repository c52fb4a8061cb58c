// What verbs are put together from, for command lines that stand in files of
// their own. Says nothing of CLI11, which takes seconds to compile: only
// command_line.cc includes it.

#ifndef MUSTER_TOOLS_MUSTERCTL_COMMAND_LINE_PARTS_H_
#define MUSTER_TOOLS_MUSTERCTL_COMMAND_LINE_PARTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "tools/musterctl/program.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace muster::ctl {

// Where the words after `--` and the verb that was chosen come together.
struct Parse {
  GlobalFlags flags;
  std::vector<std::string> words;
  std::variant<LocalVerb, ApiVerb> verb;
};

// Ends the parsing: with `text`, or "`flag`: `text`".
[[noreturn]] void Refuse(std::string text);
[[noreturn]] void Refuse(const std::string& flag, std::string_view text);

CLI::App* AddNoun(CLI::App& app, const std::string& name,
                  const std::string& alias, const std::string& help);
CLI::App* AddVerb(CLI::App* parent, const std::string& name,
                  const std::string& help, const std::string& example);
CLI::App* AddLongVerb(CLI::App* parent, const std::string& name,
                      const std::string& help, const std::string& footer);
void AddAlias(CLI::App* verb, const std::string& name);

// A `name` without dashes is a word of its place. What is given here outlives
// the parsing.
CLI::Option* AddText(CLI::App* app, const std::string& name, std::string& out,
                     const std::string& help = "");
void AddRequired(CLI::App* app, const std::string& name, std::string& out);
void AddTexts(CLI::App* app, const std::string& flag,
              std::vector<std::string>& out, const std::string& help,
              const std::string& type);
void AddSwitch(CLI::App* app, const std::string& flag, bool& out,
               const std::string& help);
void AddCount(CLI::App* app, const std::string& flag,
              std::optional<uint32_t>& out, uint32_t max,
              const std::string& help);
void AddNumber(CLI::App* app, const std::string& flag, double& out, double min,
               double max, const std::string& help);
// `take` may Refuse().
void AddParsed(CLI::App* app, const std::string& flag,
               const std::function<void(const std::string&)>& take,
               const std::string& help, const std::string& type);
void AddDuration(CLI::App* app, const std::string& flag,
                 std::optional<absl::Duration>& out, const std::string& help);
CLI::Option* AddWords(CLI::App* app, const std::string& flag,
                      const google::protobuf::EnumDescriptor* type,
                      std::function<void(int)> take, const std::string& help);
// Not more than once.
void Once(CLI::Option* option);
// Once all is parsed: whether it was typed.
bool IsGiven(const CLI::App* verb, const std::string& flag);
void AddNoHeaders(CLI::App* verb, bool& header);

void OnChosen(CLI::App* verb, Parse& parse, ApiVerb run);
// `then` is called once all of the verb's options are known, while there is
// still a Parse; it may Refuse().
void OnParsed(CLI::App* verb, std::function<void()> then);

// The verb's options live as long as the closure that runs it.
template <typename Options, typename Function>
void Bind(CLI::App* verb, Parse& parse, std::shared_ptr<Options> options,
          Function run) {
  OnChosen(verb, parse,
           [options, run](Tool& tool) { return run(tool, *options); });
}

template <typename Enum>
void AddEnum(CLI::App* app, const std::string& flag,
             const google::protobuf::EnumDescriptor* type, Enum& out,
             const std::string& help) {
  Once(AddWords(
      app, flag, type, [&out](int n) { out = static_cast<Enum>(n); }, help));
}

template <typename Enum>
CLI::Option* AddEnums(CLI::App* app, const std::string& flag,
                      const google::protobuf::EnumDescriptor* type,
                      std::vector<Enum>& out, const std::string& help) {
  return AddWords(
      app, flag, type, [&out](int n) { out.push_back(static_cast<Enum>(n)); },
      help);
}

// Nouns and verbs that stand elsewhere.
void AddAudit(CLI::App& app, Parse& parse);       // audit_command_line.cc
void AddBatches(CLI::App& app, Parse& parse);     // batches_command_line.cc
void AddEndings(CLI::App* agents, Parse& parse);  // endings_command_line.cc
void AddEvents(CLI::App& app, Parse& parse);      // events_command_line.cc
void AddLogin(CLI::App& app, Parse& parse);       // login_command_line.cc
void AddPresence(CLI::App& app, Parse& parse);    // presence_command_line.cc
void AddRun(CLI::App& app, Parse& parse);         // run_command_line.cc
void AddExec(CLI::App& app, Parse& parse);        // sessions_command_line.cc
void AddSessions(CLI::App& app, Parse& parse);    // sessions_command_line.cc
void AddTokens(CLI::App& app, Parse& parse);      // tokens_command_line.cc
void AddOrgs(CLI::App& app, Parse& parse);        // users_command_line.cc
void AddUsers(CLI::App& app, Parse& parse);       // users_command_line.cc

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_COMMAND_LINE_PARTS_H_
