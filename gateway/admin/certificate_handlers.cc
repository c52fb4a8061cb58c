#include "gateway/admin/certificate_handlers.h"

#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "gateway/admin/audited.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

// What the fleet port tells on a link, for the web port.
absl::Status ToStatus(const Disconnect& refusal) {
  const auto code = [&]() -> std::string_view {
    switch (refusal.reason) {
      case DisconnectReason::kDeregistered:
        return "deregistered";
      case DisconnectReason::kNotRegistered:
        return "not_registered";
      case DisconnectReason::kPendingApproval:
        return "pending_approval";
      default:
        return "credential_revoked";
    }
  };
  return WithCode(absl::PermissionDeniedError(refusal.text), code());
}

absl::Status CheckSameKey(std::string_view csr_pem, std::string_view key_pin) {
  ASSIGN_OR_RETURN(const std::string pin,
                   CertificateAuthority::CheckCsr(csr_pem));
  if (pin == key_pin) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "csr_pem: must be of the certificate's key {}, got {}", key_pin, pin));
}

absl::Status CheckRenewable(const AgentCertificate& old, absl::Time now) {
  if (now <= old.not_after + kRenewable) return absl::OkStatus();
  return WithCode(
      absl::PermissionDeniedError(fmt::format(
          "certificate_pem: ended at {}, more than {} days ago; join again "
          "with a token: the machine keeps its identity",
          absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", old.not_after,
                           absl::UTCTimeZone()),
          kRenewable / absl::Hours(24))),
      "credential_expired");
}

}  // namespace

void CertificateHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.Enrollment.Renew", this, &CertificateHandlers::Renew);
}

void CertificateHandlers::RenewOnLink(const OrgId& org, const AgentId& agent,
                                      const std::string& key_pin,
                                      std::string csr_pem, Issued issued) {
  v1::CertificateRequest request;
  request.set_csr_pem(csr_pem);
  if (auto s = wire::ValidateCertificateRequest(request); !s.ok()) {
    issued(s);
    return;
  }
  Issue(org, agent, key_pin, std::move(csr_pem), std::move(issued));
}

void CertificateHandlers::Renew(const Caller& caller,
                                const v1::RenewRequest& request,
                                Reply<v1::RenewResponse> reply) {
  if (auto s = wire::ValidateRenew(request); !s.ok()) {
    reply(s);
    return;
  }
  store_.Offload(
      [this, pem = request.certificate_pem(),
       csr = request.csr_pem()]() -> absl::StatusOr<AgentCertificate> {
        ASSIGN_OR_RETURN(AgentCertificate old, authority_.ReadAgent(pem));
        // Nothing is told to who cannot prove that he has the key.
        RETURN_IF_ERROR(CheckSameKey(csr, old.key_pin));
        return old;
      },
      [this, csr = request.csr_pem(), caller,
       reply = std::move(reply)](absl::StatusOr<AgentCertificate> old) mutable {
        absl::Status refused =
            old.ok() ? CheckRenewable(*old, clock_.Wall()) : old.status();
        if (!refused.ok()) {
          reply(std::move(refused));
          return;
        }
        const AgentId agent = old->identity.agent;
        if (!MayAsk(agent)) {
          reply(WithCode(absl::ResourceExhaustedError(
                             "this machine asks for certificates too often"),
                         "too_many_renewals"));
          return;
        }
        const OrgId org = old->identity.org;
        Issue(org, agent, old->key_pin, std::move(csr),
              [this, caller, org, agent, reply = std::move(reply)](
                  absl::StatusOr<v1::CertificateIssued> issued) mutable {
                if (!issued.ok()) {
                  reply(issued.status());
                  return;
                }
                v1::RenewResponse response;
                *response.mutable_issued() = *std::move(issued);
                response.set_endpoint(
                    addresses_.FleetEndpoint(caller.web_authority));
                Record(caller, org, agent, std::move(response),
                       std::move(reply));
              });
      });
}

void CertificateHandlers::Record(const Caller& caller, const OrgId& org,
                                 const AgentId& agent,
                                 v1::RenewResponse response,
                                 Reply<v1::RenewResponse> reply) {
  // By now it is known who calls.
  if (caller.audit) {
    caller.audit->entry.org = org;
    caller.audit->entry.principal = "agent:" + agent.str();
    caller.audit->entry.target = agent.str();
  }
  store_.Write(Audited(caller, [](FleetStore&) { return absl::OkStatus(); }),
               [this, response = std::move(response), reply = std::move(reply)](
                   const absl::Status& recorded) mutable {
                 if (!recorded.ok()) {
                   reply(recorded);
                   return;
                 }
                 *response.mutable_gateway_time() =
                     wire::ToProto(clock_.Wall());
                 reply(std::move(response));
               });
}

bool CertificateHandlers::MayAsk(const AgentId& agent) {
  const Instant now = clock_.Now();
  for (auto it = asked_.begin();
       asked_.size() >= kRememberedMax && it != asked_.end();) {
    it = it->second.Full(now) ? asked_.erase(it) : std::next(it);
  }
  return asked_.try_emplace(agent, TokenBucket(kPerSecond, kBurst))
      .first->second.Take(now);
}

void CertificateHandlers::Issue(const OrgId& org, const AgentId& agent,
                                const std::string& key_pin, std::string csr_pem,
                                Issued issued) {
  if (const auto refusal = fleet_.RefusalOf(org, agent, key_pin)) {
    issued(ToStatus(*refusal));
    return;
  }
  store_.Offload(
      [this, agent, org, key_pin, csr = std::move(csr_pem),
       now = clock_.Wall()]() -> absl::StatusOr<std::string> {
        RETURN_IF_ERROR(CheckSameKey(csr, key_pin));
        return authority_.IssueAgent(csr, org, agent, now);
      },
      [this, org, agent, key_pin, issued = std::move(issued)](
          absl::StatusOr<std::string> certificate) mutable {
        if (!certificate.ok()) {
          issued(certificate.status());
          return;
        }
        // The key may have been taken away meanwhile.
        if (const auto refusal = fleet_.RefusalOf(org, agent, key_pin)) {
          issued(ToStatus(*refusal));
          return;
        }
        v1::CertificateIssued answer;
        answer.set_certificate_pem(*std::move(certificate));
        answer.set_ca_pem(authority_.ca_pem());
        issued(std::move(answer));
      });
}

}  // namespace muster::gateway
