#include "gateway/fleet/presence_settings.h"

#include "absl/hash/hash.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

constexpr PresenceSettings kNothing{};

// `policy` with what is set in place of its own.
PresencePolicy With(PresencePolicy policy, const PresenceSettings& settings) {
  for (const auto& [setting, place] : kPresenceFields) {
    policy.*place = (settings.*setting).value_or(policy.*place);
  }
  return policy;
}

}  // namespace

PresenceSettings Edited(PresenceSettings settings, const PresenceEdit& edit) {
  for (const auto& [setting, place] : kPresenceFields) {
    if (edit.set.*setting) settings.*setting = edit.set.*setting;
  }
  for (const PresenceField setting : edit.reset) (settings.*setting).reset();
  return settings;
}

ResolvedPresence Resolve(const PresencePolicy& gateway,
                         const PresenceSettings& org,
                         const PresenceSettings& own) {
  ResolvedPresence out{.policy = gateway, .org = {}, .own = {}};
  const auto lay = [&out](const PresenceSettings& settings,
                          absl::Status& why_not) {
    const PresencePolicy policy = With(out.policy, settings);
    why_not = policy.Validate();
    if (why_not.ok()) out.policy = policy;
  };
  if (org != kNothing) lay(org, out.org);
  if (own != kNothing) lay(own, out.own);
  return out;
}

const PresenceSettings* PresencePolicies::Keep(
    const PresenceSettings& settings) {
  if (settings == kNothing) return nullptr;
  return &*settings_.insert(settings).first;
}

void PresencePolicies::SetOrg(const OrgId& org,
                              const PresenceSettings& settings) {
  orgs_[org] = {.settings = settings, .found = {}};
}

const PresenceSettings& PresencePolicies::OfOrg(const OrgId& org) const {
  const auto it = orgs_.find(org);
  return it == orgs_.end() ? kNothing : it->second.settings;
}

const PresencePolicy& PresencePolicies::For(const OrgId& org,
                                            const PresenceSettings* own) {
  if (own == nullptr && orgs_.empty()) return gateway_;
  const auto [it, added] =
      orgs_[org].found.try_emplace(own, /*not yet=*/nullptr);
  if (!added) return *it->second;
  const ResolvedPresence resolved = Explain(org, own);
  for (const absl::Status& why_not : {resolved.org, resolved.own}) {
    if (why_not.ok()) continue;
    Log(kWarning, "presence settings are ignored: they do not go together",
        {{"org", org.str()}, {"error", why_not}});
  }
  it->second = &*policies_.insert(resolved.policy).first;
  return *it->second;
}

ResolvedPresence PresencePolicies::Explain(const OrgId& org,
                                           const PresenceSettings* own) const {
  return Resolve(gateway_, OfOrg(org), own == nullptr ? kNothing : *own);
}

size_t PresencePolicies::SettingsHash::operator()(
    const PresenceSettings& s) const {
  // What is inherited hashes like 0 s, which nobody can set.
  return PolicyHash()(With({.heartbeat_interval = {},
                            .stale_after = {},
                            .offline_after = {},
                            .reconnect_grace = {}},
                           s));
}

size_t PresencePolicies::PolicyHash::operator()(const PresencePolicy& p) const {
  return absl::HashOf(p.heartbeat_interval, p.stale_after, p.offline_after,
                      p.reconnect_grace);
}

}  // namespace muster::gateway
