// The whole gateway as one object: what main() runs and what integration tests
// start in their own process.

#ifndef MUSTER_GATEWAY_SERVER_GATEWAY_H_
#define MUSTER_GATEWAY_SERVER_GATEWAY_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/admin/addresses.h"
#include "gateway/admin/admin_api.h"
#include "gateway/admin/agent_handlers.h"
#include "gateway/admin/audit_handlers.h"
#include "gateway/admin/audit_log.h"
#include "gateway/admin/batch_handlers.h"
#include "gateway/admin/certificate_handlers.h"
#include "gateway/admin/command_handlers.h"
#include "gateway/admin/enrollment_handlers.h"
#include "gateway/admin/event_handlers.h"
#include "gateway/admin/gateway_handlers.h"
#include "gateway/admin/history_handlers.h"
#include "gateway/admin/metrics_handlers.h"
#include "gateway/admin/presence_health.h"
#include "gateway/admin/session_handlers.h"
#include "gateway/admin/sign_in_handlers.h"
#include "gateway/admin/user_book.h"
#include "gateway/admin/user_handlers.h"
#include "gateway/fleet/fleet.h"
#include "gateway/http/api_handler.h"
#include "gateway/http/http_server.h"
#include "gateway/identity/certificate_authority.h"
#include "gateway/identity/key_ring.h"
#include "gateway/identity/principals.h"
#include "gateway/rpc/fleet_server.h"
#include "gateway/server/gateway_config.h"
#include "gateway/store/store_client.h"
#include "gateway/store/store_journal.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/thread_event_loop.h"

namespace muster::gateway {

// Gateway owns everything, in the order in which it comes to life.
//
// Threading: Start(), Stop(), Reload() and destruction on one thread, which is
// none of the gateway's own.
class Gateway {
 public:
  // Called on the fleet loop, once, when the store can no longer be trusted and
  // the process must end. Must not call the gateway.
  using OnFatal = std::function<void(absl::Status)>;

  // Opens the data folder and both ports, and serves. `clock` outlives the
  // gateway. Errors are sentences for an operator: they name the setting, the
  // file or the address. After an error nothing is left running.
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(
      GatewayConfig config, const Clock& clock, OnFatal on_fatal = nullptr);
  ~Gateway();

  uint16_t web_port() const { return http_->port(); }
  uint16_t fleet_port() const { return fleet_server_->port(); }
  std::string web_url() const;
  // As it was found or made at the start.
  const AdminToken& admin_token() const { return first_admin_token_; }

  // Reads again what may change while running: the admin token, certificate
  // files of the web port. After an error nothing has changed.
  absl::Status Reload();

  // Takes leave of operators and agents, makes everything durable. Waits at
  // most config.drain for agents. Idempotent; afterwards nothing but
  // destruction is allowed.
  void Stop();

  // Tells the service manager every `interval` that the fleet loop turns.
  void FeedWatchdog(absl::Duration interval);

  // Runs `f(fleet)` on the fleet loop and waits for it. For tests and tools.
  void OnLoop(std::function<void(Fleet&)> f);

 private:
  // What the web port presents; nothing for plain HTTP.
  struct WebCredential {
    TlsContext tls;
    std::string pin;
    uint64_t order = 0;  // In which they were read.
  };

  Gateway(GatewayConfig config, const Clock& clock, OnFatal on_fatal);

