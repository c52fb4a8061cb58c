// Records with every field set, for the tests of this room.

#ifndef MUSTER_GATEWAY_STORE_STORE_TEST_DATA_H_
#define MUSTER_GATEWAY_STORE_STORE_TEST_DATA_H_

#include <string>

#include "gateway/store/fleet_store.h"

namespace muster::gateway {

inline absl::Time At(int seconds) {
  return absl::FromUnixMicros(1'700'000'000'123'456) + absl::Seconds(seconds);
}

inline MachineRecord Machine(const std::string& id) {
  MachineRecord m;
  m.id = AgentId(id);
  m.org = OrgId("acme");
  m.facts = {
      "web-" + id, "machine-id", "Debian 12",           "6.1.0",
      "x86_64",    "0.1.0",      RuntimeKind::kSystemd, "muster.service"};
  m.labels = {{"role", "web"}, {"größe", "\"1\"\n"}};
  m.key_pin = "sha256//" + id;
  m.registered_at = At(1);
  m.status = Status::kOffline;
  m.status_since = At(2);
  m.verdict = Verdict{Domain::kHost, Cause::kHostRebooted, Confidence::kLikely,
                      "host rebooted"};
  m.promised_back = At(3);
  m.silenced_at = At(4);
  m.epoch = (uint64_t{3} << 32) + 7;
  m.transition_sequence = 12;
  m.dispatch_high = 34;
  m.acknowledged_high = 33;
  m.address = "192.0.2.7:4711";
  m.incident = "00000003-000001";
  m.replaced_by = AgentId("other");
  m.pending = true;
  m.ephemeral_for = absl::Hours(24);
  m.deleted_at = absl::InfiniteFuture();
  return m;
}

inline TransitionRecord Transition(const std::string& agent,
                                   uint64_t sequence) {
  return {AgentId(agent),
          sequence,
          Status::kStale,
          Status::kOffline,
          At(static_cast<int>(sequence)),
          9,
          Verdict{Domain::kAgent, Cause::kAgentHung, Confidence::kProven, "x"}};
}

inline LinkRecord Link(const std::string& agent, uint64_t epoch) {
  return {AgentId(agent), epoch, "boot",       "start",
          "192.0.2.7:1",  At(1), std::nullopt, LinkEnd::kOpen};
}

inline IncidentRecord Incident(const std::string& id, absl::Time opened_at) {
  return {id,
          OrgId("acme"),
          "10.2.3.0/24",
          opened_at,
          std::nullopt,
          5,
          Verdict{Domain::kNetwork, Cause::kNetworkGroup, Confidence::kLikely,
                  "5 machines in 10.2.3.0/24"}};
}

inline CommandRecord Command(const std::string& id,
                             const std::string& agent = "m1") {
  CommandRecord c;
  c.id = CommandId(id);
  c.agent = AgentId(agent);
  c.org = OrgId("acme");
  c.spec = {Shell::kExec,
            "",
            {"/bin/echo", "", "zwölf \" \\"},
            absl::Hours(1),
            absl::Seconds(30),
            absl::Seconds(10),
            uint64_t{10} << 20,
            {.user = "deploy",
             .working_directory = "/srv/zwölf",
             .environment = {{"LANG", "de_AT.UTF-8"}, {"EMPTY", ""}},
             .umask = 027,
             .input = std::string("\0line\xff\n", 7)}};
  c.labels = {{"change", "4711"}};
  c.purpose = "disk full";
  c.issued_by = "admin";
  c.created_at = At(1);
  return c;
}

inline OutputRecord Output(const std::string& command, Stream stream,
                           uint64_t offset, const std::string& data) {
  return {CommandId(command), stream, offset, data};
}

inline TokenRecord Token(const std::string& id, uint32_t uses_max = 1) {
  TokenRecord t;
  t.id = TokenId(id);
  t.org = OrgId("acme");
  t.secret_sha256 = id + std::string(32 - id.size(), '\0');
  t.description = "for rack 7";
  t.labels = {{"rack", "7"}, {"role", "of the token"}};
  t.created_by = "admin";
  t.created_at = At(0);
  t.expires_at = At(3600);
  t.uses_max = uses_max;
  return t;
}

inline EnrollmentRequest Request(const TokenRecord& token,
                                 const std::string& key,
                                 const std::string& candidate) {
  EnrollmentRequest r;
  r.token_sha256 = token.secret_sha256;
  r.key_pin = key;
  r.facts = Machine(candidate).facts;
  r.labels = {{"role", "its own"}, {"zone", "b"}};
  r.candidate_id = AgentId(candidate);
  r.address = "192.0.2.9:1";
  r.now = At(10);
  return r;
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_STORE_TEST_DATA_H_
