#include "gateway/admin/sign_in_guard.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace muster::gateway {

absl::Duration SignInGuard::Ask(const OrgId& org, const std::string& name,
                                const std::string& source, Instant now) {
  ForgetOld(now);
  if (names_.size() >= options_.remembered_max ||
      sources_.size() >= options_.remembered_max) {
    return options_.lock_min;
  }
  const double per_second = options_.per_minute_and_source / 60;
  TokenBucket& bucket =
      sources_
          .try_emplace(source,
                       TokenBucket(per_second, options_.burst_of_source))
          .first->second;
  if (const absl::Duration wait = bucket.Wait(now);
      wait > absl::ZeroDuration()) {
    return wait;
  }
  Name& known = names_[{org, name}];
  if (now < known.locked_until) return known.locked_until - now;
  (void)bucket.Take(now);
  if (now - known.asked_at >= options_.forgotten_after) known.failures = 0;
  known.asked_at = now;
  ++known.failures;
  const int beyond = known.failures - options_.free_failures;
  if (beyond >= 0) {
    known.locked_until =
        now + std::min(options_.lock_max,
                       options_.lock_min * std::exp2(std::min(beyond, 10)));
  }
  return absl::ZeroDuration();
}

void SignInGuard::Succeeded(const OrgId& org, const std::string& name) {
  names_.erase({org, name});
}

void SignInGuard::ForgetOld(Instant now) {
  if (names_.size() < options_.remembered_max &&
      sources_.size() < options_.remembered_max) {
    return;
  }
  std::erase_if(names_, [&](const auto& entry) {
    return entry.second.locked_until + options_.lock_max < now;
  });
  // One that is full again is as good as new.
  for (auto it = sources_.begin(); it != sources_.end();) {
    it = it->second.Full(now) ? sources_.erase(it) : std::next(it);
  }
}

}  // namespace muster::gateway
