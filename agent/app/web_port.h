// One call to the gateway's web port, before or beside the link.

#ifndef MUSTER_AGENT_APP_WEB_PORT_H_
#define MUSTER_AGENT_APP_WEB_PORT_H_

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace muster::agent {

// Where it is, and whom to believe there: exactly this key ("sha256//…"); or
// these authorities; or, with neither, the system's.
struct WebPort {
  std::string url;
  std::string pin = {};
  std::string ca_pem = {};
};

// Posts `request` to `path` and reads the answer into `response`. `what`: in
// the words of an error, "the registration". Blocks, at most a minute.
//   Unauthenticated, FailedPrecondition  what the gateway answered, in its
//                                        words; RefusalCode() tells which
//   Unavailable, …                       it was not reached, or is busy
absl::Status Post(const WebPort& port, const std::string& path,
                  const std::string& what,
                  const google::protobuf::Message& request,
                  google::protobuf::Message& response);

// The `code` of the gateway's answer, "token_refused", and its words alone.
// Empty: not its answer.
std::string RefusalCode(const absl::Status& status);
std::string RefusalDetail(const absl::Status& status);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_WEB_PORT_H_
