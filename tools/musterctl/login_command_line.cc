// musterctl login | logout | password, as it is typed.

#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/help_text.h"
#include "tools/musterctl/login_verbs.h"
#include "tools/musterctl/users_verbs.h"

namespace muster::ctl {

void AddLogin(CLI::App& app, Parse& parse) {
  CLI::App* login = AddVerb(&app, "login", kLoginHelp, kLoginExample);
  auto file = std::make_shared<std::string>();
  AddParsed(
      login, "--token-file", [file](const std::string& text) { *file = text; },
      "file with the token; - is stdin", "FILE");
  auto user = std::make_shared<std::string>();
  AddParsed(
      login, "--user", [user](const std::string& text) { *user = text; },
      "sign in with a password, as this user", "NAME");
  OnParsed(login, [&parse, file, user] {
    if (!user->empty() && !file->empty()) {
      Refuse("--user", "excludes --token-file");
    }
    parse.verb =
        LocalVerb([file, user](World& world, const GlobalFlags& flags) {
          return user->empty() ? Login(world, flags, *file)
                               : LoginAs(world, flags, *user);
        });
  });
  CLI::App* logout =
      AddVerb(&app, "logout", "the token in use speaks for nobody any more",
              "musterctl logout");
  OnParsed(logout, [&parse] { parse.verb = LocalVerb(Logout); });
  CLI::App* password =
      AddVerb(&app, "password", "change your own", "musterctl password");
  OnChosen(password, parse, ChangePassword);
}

}  // namespace muster::ctl
