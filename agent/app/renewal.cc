#include "agent/app/renewal.h"

#include <utility>

#include "agent/app/web_port.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::agent {
namespace {

// When a request stayed without an answer.
constexpr absl::Duration kAskAgain = absl::Minutes(5);
// Of the time that is left, for the spread.
constexpr double kSpread = 0.05;

absl::StatusOr<v1::RenewResponse> AskWebPort(const Identity& identity,
                                             const Secret& key) {
  v1::RenewRequest request;
  request.set_certificate_pem(identity.certificate_pem);
  ASSIGN_OR_RETURN(*request.mutable_csr_pem(), MakeCsr(key, "muster-agent"));
  v1::RenewResponse response;
  RETURN_IF_ERROR(
      Post({identity.server, identity.server_pin, identity.server_ca_pem},
           "/api/agents/renew", "the renewal", request, response));
  return response;
}

// In the words of a link.
std::optional<v1::DisconnectReason> ReasonOf(const absl::Status& status) {
  const std::string code = RefusalCode(status);
  if (code == "deregistered") return v1::DISCONNECT_REASON_DEREGISTERED;
  if (code == "not_registered") return v1::DISCONNECT_REASON_NOT_REGISTERED;
  if (code == "pending_approval") return v1::DISCONNECT_REASON_PENDING_APPROVAL;
  if (code == "credential_revoked" || code == "credential_expired") {
    return v1::DISCONNECT_REASON_CREDENTIAL_REVOKED;
  }
  return std::nullopt;
}

absl::Duration LifeOf(const CertificateInfo& info) {
  return RenewAt(info) - info.not_before;
}

}  // namespace

Renewal::Renewal(EventLoop& loop, AgentState state, Identity identity,
                 Secret key, double spread, Ports ports)
    : loop_(loop),
      state_(std::move(state)),
      key_(std::move(key)),
      spread_(spread),
      ports_(std::move(ports)),
      identity_(std::move(identity)),
      thread_(loop.clock()) {}

Renewal::~Renewal() { loop_.Cancel(timer_); }

void Renewal::OnOnline(std::optional<absl::Duration> due_in) {
  clock_wrong_.reset();
  if (due_in) AskIn(*due_in * (1 + kSpread * spread_));
}

void Renewal::AskIn(absl::Duration delay) {
  loop_.Cancel(timer_);
  timer_ = loop_.PostAt(loop_.clock().Now() + delay, [this] { AskOnLink(); });
}

void Renewal::AskOnLink() {
  auto csr = MakeCsr(key_, "muster-agent");
  if (!csr.ok()) {
    Log(kError, "no certificate can be asked for", {{"error", csr.status()}});
    return;
  }
  v1::CertificateRequest request;
  request.set_csr_pem(*std::move(csr));
  // Without a link the next one says when it is due.
  if (ports_.ask(std::move(request))) AskIn(kAskAgain);
}

void Renewal::OnIssued(const v1::CertificateIssued& issued) {
  if (!Adopt(issued)) return;
  // Only the length of its life counts: this clock may be wrong.
  AskIn(LifeOf(*ParseCertificate(identity_.certificate_pem)) *
        (1 + kSpread * spread_));
}

bool Renewal::Adopt(const v1::CertificateIssued& issued) {
  Identity renewed = identity_;
  renewed.certificate_pem = issued.certificate_pem();
  renewed.ca_pem = issued.ca_pem();
  absl::Status status = ParseCertificate(renewed.ca_pem).status();
  if (status.ok()) status = state_.SaveRenewed(renewed);
  if (!status.ok()) {
    Log(kError, "the new certificate cannot be used; the old one stays",
        {{"agent_id", identity_.agent_id}, {"error", status}});
    return false;
  }
  identity_ = std::move(renewed);
  const auto info = ParseCertificate(identity_.certificate_pem);
  Log(kInfo, "certificate_renewed",
      {{"agent_id", identity_.agent_id}, {"ends", info->not_after}});
  ports_.renewed(identity_);
  return true;
}

void Renewal::OnTurnedAway() {
  const Instant now = loop_.clock().Now();
  if (calling_ || now < next_web_) return;
  calling_ = true;
  next_web_ = now + kWebPause;
  thread_.Post([this, alive = std::weak_ptr<bool>(alive_), key = key_,
                identity = identity_] {
    auto answer = AskWebPort(identity, key);
    loop_.Post([this, alive, answer = std::move(answer)] {
      if (alive.expired()) return;
      calling_ = false;
      OnWebAnswer(answer);
    });
  });
}

void Renewal::OnWebAnswer(const absl::StatusOr<v1::RenewResponse>& answer) {
  if (!answer.ok()) {
    Log(kWarning, "not renewed on the web port",
        {{"agent_id", identity_.agent_id},
         {"server", identity_.server},
         {"error", ToStd(answer.status().message())}});
    if (RefusalCode(answer.status()).empty()) {
      next_web_ = loop_.clock().Now() + kUnreachedPause;
    }
    if (const auto reason = ReasonOf(answer.status())) {
      v1::Disconnect refusal;
      refusal.set_reason(*reason);
      refusal.set_text(RefusalDetail(answer.status()));
      // A person may let it in at any moment; the others are not mended soon.
      const bool pending = *reason == v1::DISCONNECT_REASON_PENDING_APPROVAL;
      const absl::Duration pause = pending ? kPendingPause : kWebPause;
      next_web_ = loop_.clock().Now() + pause;
      *refusal.mutable_retry_after() = wire::ToProto(pause);
      ports_.refused(refusal);
    }
    return;
  }
  const absl::Duration skew =
      loop_.clock().Wall() - wire::FromProto(answer->gateway_time());
  clock_wrong_.reset();
  if (absl::AbsDuration(skew) > kSkewMax) {
    clock_wrong_ = skew;
    Log(kError, "clock_wrong",
        {{"agent_id", identity_.agent_id}, {"ahead_of_gateway", skew}});
  }
  (void)Adopt(answer->issued());
}

}  // namespace muster::agent
