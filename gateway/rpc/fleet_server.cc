#include "gateway/rpc/fleet_server.h"

#include <atomic>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/identity/peer_identity.h"
#include "gateway/rpc/peer_certificates.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/log_limit.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/net/tls_material.h"
#include "muster/v1/agent_link.grpc.pb.h"

namespace muster::gateway {
namespace {

namespace tls = grpc::experimental;

// How often gRPC looks at the TLS files.
constexpr unsigned kTlsRefreshSeconds = 10;
// Control, output, and one to spare while a new one replaces an old one.
constexpr int kStreamsPerConnectionMax = 8;
constexpr int kMetadataBytesMax = 8 << 10;
// Of one message of an agent; an output chunk is 64 KiB.
constexpr int kMessageBytesMax = 256 << 10;
constexpr int kHandshakeTimeoutMs = 5'000;
// Agents ping every 45 s ± 30 %; a shorter pause is no offence.
constexpr int kPingIntervalMinMs = 10'000;

// Lets in whose key speaks for the machine that the certificate names. gRPC has
// verified the certificate before. Called on gRPC's threads.
class KeyVerifier final : public tls::ExternalCertificateVerifier {
 public:
  explicit KeyVerifier(const KeyRing& keys) : keys_(keys) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> /*callback*/,
              grpc::Status* verdict) override {
    const absl::Status status = Check(*request);
    if (!status.ok()) {
      Tell(status);
      *verdict = {grpc::StatusCode::UNAUTHENTICATED,
                  std::string(status.message())};
    }
    return true;  // At once.
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  void Tell(const absl::Status& why) {
    MutexLock lock(mu_);
    if (const auto held = told_.Pass(clock_.Now())) {
      Log(kWarning, "handshake_refused", {{"why", why}, {"held_back", *held}});
    }
  }

  absl::Status Check(
      const tls::TlsCustomVerificationCheckRequest& request) const {
    std::vector<std::string> uris;
    for (const grpc::string_ref& uri : request.uri_names()) {
      uris.emplace_back(uri.data(), uri.size());
    }
    ASSIGN_OR_RETURN(const PeerIdentity peer, IdentifyPeer(uris));
    const grpc::string_ref pem = request.peer_cert();
    ASSIGN_OR_RETURN(const std::string pin,
                     PinOfCertificate({pem.data(), pem.size()}));
    if (keys_.Holds(peer.agent, pin)) return absl::OkStatus();
    return absl::UnauthenticatedError("this key does not speak for agent " +
                                      peer.agent.str());
  }

  const KeyRing& keys_;
  const SystemClock clock_;
  Mutex mu_;
  LogLimit told_ ABSL_GUARDED_BY(mu_){absl::Seconds(10)};
};

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const TlsFiles& files,
                                                         const KeyRing& keys) {
  auto provider = std::make_shared<tls::FileWatcherCertificateProvider>(
      files.key_pem, files.certificate_pem, files.ca_pem, kTlsRefreshSeconds);
  tls::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<KeyVerifier>(keys));
  return tls::TlsServerCredentials(options);
}

std::vector<std::string> UrisOf(const grpc::AuthContext& context) {
  std::vector<std::string> uris;
  for (const grpc::string_ref& uri :
       context.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    uris.emplace_back(uri.data(), uri.size());
  }
  return uris;
}

// "ipv4:10.0.0.7:51000" → "10.0.0.7", "ipv6:%5B::1%5D:51000" → "::1".
std::string AddressOf(std::string_view peer) {
  const size_t first = peer.find(':');
  const size_t last = peer.rfind(':');
  if (first == std::string_view::npos || last <= first) return "";
  std::string_view host = peer.substr(first + 1, last - first - 1);
  for (const std::string_view bracket : {"%5B", "["}) {
    if (host.starts_with(bracket)) host.remove_prefix(bracket.size());
  }
  for (const std::string_view bracket : {"%5D", "]"}) {
    if (host.ends_with(bracket)) host.remove_suffix(bracket.size());
  }
  constexpr std::string_view kMapped = "::ffff:";
  if (host.starts_with(kMapped) && host.find('.') != host.npos) {
    host.remove_prefix(kMapped.size());
  }
  return std::string(host);
}

// Of the certificate with which the peer made its connection.
absl::StatusOr<PeerCertificate> CertificateOf(const grpc::AuthContext& context,
                                              PeerCertificates& certificates) {
  const auto pems =
      context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (pems.size() != 1) {
    return absl::UnauthenticatedError("the peer has no certificate");
  }
  return certificates.Read({pems.front().data(), pems.front().size()});
}

absl::StatusOr<LinkPeer> PeerOf(const grpc::CallbackServerContext& context,
                                PeerCertificates& certificates) {
  const grpc::AuthContext& auth = *context.auth_context();
  ASSIGN_OR_RETURN(PeerIdentity identity, IdentifyPeer(UrisOf(auth)));
  ASSIGN_OR_RETURN(PeerCertificate certificate,
                   CertificateOf(auth, certificates));
  return LinkPeer{.org = std::move(identity.org),
                  .agent = std::move(identity.agent),
                  .key_pin = std::move(certificate.key_pin),
                  .address = AddressOf(context.peer()),
                  .renew_at = certificate.renew_at};
}

