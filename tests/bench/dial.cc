#include "tests/bench/dial.h"

#include "agent/link/gateway_link.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/system_clock.h"

namespace muster::bench {

absl::StatusOr<swarm::IdentityStore> IdentitiesIn(const std::string& state) {
  const auto server = ReadFile(state + "/server", 1 << 10);
  return swarm::IdentityStore::Open(state,
                                    server.ok() ? *server : std::string());
}

std::shared_ptr<grpc::Channel> Dial(const std::string& endpoint,
                                    const swarm::IdentityStore* identities,
                                    int number) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (identities == nullptr) {
    return grpc::CreateCustomChannel(
        endpoint, grpc::InsecureChannelCredentials(), arguments);
  }
  arguments.SetSslTargetNameOverride(agent::kGatewayName);
  const auto identity = identities->Load(number, SystemClock().Wall());
  if (!identity.ok()) return nullptr;
  return grpc::CreateCustomChannel(
      endpoint,
      agent::MakeAgentCredentials(identity->registration.ca_pem(),
                                  identity->registration.certificate_pem(),
                                  identity->key_pem),
      arguments);
}

}  // namespace muster::bench
