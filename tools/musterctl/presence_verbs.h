// musterctl presence …: when the silence of a machine becomes news.

#ifndef MUSTER_TOOLS_MUSTERCTL_PRESENCE_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_PRESENCE_VERBS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "muster/v1/presence.pb.h"
#include "muster/v1/presence_settings.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// Of one machine, or with an empty `agent` of all that have nothing of their
// own.
absl::StatusOr<int> PresenceGet(Tool& tool, const std::string& agent);

struct PresenceSetOptions {
  // For whom; exactly one of the three: one machine, the org, all that fit.
  std::string agent;
  bool org = false;
  std::vector<std::string> labels;
  std::vector<v1::Status> status;
  std::string hostname;  // Glob.

  v1::PresenceSettings set;
  std::vector<v1::PresenceSetting> reset;
};
// kExitNotFound if no machine fits.
absl::StatusOr<int> PresenceSet(Tool& tool, const PresenceSetOptions& options);

// "75s (gateway)"; empty if the gateway has not said.
std::string PresenceText(const v1::PresenceValue& value);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_PRESENCE_VERBS_H_
