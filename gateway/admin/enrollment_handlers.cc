#include "gateway/admin/enrollment_handlers.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "gateway/admin/audited.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/errors.h"
#include "gateway/identity/secret_token.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

constexpr absl::Duration kTokenTtl = absl::Minutes(30);
constexpr absl::Duration kEphemeralFor = absl::Hours(24);

absl::StatusOr<std::string> RawHash(std::string_view token) {
  ASSIGN_OR_RETURN(const std::string hex, HashToken(TokenKind::kJoin, token));
  return absl::HexStringToBytes(hex);
}

Labels ToLabels(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

v1::Refusal ToProto(const RefusalRecord& refusal) {
  v1::Refusal out;
  *out.mutable_at() = wire::ToProto(refusal.at);
  out.set_reason(static_cast<v1::RefusalReason>(refusal.reason));
  out.set_token_id(refusal.token.str());
  out.set_address(refusal.address);
  out.set_hostname(refusal.hostname);
  return out;
}

// Enrolls, and records it: who comes with a token that counts is no stranger.
// One who comes again changes nothing.
absl::StatusOr<Enrollment> Enroll(FleetStore& store,
                                  const EnrollmentRequest& request,
                                  AuditTicket* ticket) {
  ASSIGN_OR_RETURN(Enrollment admitted, store.Enroll(request));
  if (ticket == nullptr || admitted.repeated) return admitted;
  ticket->entry.org = admitted.machine.org;
  ticket->entry.principal = "join:" + admitted.token.str();
  ticket->entry.target = admitted.machine.id.str();
  RETURN_IF_ERROR(KeepAudit(store, *ticket));
  return admitted;
}

}  // namespace

std::string JoinScript(const std::string& web_url, const std::string& web_pin,
                       const std::string& secret, bool replace) {
  const std::string pin =
      web_pin.empty() ? "" : fmt::format(" --pin '{}'", web_pin);
  return fmt::format(
      "muster-agent join --server {}{}{} --token-stdin --start <<'TOKEN'\n"
      "{}\n"
      "TOKEN\n",
      web_url, pin, replace ? " --replace" : "", secret);
}

void EnrollmentHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.Enrollment.Register", this,
            &EnrollmentHandlers::Register);
  table.Add("muster.v1.FleetAdmin.CreateToken", this,
            &EnrollmentHandlers::CreateToken);
  table.Add("muster.v1.FleetAdmin.ReissueAgent", this,
            &EnrollmentHandlers::Reissue);
  table.Add("muster.v1.FleetAdmin.ListTokens", this,
            &EnrollmentHandlers::ListTokens);
  table.Add("muster.v1.FleetAdmin.RevokeToken", this,
            &EnrollmentHandlers::RevokeToken);
  table.Add("muster.v1.FleetAdmin.ListRefusals", this,
            &EnrollmentHandlers::ListRefusals);
}

absl::Status EnrollmentHandlers::Refused(const EnrollmentRequest& request,
                                         const absl::Status& status) {
  if (const auto reason = RefusalReasonOf(status)) {
    refusals_.Take(request, *reason);
    return status;
  }
  return absl::IsPermissionDenied(status) ? WithCode(status, "token_refused")
                                          : status;
}

void EnrollmentHandlers::Register(const Caller& caller,
                                  const v1::RegisterRequest& request,
                                  Reply<v1::RegisterResponse> reply) {
  if (auto s = wire::ValidateRegister(request); !s.ok()) {
    reply(s);
    return;
  }
  const auto hash = RawHash(request.token());
  EnrollmentRequest enrollment{.token_sha256 = hash.value_or(""),
                               .key_pin = "",
                               .facts = ToFacts(request.facts()),
                               .labels = ToLabels(request.labels()),
                               .candidate_id = AgentId(NewUuid(clock_.Wall())),
                               .address = caller.peer_address,
                               .now = clock_.Wall()};
  if (!hash.ok()) {
    // The same answer as for a token that never existed.
    reply(Refused(enrollment, TokenRefused(RefusalReason::kUnknown)));
    return;
  }
  // First see that the request can be certified at all: a token must not be
  // used up by a request that then fails.
  store_.Offload(
      [csr = request.csr_pem()] { return CertificateAuthority::CheckCsr(csr); },
      [this, caller, csr = request.csr_pem(),
       replaces = AgentId(request.replaces_agent_id()),
       enrollment = std::move(enrollment),
       reply = std::move(reply)](absl::StatusOr<std::string> pin) mutable {
        if (!pin.ok()) {
          reply(pin.status());
          return;
        }
        enrollment.key_pin = *pin;
        store_.Write(
            [enrollment, ticket = caller.audit](FleetStore& store) {
              return Enroll(store, enrollment, ticket.get());
            },
            [this, caller, csr = std::move(csr), replaces, enrollment,
             reply = std::move(reply)](
                absl::StatusOr<Enrollment> admitted) mutable {
              if (!admitted.ok()) {
                reply(Refused(enrollment, admitted.status()));
                return;
              }
              const MachineRecord& machine = admitted->machine;
              Log(kInfo, "registered",
                  {{"agent_id", machine.id.str()},
                   {"hostname", machine.facts.hostname},
                   {"from", caller.peer_address},
                   {"repeated", admitted->repeated},
                   {"pending", machine.pending}});
              fleet_.Admit(machine, replaces);
              Certify(caller, std::move(csr), machine, std::move(reply));
            });
      });
}

