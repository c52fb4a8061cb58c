// musterctl tokens …: what lets a machine join.

#ifndef MUSTER_TOOLS_MUSTERCTL_TOKENS_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_TOKENS_VERBS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/gateway_api.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct TokensCreateOptions {
  std::string description;
  std::optional<absl::Duration> ttl;
  std::optional<uint32_t> uses;
  std::vector<std::string> labels;  // "k=v"
  std::vector<std::string> from;    // Addresses and networks.
  std::string hostname;             // Glob.
  bool approval = false;
  bool ephemeral = false;
  std::optional<absl::Duration> expire;
};
// Prints exactly the lines to paste on the machine; remarks go to stderr.
absl::StatusOr<int> ShowJoinLines(
    Tool& tool, const Answer<v1::CreateTokenResponse>& answer);
absl::StatusOr<int> TokensCreate(Tool& tool,
                                 const TokensCreateOptions& options);

absl::StatusOr<int> TokensLs(Tool& tool, bool header);

struct TokensRefusalsOptions {
  std::optional<uint32_t> limit;
  bool header = true;
};
// Who tried to join with a token and was not let in, newest first.
absl::StatusOr<int> TokensRefusals(Tool& tool,
                                   const TokensRefusalsOptions& options);

absl::StatusOr<int> TokensRevoke(Tool& tool, const std::string& token_id);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_TOKENS_VERBS_H_
