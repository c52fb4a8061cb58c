// The whole contract as its files say it, whatever the gateway makes of it.

#ifndef MUSTER_TESTS_INTEGRATION_CONTRACT_H_
#define MUSTER_TESTS_INTEGRATION_CONTRACT_H_

#include <map>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "muster/v1/options.pb.h"

namespace muster::integration {

struct Operation {
  const google::protobuf::MethodDescriptor* method;
  std::string verb;     // Empty: it has no place in HTTP.
  std::string pattern;  // "/api/agents/{agent_id}"
  v1::Access access;

  const std::string& name() const { return method->name(); }
};

// Every method of every service in proto/muster/v1.
const std::vector<Operation>& Contract();

// A path of `pattern`, with these values in its braces.
std::string PathOf(const std::string& pattern,
                   const std::map<std::string, std::string>& values);

}  // namespace muster::integration

#endif  // MUSTER_TESTS_INTEGRATION_CONTRACT_H_
