// How a machine gets its identity.

#ifndef MUSTER_AGENT_APP_JOIN_H_
#define MUSTER_AGENT_APP_JOIN_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "agent/app/agent_state.h"
#include "libprotocol/base/secret.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::agent {

struct JoinOptions {
  std::string server;    // URL of the web port.
  std::string pin = {};  // "sha256//…" of its key; empty: see ca_pem.
  std::string ca_pem =
      {};  // Empty, with an empty pin: the system's authorities.
  std::map<std::string, std::string> labels = {};
  bool replace = false;  // Give up the identity that is there.
  Secret token = {};
  v1::AgentFacts facts = {};
};

struct JoinResult {
  Identity identity;
  bool already = false;   // Nothing was asked: this machine had joined before.
  bool pending = false;   // An operator must approve it before it may connect.
  std::string name = {};  // What an operator types for it then.
};

// Registers and saves. Idempotent: a machine that has joined the same server
// stays what it is; an attempt whose answer was lost may be repeated with the
// same token. Blocks.
//   FailedPrecondition  joined to another server
//   DataLoss            the saved identity is corrupt
//   Unauthenticated, …  what the gateway answered, in its words
//   Unavailable         it was not reached
absl::StatusOr<JoinResult> Join(const AgentState& state,
                                const JoinOptions& options);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_JOIN_H_
