// The gateways that this person knows, and their tokens.
//
//   current = "prod"
//
//   [context.prod]
//   server = "https://gw.example:7080"
//   token = "mst_…"
//   pin = "sha256//…"            # or ca_file = "/etc/muster/web-ca.pem"

#ifndef MUSTER_TOOLS_MUSTERCTL_CONTEXT_FILE_H_
#define MUSTER_TOOLS_MUSTERCTL_CONTEXT_FILE_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/secret.h"

namespace muster::ctl {

struct Context {
  std::string server;
  Secret token;
  std::string ca_file;
  std::string pin;
};

struct Contexts {
  std::string current;  // Empty: none.
  std::map<std::string, Context> by_name;
};

// What the file holds; nothing if it does not exist. FailedPrecondition if
// others than its owner may read it or it belongs to somebody else;
// InvalidArgument naming file and line if it cannot be understood.
absl::StatusOr<Contexts> LoadContexts(const std::string& path);

// Replaces the file durably, mode 0600, in a folder of mode 0700 that is made
// if it is missing.
absl::Status SaveContexts(const std::string& path, const Contexts& contexts);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_CONTEXT_FILE_H_
