// musterctl audit …, as it is typed.

#include "libprotocol/base/absl_compat.h"
#include "tools/musterctl/audit_verbs.h"
#include "tools/musterctl/command_line_parts.h"

namespace muster::ctl {
namespace {

constexpr uint32_t kRowsMax = 1'000'000;

constexpr char kVerifyFooter[] =
    R"(Without FILE the gateway recomputes its chain, and so does this program with
every record that it is given. A chain whose end was cut off is a chain all the
same: --head, an earlier head from the gateway's log (msg=audit_head) that was
kept elsewhere, shows it.

Exit code: 0 intact; 1 not, the record is named.

Examples:
  musterctl audit verify
  musterctl audit verify --head 1204:9f86d081…
  musterctl audit verify audit.jsonl)";

void AddAuditLs(CLI::App* audit, Parse& parse) {
  auto options = std::make_shared<AuditLsOptions>();
  CLI::App* ls = AddVerb(audit, "ls", "what was done, newest first",
                         "musterctl audit ls --principal alice --since 24h");
  AddAlias(ls, "list");
  AddDuration(ls, "--since", options->since, "only the last so long");
  AddText(ls, "--principal", options->principal, "only what this one did");
  AddText(ls, "--method", options->method, "only this: SubmitCommand");
  AddText(ls, "--target", options->target,
          "only what was done to this id or name");
  AddCount(ls, "--limit", options->limit, kRowsMax,
           "at most so many [50; with --since 10000]");
  AddNoHeaders(ls, options->header);
  Bind(ls, parse, options, AuditLs);
}

void AddAuditVerify(CLI::App* audit, Parse& parse) {
  auto options = std::make_shared<AuditVerifyFileOptions>();
  CLI::App* verify = AddLongVerb(
      audit, "verify", "whether the log is as it was written", kVerifyFooter);
  AddText(verify, "FILE", options->file, "an exported log");
  AddParsed(
      verify, "--head",
      [options](const std::string& text) {
        auto head = ParseAuditHead(text);
        if (!head.ok()) Refuse("--head", ToStd(head.status().message()));
        options->head = *std::move(head);
      },
      "an earlier head, which must be a part of it", "SEQ:HASH");
  OnParsed(verify, [&parse, options] {
    if (options->file.empty()) {
      parse.verb = ApiVerb(
          [options](Tool& tool) { return AuditVerify(tool, options->head); });
    } else {
      parse.verb = LocalVerb([options](World& world, const GlobalFlags&) {
        return AuditVerifyFile(world, *options);
      });
    }
  });
}

}  // namespace

void AddAudit(CLI::App& app, Parse& parse) {
  CLI::App* audit = AddNoun(app, "audit", "", "what was done, by whom");
  AddAuditLs(audit, parse);
  AddAuditVerify(audit, parse);
  CLI::App* all = AddVerb(audit, "export",
                          "every record, oldest first, a line of JSON each",
                          "musterctl audit export > audit.jsonl");
  OnChosen(all, parse, [](Tool& tool) { return AuditExport(tool); });
}

}  // namespace muster::ctl
