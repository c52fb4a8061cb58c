// Whose settings hold for which machine: its own, those of its org, or the
// gateway's?

#ifndef MUSTER_GATEWAY_FLEET_PRESENCE_SETTINGS_H_
#define MUSTER_GATEWAY_FLEET_PRESENCE_SETTINGS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/fleet/presence.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// What can be set, and where it is in a policy. In the order of
// muster.v1.PresenceSetting, which begins at 1.
inline constexpr std::array<
    std::pair<PresenceField, absl::Duration PresencePolicy::*>, 4>
    kPresenceFields = {{
        {&PresenceSettings::heartbeat_interval,
         &PresencePolicy::heartbeat_interval},
        {&PresenceSettings::stale_after, &PresencePolicy::stale_after},
        {&PresenceSettings::offline_after, &PresencePolicy::offline_after},
        {&PresenceSettings::reconnect_grace, &PresencePolicy::reconnect_grace},
    }};

// `settings` after the edit.
PresenceSettings Edited(PresenceSettings settings, const PresenceEdit& edit);

// What holds for a machine with these settings of its org and of its own.
struct ResolvedPresence {
  PresencePolicy policy;
  // Not OK: they cannot hold together with what is below them, and none does.
  // That can only be when what is below has changed since they were set.
  absl::Status org;
  absl::Status own;
};
ResolvedPresence Resolve(const PresencePolicy& gateway,
                         const PresenceSettings& org,
                         const PresenceSettings& own);

// PresencePolicies keeps the settings of orgs and machines, each distinct value
// once: a machine costs a pointer. Not thread-safe: it lives on the fleet loop.
class PresencePolicies {
 public:
  explicit PresencePolicies(const PresencePolicy& gateway)
      : gateway_(gateway) {}
  PresencePolicies(const PresencePolicies&) = delete;
  PresencePolicies& operator=(const PresencePolicies&) = delete;

  // The kept copy, valid as long as this lives; nullptr if nothing is set.
  const PresenceSettings* Keep(const PresenceSettings& settings);

  void SetOrg(const OrgId& org, const PresenceSettings& settings);
  const PresenceSettings& OfOrg(const OrgId& org) const;

  // What holds for machines of `org` with `own` settings (as Keep() gave them).
  // Valid as long as this lives. Cheap: asked with every heartbeat.
  const PresencePolicy& For(const OrgId& org, const PresenceSettings* own);

  // The same, with the reason if one is ignored.
  ResolvedPresence Explain(const OrgId& org, const PresenceSettings* own) const;

  const PresencePolicy& gateway() const { return gateway_; }

  // What was ever set is kept: so many different ones are enough.
  bool full() const { return settings_.size() >= kDistinctMax; }
  static constexpr size_t kDistinctMax = 100'000;  // 30 MB.

 private:
  struct SettingsHash {
    size_t operator()(const PresenceSettings& s) const;
  };
  struct PolicyHash {
    size_t operator()(const PresencePolicy& p) const;
  };
  struct Org {
    PresenceSettings settings;
    // What was found for machines with these settings of their own.
    absl::flat_hash_map<const PresenceSettings*, const PresencePolicy*> found;
  };

  const PresencePolicy gateway_;
  absl::node_hash_set<PresenceSettings, SettingsHash> settings_;
  absl::node_hash_set<PresencePolicy, PolicyHash> policies_;
  // Orgs in which anything is set.
  absl::flat_hash_map<OrgId, Org> orgs_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_PRESENCE_SETTINGS_H_
