#include "gateway/server/gateway.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <future>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/identity/secret_token.h"
#include "gateway/server/listen_address.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/service_notify.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"

namespace muster::gateway {
namespace {

constexpr absl::Duration kCareEvery = absl::Hours(1);
constexpr absl::Duration kProbeStoreEvery = absl::Seconds(5);
// Rows deleted in one transaction: a few milliseconds of the store thread.
constexpr size_t kDeleteRowsMax = 1000;
constexpr size_t kBlindRemembered = 10'000;  // Intervals of former lives.

// The authority is made after the database: an authority without one is a fleet
// whose machines were lost, and an empty fleet in its place would turn every
// one of them away for good.
absl::Status CheckNotLost(const std::string& database,
                          const std::string& authority) {
  std::error_code missing;
  const auto size = std::filesystem::file_size(database, missing);
  if (!FileExists(authority) || (!missing && size > 0)) return absl::OkStatus();
  return absl::DataLossError(fmt::format(
      "{} is missing or empty, though {} shows that there was a fleet: restore "
      "a backup (`muster-gateway restore FILE`), or remove {} to begin anew",
      database, authority, authority));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(GatewayConfig config,
                                                        const Clock& clock,
                                                        OnFatal on_fatal) {
  RETURN_IF_ERROR(config.Validate());
  std::unique_ptr<Gateway> gateway(
      new Gateway(std::move(config), clock, std::move(on_fatal)));
  const absl::Status opened = gateway->OpenAll();
  if (!opened.ok()) return AtOrigin(opened, gateway->config_);
  gateway->Serve();
  return gateway;
}

absl::Status Gateway::OpenAll() {
  RETURN_IF_ERROR(CheckWebCertificate());
  RETURN_IF_ERROR(OpenDataFolder());
  RETURN_IF_ERROR(OpenStore());
  RETURN_IF_ERROR(OpenAuthority());
  RETURN_IF_ERROR(OpenFleetPort());
  return OpenWebPort();
}

Gateway::Gateway(GatewayConfig config, const Clock& clock, OnFatal on_fatal)
    : config_(std::move(config)),
      clock_(clock),
      on_fatal_(std::move(on_fatal)),
      started_at_(clock.Wall()),
      web_tls_(!OnlyOnLoopback(config_.web_listen) ||
               !config_.web_certificate.empty()) {}

Gateway::~Gateway() { Stop(); }

absl::Status Gateway::OpenDataFolder() {
  const std::string& folder = config_.data_dir;
  RETURN_IF_ERROR(MakeFolder(folder, 0700));
  const std::string lock = folder + "/lock";
  folder_lock_.Reset(open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!folder_lock_.valid()) return ErrnoStatus(errno, "opening", lock);
  if (flock(folder_lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("another gateway uses {}", folder));
  }
  ASSIGN_OR_RETURN(first_admin_token_, OpenAdminToken(folder, clock_.Wall()));
  admin_token_ = first_admin_token_;
  return absl::OkStatus();
}

absl::Status Gateway::OpenStore() {
  const std::string path = config_.data_dir + "/muster.db";
  RETURN_IF_ERROR(CheckNotLost(path, config_.data_dir + "/ca"));
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteFleetStore> store,
                   SqliteFleetStore::Open(path));
  ASSIGN_OR_RETURN(std::vector<MachineRecord> machines, store->LoadMachines());
  ASSIGN_OR_RETURN(const uint64_t run, store->BeginRun(clock_.Wall()));
  ASSIGN_OR_RETURN(std::vector<CommandRecord> commands,
                   store->LoadOpenCommands());
  ASSIGN_OR_RETURN(std::vector<StoredBatch> batches, store->LoadOpenBatches());
  ASSIGN_OR_RETURN(std::vector<PresenceRecord> presence, store->LoadPresence());
  ASSIGN_OR_RETURN(std::vector<IncidentRecord> incidents,
                   store->LoadOpenIncidents());
  ASSIGN_OR_RETURN(const std::optional<absl::Time> alive_at,
                   store->LastSignOfLife());
  ASSIGN_OR_RETURN(std::vector<OrgRecord> orgs, store->LoadOrgs());
  ASSIGN_OR_RETURN(std::vector<BlindRecord> blind,
                   store->ListBlindIntervals(kBlindRemembered));
  ASSIGN_OR_RETURN(std::vector<UserRecord> users, store->LoadUsers());
  ASSIGN_OR_RETURN(std::vector<AccessTokenRecord> access_tokens,
                   store->LoadAccessTokens());
  for (OrgRecord& org : orgs) users_.Put(std::move(org));
  for (UserRecord& user : users) users_.Put(std::move(user));
  for (AccessTokenRecord& token : access_tokens) users_.Put(std::move(token));
  Log(kInfo, "store opened",
      {{"path", path}, {"machines", machines.size()}, {"run", run}});

  loop_ = std::make_unique<ThreadEventLoop>(clock_);
  StoreClient::Options options;
  options.on_fatal = [this](absl::Status status) {
    Log(kError, "the store failed; stopping", {{"error", status}});
    if (on_fatal_) on_fatal_(std::move(status));
  };
  store_ = std::make_unique<StoreClient>(
      *loop_, std::move(store),
      [path]() -> absl::StatusOr<std::unique_ptr<FleetStore>> {
        return SqliteFleetStore::OpenReader(path);
      },
      std::move(options));
  journal_ = std::make_unique<StoreJournal>(*store_);
  audit_log_ = std::make_unique<AuditLog>(*store_);
  fleet_ = std::make_unique<Fleet>(*loop_, *journal_, config_.fleet);
  OnLoop([&](Fleet& fleet) {
    fleet.commands().AskBeforeSending(
        [this](const std::string& principal, const OrgId& org, absl::Time at) {
          return MayStillRun(principal, org, at);
        });
    fleet.TellKeys([this](const AgentId& agent, std::string_view key_pin) {
      keys_.Put(agent, key_pin);
    });
    fleet.Restore(run, {.machines = std::move(machines),
                        .open_commands = std::move(commands),
                        .open_batches = std::move(batches),
                        .presence = std::move(presence),
                        .open_incidents = std::move(incidents),
                        .alive_at = alive_at,
                        .blind = std::move(blind)});
  });
  return absl::OkStatus();
}

absl::Status Gateway::OpenAuthority() {
  ASSIGN_OR_RETURN(authority_, CertificateAuthority::OpenOrCreate(
                                   config_.data_dir + "/ca", clock_.Wall()));
  return absl::OkStatus();
}

absl::Status Gateway::OpenFleetPort() {
  RETURN_IF_ERROR(authority_->FleetServer(clock_.Wall()).status());
  const std::string ca = config_.data_dir + "/ca";
  FleetServerOptions options;
  options.acceptor.listen = config_.fleet_listen;
  options.link.hello_timeout = config_.hello_timeout;
  options.link.stream.close_grace = config_.close_grace;
  options.link.messages_per_second_max = config_.agent_messages_max;
  options.link.messages_burst = config_.agent_messages_max;
  certificate_handlers_ = std::make_unique<CertificateHandlers>(
      clock_, *fleet_, *store_, *authority_, addresses_);
  options.link.renew = [this](const OrgId& org, const AgentId& agent,
                              const std::string& key_pin, std::string csr_pem,
                              auto issued) {
    certificate_handlers_->RenewOnLink(org, agent, key_pin, std::move(csr_pem),
                                       std::move(issued));
  };
  options.keys = &keys_;
  options.acceptor.connections_per_source_max =
      config_.connections_per_source_max;
  options.acceptor.connections_per_second_max =
      config_.connections_per_second_max;
  options.tls = {.ca_pem = ca + "/ca.pem",
                 .certificate_pem = ca + "/fleet.pem",
                 .key_pem = ca + "/fleet.key"};
  auto server = FleetServer::Create(*loop_, *fleet_, std::move(options));
  if (!server.ok()) return AtSetting("fleet_listen", server.status());
  fleet_server_ = *std::move(server);
  return absl::OkStatus();
}

HandlerTable Gateway::MakeHandlers() {
  agent_handlers_ = std::make_unique<AgentHandlers>(*fleet_, addresses_);
  batch_handlers_ = std::make_unique<BatchHandlers>(*loop_, *fleet_, *store_,
                                                    config_.commands);
  command_handlers_ = std::make_unique<CommandHandlers>(
      *loop_, *fleet_, *store_, config_.commands);
  enrollment_handlers_ = std::make_unique<EnrollmentHandlers>(
      clock_, *fleet_, *store_, *authority_, addresses_);
  event_handlers_ = std::make_unique<EventHandlers>(*loop_, *fleet_,
                                                    EventHandlers::Options());
  gateway_handlers_ = std::make_unique<GatewayHandlers>(
      *fleet_, *store_, addresses_, started_at_);
  history_handlers_ =
      std::make_unique<HistoryHandlers>(*loop_, *fleet_, *store_);
  metrics_handlers_ = std::make_unique<MetricsHandlers>(
      clock_, *fleet_, *store_, *event_handlers_, started_at_);
  input_handlers_ = std::make_unique<InputHandlers>(*loop_, *fleet_, *store_);
  session_handlers_ = std::make_unique<SessionHandlers>(
      *loop_, *fleet_, *store_, *input_handlers_, config_.commands);
  user_handlers_ = std::make_unique<UserHandlers>(
      clock_, users_, *store_,
      [this](const auto& whom) { api_->CutOff(whom); });
  sign_in_handlers_ = std::make_unique<SignInHandlers>(
      *loop_, users_, *store_,
      [this](const auto& whom) { api_->CutOff(whom); });
  audit_handlers_ = std::make_unique<AuditHandlers>(*store_);
  HandlerTable table;
  audit_handlers_->AddTo(table);
  sign_in_handlers_->AddTo(table);
  user_handlers_->AddTo(table);
  agent_handlers_->AddTo(table);
  batch_handlers_->AddTo(table);
  certificate_handlers_->AddTo(table);
  command_handlers_->AddTo(table);
  enrollment_handlers_->AddTo(table);
  event_handlers_->AddTo(table);
  gateway_handlers_->AddTo(table);
  history_handlers_->AddTo(table);
  metrics_handlers_->AddTo(table);
  input_handlers_->AddTo(table);
  session_handlers_->AddTo(table);
  return table;
}

absl::Status Gateway::OpenWebPort() {
  ASSIGN_OR_RETURN(WebCredential credential, CareForCertificates());
  addresses_ = {.public_address = config_.public_address,
                .fleet_port = fleet_server_->port(),
                .web_port = 0,
                .web_tls = web_tls_,
                .web_pin = credential.pin,
                .web_loopback = OnlyOnLoopback(config_.web_listen),
                .own_name = OwnHostname()};
  ASSIGN_OR_RETURN(api_, AdminApi::Create(
                             *loop_,
                             [this](const CallContext& context) {
                               return AuthenticateCall(context);
                             },
                             [this](AuditEntry entry, auto done) {
                               audit_log_->Keep(std::move(entry),
                                                std::move(done));
                             },
                             MakeHandlers()));
  ApiHandler::Options web{.secure = web_tls_, .proxies = {}};
  ASSIGN_OR_RETURN(web.proxies, TrustedProxies::Parse(config_.trusted_proxies));
  ASSIGN_OR_RETURN(web_handler_,
                   ApiHandler::Create(
                       *api_, OperatorServices(),
                       [this] { return CheckReadiness(); }, std::move(web)));
  HttpServer::Options options;
  options.listen = config_.web_listen;
  options.tls = std::move(credential.tls);
  absl::Status status;
  // On the loop, where requests are answered: none is before the port is known.
  OnLoop([&](Fleet&) {
    auto http = HttpServer::Start(std::move(options), *web_handler_);
    status = http.status();
    if (!http.ok()) return;
    http_ = *std::move(http);
    addresses_.web_port = http_->port();
  });
  return status.ok() ? status : AtSetting("web_listen", status);
}

void Gateway::Serve() {
  OnLoop([this](Fleet& fleet) {
    fleet.Open();
    CareLater();
    ProbeStore();
    WatchPresence();
  });
  fleet_server_->Start();
  ready_ = true;
  Log(kInfo, "gateway ready",
      {{"version", kVersion},
       {"web", web_url()},
       {"fleet_port", fleet_server_->port()},
       {"data_dir", config_.data_dir}});
}

std::string Gateway::web_url() const {
  return fmt::format("{}://{}", web_tls_ ? "https" : "http",
                     WithPort(config_.web_listen, http_->port()));
}

absl::StatusOr<Caller> Gateway::AuthenticateCall(
    const CallContext& context) const {
  const auto hash = HashToken(TokenKind::kAccess, context.bearer.Reveal());
  if (!hash.ok() || !SameHash(*hash, admin_token_.hash)) {
    ASSIGN_OR_RETURN(
        Caller caller,
        users_.Authenticate(
            hash.ok() ? absl::HexStringToBytes(*hash) : std::string(),
            clock_.Wall()));
    // Whether there is such an org is none of his business.
    caller.sees_gateway = users_.Orgs().size() == 1;
    if (context.org.empty() || context.org == caller.org.str()) return caller;
    return absl::PermissionDeniedError(fmt::format(
        "header Muster-Org: {} is of another org", caller.principal));
  }
  const Principal admin = AdminPrincipal();
  const OrgId org = context.org.empty() ? admin.org : OrgId(context.org);
  if (!users_.Knows(org)) return NotFound("org", context.org);
  return Caller{.principal = admin.name,
                .org = org,
                .role = admin.role,
                .peer_address = "",
                .web_authority = "",
                .sees_gateway = true};
}

bool Gateway::MayStillRun(const std::string& principal, const OrgId& org,
                          absl::Time at) const {
  const v1::Role needed = RoleFor("SubmitCommand");
  const Principal admin = AdminPrincipal();
  if (principal != admin.name) return users_.May(org, principal, needed);
  return admin.role >= needed && at >= admin_token_.since;
}

absl::Status Gateway::Reload() {
  ASSIGN_OR_RETURN(AdminToken token,
                   OpenAdminToken(config_.data_dir, clock_.Wall()));
  ASSIGN_OR_RETURN(WebCredential credential, CareForCertificates());
  OnLoop([&](Fleet&) {
    // Until this moment the former one was taken.
    if (token.hash != admin_token_.hash) token.since = clock_.Wall();
    admin_token_ = std::move(token);
    Present(std::move(credential));
  });
  return absl::OkStatus();
}

void Gateway::CareLater() {
  DeleteOldRows();
  RenewCertificates();
  users_.DropEnded(clock_.Wall() - config_.retention.ended_tokens);
  audit_log_->TellHeads(/*all=*/false);
  loop_->PostAt(clock_.Now() + kCareEvery, [this] { CareLater(); });
}

void Gateway::GiveSignOfLife() {
  store_->Write([now = clock_.Wall()](
                    FleetStore& store) { return store.SignOfLife(now); },
                [](const absl::Status&) {
                  // health() tells.
                });
}

void Gateway::ProbeStore() {
  if (ready_) GiveSignOfLife();
  if (!store_->health().last_error.ok()) {
    DeleteOldRows();  // Makes room, if there is something to delete.
  }
  loop_->PostAt(clock_.Now() + kProbeStoreEvery, [this] { ProbeStore(); });
}

void Gateway::WatchPresence() {
  {
    MutexLock lock(presence_mu_);
    presence_ = HealthOf(*fleet_, started_at_);
    watched_at_ = clock_.Now();
  }
  loop_->PostAt(clock_.Now() + config_.fleet.presence.blind_gap / 4,
                [this] { WatchPresence(); });
}

void Gateway::DeleteOldRows() {
  store_->Write(
      [retention = config_.retention, now = clock_.Wall()](FleetStore& store) {
        return store.DeleteExpired(retention, now, kDeleteRowsMax);
      },
      [this](const absl::StatusOr<size_t>& deleted) {
        if (deleted.ok() && *deleted > 0) DeleteOldRows();
      });
}

void Gateway::FeedWatchdog(absl::Duration interval) {
  if (interval == absl::InfiniteDuration()) return;
  NotifyService("WATCHDOG=1");
  loop_->PostAt(clock_.Now() + interval,
                [this, interval] { FeedWatchdog(interval); });
}

void Gateway::OnLoop(std::function<void(Fleet&)> f) {
  std::promise<void> ran;
  loop_->Post([&] {
    f(*fleet_);
    ran.set_value();
  });
  ran.get_future().wait();
}

void Gateway::Stop() {
  if (loop_ == nullptr) return;
  // One that never served was not there for anybody.
  if (ready_.exchange(false)) {
    OnLoop([this](Fleet&) { GiveSignOfLife(); });
  }
  if (http_) {
    OnLoop([this](Fleet&) {
      batch_handlers_->EndWaits();
      command_handlers_->EndWaits();
      event_handlers_->EndWaits();
      input_handlers_->EndWaits();
      session_handlers_->EndWaits();
    });
    http_->Stop(absl::Seconds(1));
  }
  if (fleet_server_) fleet_server_->Stop(config_.drain);
  OnLoop([this](Fleet& fleet) {
    fleet.FlushLastHeard();
    audit_log_->TellHeads(/*all=*/true);
  });
  for (bool more = true; more;) {
    store_->Flush();
    OnLoop([&](Fleet& fleet) {
      more = fleet.history().writing();
      if (more || fleet.history_waiting() == 0) return;
      Log(kError, "history lost: the store does not take it before the end",
          {{"waiting", fleet.history_waiting()}});
    });
  }
  loop_->Stop();
  store_.reset();
  // Nothing runs any more: the rest goes in any order, the loop last.
  http_.reset();
  web_handler_.reset();
  api_.reset();
  fleet_server_.reset();
  sign_in_handlers_.reset();  // Its thread posts to the loop.
  event_handlers_.reset();    // Both listen to the fleet.
  history_handlers_.reset();
  fleet_.reset();
  loop_.reset();
  folder_lock_.Reset();
}

}  // namespace muster::gateway