// Ends a stream before it begins.
template <typename In, typename Out>
class RefusedStream final : public grpc::ServerBidiReactor<In, Out> {
 public:
  explicit RefusedStream(const grpc::Status& why) { this->Finish(why); }
  void OnDone() override { delete this; }
};

class Service final : public v1::AgentLink::CallbackService {
 public:
  Service(ThreadEventLoop& loop, Fleet& fleet, AgentLinkOptions options,
          Acceptor& acceptor)
      : loop_(loop), fleet_(fleet), options_(options), acceptor_(acceptor) {}

  grpc::ServerBidiReactor<v1::AgentMessage, v1::GatewayMessage>* Connect(
      grpc::CallbackServerContext* context) override {
    acceptor_.CameThrough();
    auto peer = PeerOf(*context, certificates_);
    if (!peer.ok()) {
      return new RefusedStream<v1::AgentMessage, v1::GatewayMessage>(
          Refusal(peer.status()));
    }
    return AgentLink::Start(std::make_shared<AgentLink>(
        loop_, fleet_, options_, *std::move(peer), *context));
  }

  grpc::ServerBidiReactor<v1::TransferChunk, v1::TransferAck>* Transfer(
      grpc::CallbackServerContext* context) override {
    auto peer = PeerOf(*context, certificates_);
    if (!peer.ok()) {
      return new RefusedStream<v1::TransferChunk, v1::TransferAck>(
          Refusal(peer.status()));
    }
    return OutputTransfer::Start(std::make_shared<OutputTransfer>(
        loop_, fleet_, options_.stream, *std::move(peer), *context));
  }

 private:
  static grpc::Status Refusal(const absl::Status& status) {
    return {grpc::StatusCode::UNAUTHENTICATED, std::string(status.message())};
  }

  ThreadEventLoop& loop_;
  Fleet& fleet_;
  const AgentLinkOptions options_;
  Acceptor& acceptor_;
  PeerCertificates certificates_;
};

class GrpcFleetServer final : public FleetServer {
 public:
  GrpcFleetServer(ThreadEventLoop& loop, Fleet& fleet,
                  FleetServerOptions options,
                  std::unique_ptr<Acceptor> acceptor)
      : loop_(loop),
        fleet_(fleet),
        acceptor_(std::move(acceptor)),
        service_(loop, fleet, options.link, *acceptor_) {
    grpc::ServerBuilder builder;
    door_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        MakeCredentials(options.tls, *options.keys));
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               kStreamsPerConnectionMax);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                               kHandshakeTimeoutMs);
    builder.AddChannelArgument(
        GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
        kPingIntervalMinMs);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    server_ = builder.BuildAndStart();
  }
  ~GrpcFleetServer() override { Stop(absl::ZeroDuration()); }

  bool started() const { return server_ != nullptr; }
  uint16_t port() const override { return acceptor_->port(); }

  void Start() override {
    acceptor_->Run([this](int fd) { Handle(fd); },
                   [this](BlindReason reason) { TellHindered(reason); });
  }

  void Stop(absl::Duration grace) override {
    if (!server_) return;
    acceptor_->Stop();
    std::promise<void> told;
    if (loop_.Post([this, &told] {
          fleet_.Close(
              {DisconnectReason::kDraining, "the gateway is stopping", {}});
          told.set_value();
        })) {
      told.get_future().wait();
    }
    server_->Shutdown(absl::ToChronoTime(SystemClock().Wall() + grace));
    server_.reset();
    door_.reset();
  }

 private:
  // On the accept thread; thousands a second are told as one.
  void TellHindered(BlindReason reason) {
    if (hindered_told_.exchange(true)) return;
    loop_.Post([this, reason] {
      hindered_told_ = false;
      fleet_.TurnedAway(reason);
    });
  }

  void Handle(int fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
        connection;
    connection.fd = fd;
    door_->HandleNewConnection(&connection);
  }

  ThreadEventLoop& loop_;
  Fleet& fleet_;
  std::unique_ptr<Acceptor> acceptor_;
  Service service_;
  std::atomic<bool> hindered_told_ = false;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> door_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FleetServer>> FleetServer::Create(
    ThreadEventLoop& loop, Fleet& fleet, FleetServerOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Acceptor> acceptor,
                   Acceptor::Listen(options.acceptor));
  auto server = std::make_unique<GrpcFleetServer>(
      loop, fleet, std::move(options), std::move(acceptor));
  if (!server->started()) {
    return absl::FailedPreconditionError(
        "the fleet port cannot start: its TLS files cannot be used");
  }
  return server;
}

}  // namespace muster::gateway
