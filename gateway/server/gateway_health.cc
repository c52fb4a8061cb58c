// What the gateway says of its own health, from any thread.

#include "fmt/format.h"
#include "gateway/server/gateway.h"

namespace muster::gateway {

PresenceHealth Gateway::KnownPresence() const {
  if (!ready_) {
    return {.trouble = PresenceHealth::Trouble{started_at_, {}},
            .ready = false};
  }
  MutexLock lock(presence_mu_);
  PresenceHealth presence = presence_;
  // Nobody is heard while the loop stands still; it does not say so itself.
  const absl::Duration still = clock_.Now() - watched_at_;
  if (still > config_.fleet.presence.blind_gap) {
    presence.trouble = {clock_.Wall() - still, BlindReason::kStoodStill};
  }
  return presence;
}

Readiness Gateway::CheckReadiness() const {
  const PresenceHealth presence = KnownPresence();
  const bool stores = store_->health().last_error.ok();
  const bool ready = presence.ready && stores;
  std::string why;
  if (presence.trouble) {
    why = fmt::format(
        R"(,"since":"{}","why":"{}")",
        absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", presence.trouble->since,
                         absl::UTCTimeZone()),
        Words(*presence.trouble));
  }
  return {ready,
          fmt::format(R"({{"ready":{},"presence":"{}"{},"store":"{}"}})", ready,
                      presence.confirmed() ? "confirmed" : "unconfirmed", why,
                      stores ? "ok" : "failing")};
}

}  // namespace muster::gateway