void EnrollmentHandlers::Certify(const Caller& caller, std::string csr_pem,
                                 const MachineRecord& machine,
                                 Reply<v1::RegisterResponse> reply) {
  store_.Offload(
      [this, csr = std::move(csr_pem), org = machine.org, id = machine.id,
       now = clock_.Wall()] {
        return authority_.IssueAgent(csr, org, id, now);
      },
      [this, authority = caller.web_authority, id = machine.id,
       org = machine.org, reply = std::move(reply)](
          absl::StatusOr<std::string> certificate) mutable {
        if (!certificate.ok()) {
          reply(certificate.status());
          return;
        }
        v1::RegisterResponse response;
        response.set_agent_id(id.str());
        response.set_org_id(org.str());
        response.set_certificate_pem(*certificate);
        response.set_ca_pem(authority_.ca_pem());
        response.set_endpoint(addresses_.FleetEndpoint(authority));
        const Machine& known = *fleet_.machines().Find(id);
        *response.mutable_heartbeat_interval() =
            wire::ToProto(fleet_.HeartbeatInterval(known));
        response.set_pending(known.record.pending);
        if (!known.record.deleted_at) {
          response.set_name(fleet_.machines().NameOf(known));
        }
        reply(std::move(response));
      });
}

EnrollmentHandlers::NewTokenMade EnrollmentHandlers::MakeToken(
    const Caller& caller, const v1::CreateTokenRequest& request,
    std::optional<AgentId> agent) const {
  const absl::Time now = clock_.Wall();
  const Secret secret = NewToken(TokenKind::kJoin);
  TokenRecord token{
      .id = TokenId(NewUuid(now)),
      .org = caller.org,
      .secret_sha256 = *RawHash(secret.Reveal()),
      .description = request.description(),
      .labels = ToLabels(request.labels()),
      .created_by = caller.principal,
      .created_at = now,
      .expires_at = now + (request.has_ttl() ? wire::FromProto(request.ttl())
                                             : kTokenTtl),
      .uses = 0,
      .uses_max = request.has_uses_max() ? request.uses_max() : 1,
      .agent = std::move(agent),
      .revoked_at = std::nullopt,
      .allowed_from = {request.allowed_from().begin(),
                       request.allowed_from().end()},
      .hostname_glob = request.hostname(),
      .approval = request.approval()};
  if (request.ephemeral()) {
    token.ephemeral_for = request.has_expire()
                              ? wire::FromProto(request.expire())
                              : kEphemeralFor;
  }
  v1::CreateTokenResponse response;
  *response.mutable_token() = ToProto(token, now);
  response.set_secret(secret.Reveal());
  response.set_web_url(addresses_.WebUrlForOthers(caller.web_authority));
  response.set_web_pin(addresses_.web_pin);
  response.set_web_loopback(addresses_.web_loopback);
  response.set_join_script(JoinScript(response.web_url(), response.web_pin(),
                                      secret.Reveal(),
                                      /*replace=*/token.agent.has_value()));
  return {std::move(token), std::move(response)};
}

