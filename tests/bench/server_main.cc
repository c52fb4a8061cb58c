// bench-server: a fleet port with less in it than the gateway's, to compare.
//
//   bench-server bare 127.0.0.1:7001 CA_FOLDER   gRPC alone, mutual TLS
//   bench-server bare 127.0.0.1:7001             … without TLS
//   bench-server rules 127.0.0.1:7001            the gateway's link and rules,
//                                                without TLS and disk
//
// Serves until it is ended.

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "gateway/fleet/fleet.h"
#include "gateway/rpc/agent_link.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "libprotocol/base/deadlock_search.h"
#include "libprotocol/base/thread_event_loop.h"
#include "tests/bench/link_echo.h"
#include "tests/bench/prompt_journal.h"

namespace muster::bench {
namespace {

// As gateway/rpc/fleet_server.cc, from the folder of the gateway's CA.
std::shared_ptr<grpc::ServerCredentials> MutualTls(const std::string& folder) {
  auto files =
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          folder + "/fleet.key", folder + "/fleet.pem", folder + "/ca.pem", 10);
  grpc::experimental::TlsServerCredentialsOptions options(files);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

// The gateway's own streams and rules. Without certificates an agent says in
// its metadata who it is; whoever comes is admitted.
// As many heartbeats as a link takes.
gateway::AgentLinkOptions LinkOptions() {
  gateway::AgentLinkOptions options;
  options.messages_per_second_max = 1e9;
  options.messages_burst = 1e9;
  return options;
}

class RulesService final : public v1::AgentLink::CallbackService {
 public:
  RulesService() {
    loop_.Post([this] {
      fleet_.Restore(1, {});
      fleet_.Open();
    });
  }

 private:
  grpc::ServerBidiReactor<v1::AgentMessage, v1::GatewayMessage>* Connect(
      grpc::CallbackServerContext* context) override {
    const auto name = context->client_metadata().find("agent-id");
    if (name == context->client_metadata().end()) return nullptr;
    gateway::MachineRecord machine;
    machine.id = AgentId(std::string(name->second.data(), name->second.size()));
    machine.org = DefaultOrg();
    loop_.Post([this, machine] { fleet_.Admit(machine); });
    return gateway::AgentLink::Start(std::make_shared<gateway::AgentLink>(
        loop_, fleet_, LinkOptions(),
        gateway::LinkPeer{machine.org, machine.id, machine.key_pin, "127.0.0.1",
                          absl::InfiniteFuture()},
        *context));
  }

  const SystemClock clock_;
  ThreadEventLoop loop_{clock_};
  PromptJournal journal_{loop_};
  gateway::Fleet fleet_{loop_, journal_, gateway::FleetOptions()};
};

int Serve(v1::AgentLink::CallbackService& service, const std::string& listen,
          const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(listen, credentials);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (!server) return 1;
  fmt::print("ready\n");
  std::fflush(stdout);
  server->Wait();
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  using namespace muster::bench;
  muster::SkipDeadlockSearch();  // As the gateway does.
  const std::string_view what = argc > 2 ? argv[1] : "";
  if (what == "rules" && argc == 3) {
    RulesService service;
    return Serve(service, argv[2], grpc::InsecureServerCredentials());
  }
  if (what == "bare" && argc <= 4) {
    EchoService service;
    return Serve(
        service, argv[2],
        argc == 4 ? MutualTls(argv[3]) : grpc::InsecureServerCredentials());
  }
  fmt::print(stderr, "usage: bench-server bare|rules HOST:PORT [CA_FOLDER]\n");
  return 2;
}