  absl::Status OpenAll();
  // The certificate that the settings name, before anything is written.
  absl::Status CheckWebCertificate() const;
  absl::Status OpenDataFolder();
  absl::Status OpenStore();
  absl::Status OpenAuthority();
  absl::Status OpenFleetPort();
  absl::Status OpenWebPort();
  void Serve();
  // Renews the certificates that are due. gRPC watches the fleet port's files
  // by itself; the web port's is returned.
  absl::StatusOr<WebCredential> CareForCertificates()
      ABSL_LOCKS_EXCLUDED(certificates_mu_);
  absl::StatusOr<WebCredential> WebTls()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(certificates_mu_);
  // By the certificate that the settings name.
  absl::StatusOr<WebCredential> GivenWebTls() const;
  HandlerTable MakeHandlers();
  // For connections and join lines from now on. On the loop.
  void Present(WebCredential credential);
  absl::StatusOr<Caller> AuthenticateCall(const CallContext& context) const;
  // As CommandDesk::MayStill. On the loop.
  bool MayStillRun(const std::string& principal, const OrgId& org,
                   absl::Time at) const;
  Readiness CheckReadiness() const ABSL_LOCKS_EXCLUDED(presence_mu_);
  // What the loop said last; if it has not for too long, that it stands still.
  PresenceHealth KnownPresence() const ABSL_LOCKS_EXCLUDED(presence_mu_);
  // Once an hour: certificates that are due, rows that are old, audit heads.
  void CareLater();
  // Writes that it runs: the next life knows then how long nobody was heard.
  void GiveSignOfLife();
  // Every few seconds: a gateway that nobody speaks to would not notice whether
  // its store takes writes.
  void ProbeStore();
  // Tells CheckReadiness() what the loop knows, a few times a second.
  void WatchPresence() ABSL_LOCKS_EXCLUDED(presence_mu_);
  void DeleteOldRows();
  void RenewCertificates();

  // Constant after construction.
  const GatewayConfig config_;
  const Clock& clock_;
  const OnFatal on_fatal_;
  const absl::Time started_at_;
  const bool web_tls_;

  // One thread at a time writes the certificate files: main reloads while a
  // reader thread renews.
  Mutex certificates_mu_;
  uint64_t web_credentials_read_ ABSL_GUARDED_BY(certificates_mu_) = 0;
  uint64_t presented_ = 0;  // Touched on the loop: which credential.

  Fd folder_lock_;
  AdminToken first_admin_token_;  // Constant once serving.
  AdminToken admin_token_;        // Touched on the loop once serving.
  std::unique_ptr<CertificateAuthority> authority_;
  KeyRing keys_;         // As the fleet tells; asked in handshakes.
  Addresses addresses_;  // Touched on the loop once serving.
  std::unique_ptr<ThreadEventLoop> loop_;
  std::unique_ptr<StoreClient> store_;
  std::unique_ptr<StoreJournal> journal_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<FleetServer> fleet_server_;
  std::unique_ptr<AuditLog> audit_log_;
  std::unique_ptr<AuditHandlers> audit_handlers_;
  UserBook users_;  // Touched on the loop once serving.
  std::unique_ptr<UserHandlers> user_handlers_;
  std::unique_ptr<SignInHandlers> sign_in_handlers_;
  std::unique_ptr<AgentHandlers> agent_handlers_;
  std::unique_ptr<BatchHandlers> batch_handlers_;
  std::unique_ptr<InputHandlers> input_handlers_;
  std::unique_ptr<SessionHandlers> session_handlers_;
  std::unique_ptr<CertificateHandlers> certificate_handlers_;
  std::unique_ptr<CommandHandlers> command_handlers_;
  std::unique_ptr<EnrollmentHandlers> enrollment_handlers_;
  std::unique_ptr<EventHandlers> event_handlers_;
  std::unique_ptr<GatewayHandlers> gateway_handlers_;
  std::unique_ptr<HistoryHandlers> history_handlers_;
  std::unique_ptr<MetricsHandlers> metrics_handlers_;
  std::unique_ptr<AdminApi> api_;
  std::unique_ptr<ApiHandler> web_handler_;
  std::unique_ptr<HttpServer> http_;
  std::atomic<bool> ready_ = false;
  // Known once it is true for the first time.
  mutable Mutex presence_mu_;
  PresenceHealth presence_ ABSL_GUARDED_BY(presence_mu_);
  Instant watched_at_ ABSL_GUARDED_BY(presence_mu_);
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_SERVER_GATEWAY_H_