void EnrollmentHandlers::CreateToken(const Caller& caller,
                                     const v1::CreateTokenRequest& request,
                                     Reply<v1::CreateTokenResponse> reply) {
  if (auto s = wire::ValidateCreateToken(request); !s.ok()) {
    reply(s);
    return;
  }
  NewTokenMade made = MakeToken(caller, request, std::nullopt);
  NameTarget(caller, made.token.id.str());
  store_.Write(
      Audited(caller, [token = std::move(made.token)](
                          FleetStore& store) { return store.AddToken(token); }),
      [response = std::move(made.response),
       reply = std::move(reply)](absl::Status status) mutable {
        if (!status.ok()) {
          reply(status);
        } else {
          reply(std::move(response));
        }
      });
}

void EnrollmentHandlers::Reissue(const Caller& caller,
                                 const v1::ReissueAgentRequest& request,
                                 Reply<v1::CreateTokenResponse> reply) {
  const AgentId id(request.agent_id());
  const Machine* machine = fleet_.machines().FindLiving(caller.org, id);
  if (machine == nullptr) {
    reply(NotFound("agent", request.agent_id()));
    return;
  }
  v1::CreateTokenRequest wanted;
  wanted.set_description("reissue of " + LongName(machine->record));
  if (request.has_ttl()) *wanted.mutable_ttl() = request.ttl();
  if (auto s = wire::ValidateCreateToken(wanted); !s.ok()) {
    reply(s);
    return;
  }
  NewTokenMade made = MakeToken(caller, wanted, id);
  // Durable first: a key that was refused once must not come back with a
  // restart.
  NameTarget(caller, fmt::format("{}/{}", id.str(), made.token.id.str()));
  store_.Write(
      Audited(caller, [token = std::move(made.token)](
                          FleetStore& store) { return store.Reissue(token); }),
      [this, id, who = caller.principal, response = std::move(made.response),
       reply = std::move(reply)](absl::Status status) mutable {
        if (absl::IsNotFound(status)) {
          status = NotFound("agent", id.str());
        }
        if (!status.ok()) {
          reply(status);
          return;
        }
        fleet_.Reissued(id, who);
        reply(std::move(response));
      });
}

void EnrollmentHandlers::ListTokens(const Caller& caller,
                                    const v1::ListTokensRequest&,
                                    Reply<v1::ListTokensResponse> reply) {
  store_.Read(
      [org = caller.org](FleetStore& store) { return store.ListTokens(org); },
      [now = clock_.Wall(), reply = std::move(reply)](
          absl::StatusOr<std::vector<TokenRecord>> tokens) mutable {
        if (!tokens.ok()) {
          reply(tokens.status());
          return;
        }
        v1::ListTokensResponse response;
        for (const TokenRecord& token : *tokens) {
          *response.add_tokens() = ToProto(token, now);
        }
        reply(std::move(response));
      });
}

void EnrollmentHandlers::RevokeToken(const Caller& caller,
                                     const v1::RevokeTokenRequest& request,
                                     Reply<v1::Token> reply) {
  const absl::Time now = clock_.Wall();
  store_.Write(Audited(caller,
                       [org = caller.org, id = TokenId(request.token_id()),
                        now](FleetStore& store) {
                         return store.RevokeToken(org, id, now);
                       }),
               [now, id = request.token_id(), reply = std::move(reply)](
                   absl::StatusOr<TokenRecord> token) mutable {
                 if (absl::IsNotFound(token.status())) {
                   reply(NotFound("token", id));
                 } else if (!token.ok()) {
                   reply(token.status());
                 } else {
                   reply(ToProto(*token, now));
                 }
               });
}

void EnrollmentHandlers::ListRefusals(const Caller& caller,
                                      const v1::ListRefusalsRequest& request,
                                      Reply<v1::ListRefusalsResponse> reply) {
  if (auto s = wire::ValidatePageSize(request.limit()); !s.ok()) {
    reply(s);
    return;
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  store_.Read([org = caller.org, limit](
                  FleetStore& store) { return store.ListRefusals(org, limit); },
              [this, reply = std::move(reply)](
                  absl::StatusOr<std::vector<RefusalRecord>> refusals) mutable {
                if (!refusals.ok()) {
                  reply(refusals.status());
                  return;
                }
                v1::ListRefusalsResponse response;
                for (const RefusalRecord& refusal : *refusals) {
                  *response.add_refusals() = ToProto(refusal);
                }
                response.set_unknown_tokens(refusals_.unknown_tokens());
                response.set_not_recorded(refusals_.not_recorded());
                reply(std::move(response));
              });
}

}  // namespace muster::gateway
