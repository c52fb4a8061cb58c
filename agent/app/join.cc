#include "agent/app/join.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <utility>

#include "agent/app/web_port.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::agent {
namespace {

// Not "http://" + loopback: there the token would be readable on the way. The
// whole host counts: 127.0.0.1.example is a name like any other.
bool IsPlainElsewhere(std::string_view url) {
  constexpr std::string_view kPlain = "http://";
  if (!url.starts_with(kPlain)) return false;
  url.remove_prefix(kPlain.size());
  const bool bracketed = url.starts_with('[');
  const size_t end = bracketed ? url.find(']') : url.find_first_of(":/");
  const std::string host(
      url.substr(bracketed ? 1 : 0, bracketed ? end - 1 : end));
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 != IN_LOOPBACKNET;
  }
  return host != "localhost" && host != "::1";
}

absl::Status Validate(const JoinOptions& options) {
  if (IsPlainElsewhere(options.server)) {
    return absl::InvalidArgumentError(
        fmt::format("--server: the token would cross the network readable; use "
                    "https://, got {}",
                    options.server));
  }
  if (options.token.empty() ||
      options.token.Reveal().size() > wire::kTokenBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("the token must be 1 to {} bytes, got {}: give it as "
                    "MUSTER_TOKEN, MUSTER_TOKEN_FILE or "
                    "with --token-stdin",
                    wire::kTokenBytesMax, options.token.Reveal().size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::RegisterResponse> Call(const JoinOptions& options,
                                          const v1::RegisterRequest& request) {
  v1::RegisterResponse out;
  RETURN_IF_ERROR(Post({options.server, options.pin, options.ca_pem},
                       "/api/agents/register", "the registration", request,
                       out));
  if (out.agent_id().empty() || out.endpoint().empty()) {
    return absl::DataLossError(fmt::format(
        "{}: the answer lacks agent_id or endpoint", options.server));
  }
  return out;
}

absl::StatusOr<JoinResult> Register(const AgentState& state,
                                    const JoinOptions& options,
                                    const std::string& former_id) {
  ASSIGN_OR_RETURN(const Secret key, state.PendingKey());
  v1::RegisterRequest request;
  request.set_token(options.token.Reveal());
  // For whoever reads the request; the gateway ignores it.
  ASSIGN_OR_RETURN(*request.mutable_csr_pem(), MakeCsr(key, "muster-agent"));
  *request.mutable_facts() = options.facts;
  request.mutable_labels()->insert(options.labels.begin(),
                                   options.labels.end());
  request.set_replaces_agent_id(former_id);
  RETURN_IF_ERROR(wire::ValidateLabels("--label", request.labels()));
  ASSIGN_OR_RETURN(const v1::RegisterResponse response, Call(options, request));
  RETURN_IF_ERROR(CheckKeyMatchesCertificate(key, response.certificate_pem()));
  Identity identity{.agent_id = response.agent_id(),
                    .org_id = response.org_id(),
                    .certificate_pem = response.certificate_pem(),
                    .ca_pem = response.ca_pem(),
                    .endpoint = response.endpoint(),
                    .server = options.server,
                    .server_pin = options.pin,
                    .server_ca_pem = options.ca_pem,
                    .labels = options.labels};
  RETURN_IF_ERROR(state.SaveIdentity(identity));
  const absl::Duration interval =
      wire::FromProto(response.heartbeat_interval());
  // Only a slower first start is lost without it.
  (void)state.SavePace({interval, interval});
  return JoinResult{
      .identity = std::move(identity),
      .pending = response.pending(),
      .name = response.name().empty() ? response.agent_id() : response.name()};
}

}  // namespace

absl::StatusOr<JoinResult> Join(const AgentState& state,
                                const JoinOptions& options) {
  RETURN_IF_ERROR(state.Create());
  // Two at once would register two keys and save one beside the other's
  // certificate.
  ASSIGN_OR_RETURN(const Fd lock, state.LockForJoin());
  std::string former_id = state.FormerAgentId().value_or("");
  absl::StatusOr<Identity> present = state.LoadIdentity();
  if (present.ok() && !options.replace) {
    if (present->server == options.server)
      return JoinResult{*std::move(present), true};
    return absl::FailedPreconditionError(
        fmt::format("already joined to {} as {}; to give that identity up: "
                    "muster-agent join --replace",
                    present->server, present->agent_id));
  }
  if (!present.ok() && !absl::IsNotFound(present.status()) &&
      !options.replace) {
    return present.status();
  }
  if (present.ok()) former_id = present->agent_id;
  RETURN_IF_ERROR(Validate(options));
  ASSIGN_OR_RETURN(JoinResult joined, Register(state, options, former_id));
  const Identity& identity = joined.identity;
  Log(kInfo, "registered",
      {{"agent_id", identity.agent_id},
       {"org", identity.org_id},
       {"server", identity.server},
       {"endpoint", identity.endpoint},
       {"pending", joined.pending}});
  return joined;
}

}  // namespace muster::agent
