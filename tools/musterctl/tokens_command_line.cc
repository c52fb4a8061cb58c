// musterctl tokens …, as it is typed.

#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/tokens_verbs.h"

namespace muster::ctl {

void AddTokens(CLI::App& app, Parse& parse) {
  CLI::App* tokens =
      AddNoun(app, "tokens", "token", "what lets a machine join");
  CLI::App* create = AddVerb(
      tokens, "create", "make a token; prints the lines for the machine",
      "musterctl tokens create --ttl 1h --uses 20 --label env=prod");
  auto options = std::make_shared<TokensCreateOptions>();
  AddText(create, "--description", options->description, "what it is for");
  AddDuration(create, "--ttl", options->ttl, "good for so long [30m]");
  AddCount(create, "--uses", options->uses, 10'000,
           "good for so many machines [1]");
  AddTexts(create, "-l,--label", options->labels,
           "given to every machine that joins; repeatable", "K=V");
  Bind(create, parse, options, TokensCreate);

  auto header = std::make_shared<bool>(true);
  CLI::App* ls = AddVerb(tokens, "ls", "every token, without its secret",
                         "musterctl tokens ls");
  AddAlias(ls, "list");
  AddNoHeaders(ls, *header);
  Bind(ls, parse, header, TokensLs);

  auto id = std::make_shared<std::string>();
  CLI::App* revoke = AddVerb(tokens, "revoke", "nobody joins with it any more",
                             "musterctl tokens revoke ID");
  AddRequired(revoke, "ID", *id);
  Bind(revoke, parse, id, TokensRevoke);
}

}  // namespace muster::ctl
