// What the environment tells this program alone.

#ifndef MUSTER_AGENT_APP_ENVIRONMENT_H_
#define MUSTER_AGENT_APP_ENVIRONMENT_H_

#include <string>

#include "libprotocol/base/secret.h"

namespace muster::agent {

// The value of `name`, or an empty one. It is taken out of the environment, and
// out of the memory where it stood: no child gets it, and /proc/PID/environ
// does not show it any more. Call it before there is a second thread.
Secret TakeSecret(const std::string& name);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_ENVIRONMENT_H_
