// What orgs and machines have of their own.

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fleet.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

PresenceSettings EditedOwn(const Machine& machine, const PresenceEdit& edit) {
  const PresenceSettings* own = machine.own_presence;
  return Edited(own == nullptr ? PresenceSettings() : *own, edit);
}

absl::Status Named(std::string_view whose, const absl::Status& status) {
  return {status.code(), fmt::format("{}: {}", whose, ToStd(status.message()))};
}

}  // namespace

absl::Status Fleet::CheckOrg(const OrgId& org, const PresenceSettings& wished) {
  const PresencePolicy& gateway = policies_.gateway();
  RETURN_IF_ERROR(Resolve(gateway, wished, {}).org);
  absl::Status status;
  absl::flat_hash_set<const PresenceSettings*> seen = {nullptr};
  machines_.ForEachLiving([&](const Machine& machine) {
    if (machine.record.org != org || !status.ok()) return;
    const PresenceSettings* own = machine.own_presence;
    if (!seen.insert(own).second) return;
    status = Named(fmt::format("{} has settings of its own",
                               machine.record.facts.hostname),
                   Resolve(gateway, wished, *own).own);
  });
  return status;
}

void Fleet::SetPresence(const OrgId& org, const PresenceEdit& edit,
                        absl::AnyInvocable<void(absl::Status)> done) {
  if (auto bad = CheckOrg(org, Edited(policies_.OfOrg(org), edit)); !bad.ok()) {
    done(std::move(bad));
    return;
  }
  journal_.Put(
      {PresenceChange{org, {AgentId()}, edit}},
      [this, org, edit, done = std::move(done)](absl::Status status) mutable {
        // Another change may have come before this one.
        if (status.ok()) {
          policies_.SetOrg(org, Edited(policies_.OfOrg(org), edit));
        }
        done(std::move(status));
      });
}

void Fleet::SetPresence(const OrgId& org, const std::vector<AgentId>& agents,
                        const PresenceEdit& edit,
                        absl::AnyInvocable<void(absl::Status)> done) {
  std::vector<Machine*> machines;
  absl::Status bad;
  if (policies_.full()) bad = TooManySettings(PresencePolicies::kDistinctMax);
  for (const AgentId& agent : agents) {
    if (!bad.ok()) break;
    Machine* machine = machines.emplace_back(machines_.FindLiving(org, agent));
    if (machine == nullptr) {
      bad = NotFound("agent", agent.str());
      break;
    }
    bad = Resolve(policies_.gateway(), policies_.OfOrg(org),
                  EditedOwn(*machine, edit))
              .own;
    if (!bad.ok() && agents.size() > 1) {
      bad = Named(machine->record.facts.hostname, bad);
    }
  }
  if (!bad.ok()) {
    done(std::move(bad));
    return;
  }
  journal_.Put({PresenceChange{org, agents, edit}},
               [this, machines = std::move(machines), edit,
                done = std::move(done)](absl::Status status) mutable {
                 for (Machine* machine : machines) {
                   if (!status.ok()) break;
                   machine->own_presence =
                       policies_.Keep(EditedOwn(*machine, edit));
                 }
                 done(std::move(status));
               });
}

}  // namespace muster::gateway
