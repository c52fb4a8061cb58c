// musterctl audit …: what was done, by whom.

#ifndef MUSTER_TOOLS_MUSTERCTL_AUDIT_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_AUDIT_VERBS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/audit_record.h"
#include "tools/musterctl/program.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct AuditLsOptions {
  std::optional<absl::Duration> since;  // Counted back on the gateway's clock.
  std::string principal;
  std::string method;
  std::string target;
  std::optional<uint32_t> limit;
  bool header = true;
};
// Newest first.
absl::StatusOr<int> AuditLs(Tool& tool, const AuditLsOptions& options);

// "SEQ:HASH". InvalidArgument for anything else.
absl::StatusOr<AuditHead> ParseAuditHead(std::string_view text);

// Asks the gateway to recompute its chain, and recomputes what it tells.
// DataLoss, saying where, if the chain is not intact or `head` is not of it.
absl::StatusOr<int> AuditVerify(Tool& tool,
                                const std::optional<AuditHead>& head);

struct AuditVerifyFileOptions {
  std::string file;
  std::optional<AuditHead> head;
};
// The same of an exported file, without the gateway.
absl::StatusOr<int> AuditVerifyFile(World& world,
                                    const AuditVerifyFileOptions& options);

// Every record, oldest first, as a line of JSON each.
absl::StatusOr<int> AuditExport(Tool& tool);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_AUDIT_VERBS_H_
