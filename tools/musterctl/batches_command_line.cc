// musterctl batches, as it is typed.

#include "tools/musterctl/batches_verbs.h"
#include "tools/musterctl/command_line_parts.h"

namespace muster::ctl {

void AddBatches(CLI::App& app, Parse& parse) {
  CLI::App* batches = AddNoun(app, "batches", "batch",
                              "what was run on many machines: musterctl run -l");
  CLI::App* ls = AddVerb(batches, "ls", "newest first", "musterctl batches ls");
  AddAlias(ls, "list");
  auto listed = std::make_shared<BatchesLsOptions>();
  AddNoHeaders(ls, listed->header);
  Bind(ls, parse, listed, BatchesLs);

  auto id = std::make_shared<std::string>();
  CLI::App* get =
      AddVerb(batches, "get", "one, and how each of its machines came out",
              "musterctl batches get ID");
  AddRequired(get, "ID", *id);
  Bind(get, parse, id, BatchesGet);
  CLI::App* cancel = AddVerb(
      batches, "cancel", "start nothing more, and ask to stop what runs",
      "musterctl batches cancel ID");
  AddRequired(cancel, "ID", *id);
  Bind(cancel, parse, id, BatchesCancel);

  CLI::App* retry =
      AddVerb(batches, "retry",
              "again where it failed or did not run: a batch of its own",
              "musterctl batches retry ID");
  auto again = std::make_shared<BatchesRetryOptions>();
  AddRequired(retry, "ID", again->batch_id);
  AddSwitch(retry, "--unknown", again->unknown,
            "also where nobody knows whether it ran");
  AddSwitch(retry, "--waiting", again->waiting,
            "also where its turn never came");
  AddSwitch(retry, "-y,--yes", again->yes, "do not ask");
  AddSwitch(retry, "--detach", again->detach, "print the id and do not wait");
  Bind(retry, parse, again, BatchesRetry);
}

}  // namespace muster::ctl
