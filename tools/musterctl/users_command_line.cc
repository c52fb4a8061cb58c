// musterctl users … and orgs …, as they are typed.

#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/users_verbs.h"

namespace muster::ctl {
namespace {

void AddUserTokens(CLI::App* users, Parse& parse) {
  CLI::App* tokens =
      AddNoun(*users, "token", "tokens", "what speaks for a user");
  auto create_options = std::make_shared<UserTokensCreateOptions>();
  CLI::App* create = AddVerb(
      tokens, "create", "make one; prints its secret, once",
      "musterctl users token create grafana --scope metrics:read --ttl 8760h");
  AddRequired(create, "NAME", create_options->name);
  AddText(create, "--description", create_options->description,
          "what it is for");
  AddDuration(create, "--ttl", create_options->ttl, "good for so long [2160h]");
  AddTexts(create, "--scope", create_options->scopes,
           "bound to this; repeatable [all that the user may]", "SCOPE");
  Bind(create, parse, create_options, UserTokensCreate);

  auto ls_options = std::make_shared<UserTokensLsOptions>();
  CLI::App* ls = AddVerb(tokens, "ls", "those of a user, without secrets",
                         "musterctl users token ls alice");
  AddAlias(ls, "list");
  AddRequired(ls, "NAME", ls_options->name);
  AddNoHeaders(ls, ls_options->header);
  Bind(ls, parse, ls_options, UserTokensLs);

  auto revoke_options = std::make_shared<UserTokensRevokeOptions>();
  CLI::App* revoke = AddVerb(tokens, "revoke", "it speaks for nobody any more",
                             "musterctl users token revoke alice ID");
  AddRequired(revoke, "NAME", revoke_options->name);
  AddRequired(revoke, "ID", revoke_options->token_id);
  Bind(revoke, parse, revoke_options, UserTokensRevoke);
}

void AddUpdate(CLI::App* users, Parse& parse, const std::string& name,
               const std::string& help, std::optional<bool> disabled) {
  auto options = std::make_shared<UsersUpdateOptions>();
  options->disabled = disabled;
  CLI::App* verb =
      AddVerb(users, name, help, "musterctl users " + name + " alice");
  AddRequired(verb, "NAME", options->name);
  Bind(verb, parse, options, UsersUpdate);
}

}  // namespace

void AddOrgs(CLI::App& app, Parse& parse) {
  CLI::App* orgs = AddNoun(app, "orgs", "org", "tenants of this gateway");
  auto name = std::make_shared<std::string>();
  CLI::App* create = AddVerb(orgs, "create", "one more, for a platform admin",
                             "musterctl orgs create acme");
  AddRequired(create, "NAME", *name);
  Bind(create, parse, name, OrgsCreate);

  auto header = std::make_shared<bool>(true);
  CLI::App* ls = AddVerb(orgs, "ls", "every org", "musterctl orgs ls");
  AddAlias(ls, "list");
  AddNoHeaders(ls, *header);
  Bind(ls, parse, header, OrgsLs);
}

void AddUsers(CLI::App& app, Parse& parse) {
  CLI::App* users = AddNoun(app, "users", "user", "who may use the gateway");
  auto create_options = std::make_shared<UsersCreateOptions>();
  CLI::App* create = AddVerb(users, "create", "a person, or a program",
                             "musterctl users create alice --role operator");
  AddRequired(create, "NAME", create_options->name);
  AddEnum(create, "--role", v1::Role_descriptor(), create_options->role,
          "what it may: viewer, operator or admin [viewer]");
  AddSwitch(create, "--service", create_options->service, "it is a program");
  Bind(create, parse, create_options, UsersCreate);

  auto header = std::make_shared<bool>(true);
  CLI::App* ls = AddVerb(users, "ls", "every user", "musterctl users ls");
  AddAlias(ls, "list");
  AddNoHeaders(ls, *header);
  Bind(ls, parse, header, UsersLs);

  auto role_options = std::make_shared<UsersUpdateOptions>();
  CLI::App* role = AddVerb(users, "role", "what a user may from now on",
                           "musterctl users role alice --role admin");
  AddRequired(role, "NAME", role_options->name);
  role_options->role = v1::ROLE_UNSPECIFIED;
  AddEnum(role, "--role", v1::Role_descriptor(), *role_options->role,
          "viewer, operator or admin");
  OnParsed(role, [&parse, role_options] {
    if (role_options->role == v1::ROLE_UNSPECIFIED) {
      Refuse("--role", "is required: viewer, operator or admin");
    }
    parse.verb = [role_options](Tool& tool) {
      return UsersUpdate(tool, *role_options);
    };
  });

  AddUpdate(users, parse, "disable",
            "it may do nothing, and what it waits for ends", true);
  AddUpdate(users, parse, "enable", "it may what its role may", false);
  auto password_options = std::make_shared<UsersPasswordOptions>();
  CLI::App* password = AddVerb(users, "password", "set it, for a person",
                               "musterctl users password alice");
  AddRequired(password, "NAME", password_options->name);
  AddSwitch(password, "--remove", password_options->remove, "have none");
  Bind(password, parse, password_options, UsersPassword);
  AddUserTokens(users, parse);
}

}  // namespace muster::ctl
