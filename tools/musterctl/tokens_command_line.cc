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
  AddTexts(create, "--from", options->from,
           "only from this address or network; repeatable", "CIDR");
  AddText(create, "--hostname", options->hostname,
          "only for hostnames of this pattern: * and ?");
  AddSwitch(create, "--approval", options->approval,
            "they wait for `musterctl agents approve` before they connect");
  AddSwitch(create, "--ephemeral", options->ephemeral,
            "they leave the list by themselves once offline for --expire");
  AddDuration(create, "--expire", options->expire,
              "of ephemeral machines, 1h to 90d [24h]");
  Bind(create, parse, options, TokensCreate);

  auto header = std::make_shared<bool>(true);
  CLI::App* ls = AddVerb(tokens, "ls", "every token, without its secret",
                         "musterctl tokens ls");
  AddAlias(ls, "list");
  AddNoHeaders(ls, *header);
  Bind(ls, parse, header, TokensLs);

  auto refused = std::make_shared<TokensRefusalsOptions>();
  CLI::App* refusals =
      AddVerb(tokens, "refusals", "who tried to join and was not let in",
              "musterctl tokens refusals --limit 20");
  AddCount(refusals, "--limit", refused->limit, 1'000, "the newest [100]");
  AddNoHeaders(refusals, refused->header);
  Bind(refusals, parse, refused, TokensRefusals);

  auto id = std::make_shared<std::string>();
  CLI::App* revoke = AddVerb(tokens, "revoke", "nobody joins with it any more",
                             "musterctl tokens revoke ID");
  AddRequired(revoke, "ID", *id);
  Bind(revoke, parse, id, TokensRevoke);
}

}  // namespace muster::ctl
