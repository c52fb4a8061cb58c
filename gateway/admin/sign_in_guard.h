// How often may a password be guessed?

#ifndef MUSTER_GATEWAY_ADMIN_SIGN_IN_GUARD_H_
#define MUSTER_GATEWAY_ADMIN_SIGN_IN_GUARD_H_

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/token_bucket.h"

namespace muster::gateway {

// SignInGuard is told the time, and what came of each attempt. A name that was
// guessed wrong `free_failures` times in a row must wait, twice as long with
// every further failure; so must a source that asks too often, whatever names
// it gives. A name is guarded whether it exists or not. Not thread-safe.
class SignInGuard {
 public:
  struct Options {
    int free_failures = 5;
    absl::Duration lock_min = absl::Minutes(1);
    absl::Duration lock_max = absl::Minutes(15);
    double per_minute_and_source = 10;
    double burst_of_source = 20;
    // After so long without an attempt its failures are forgotten.
    absl::Duration forgotten_after = absl::Hours(1);
    // Names, and sources, that are remembered. When there are more, all new
    // ones wait: who makes them up is not let in either.
    size_t remembered_max = 10'000;
  };

  SignInGuard() : SignInGuard(Options()) {}
  explicit SignInGuard(Options options) : options_(options) {}

  // How long this attempt must wait; zero: it may be made, and counts as a
  // failure until Succeeded().
  absl::Duration Ask(const OrgId& org, const std::string& name,
                     const std::string& source, Instant now);
  void Succeeded(const OrgId& org, const std::string& name);

 private:
  struct Name {
    int failures = 0;
    Instant asked_at;  // The last time.
    Instant locked_until;
  };
  void ForgetOld(Instant now);

  const Options options_;
  std::map<std::pair<OrgId, std::string>, Name> names_;
  std::map<std::string, TokenBucket> sources_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_SIGN_IN_GUARD_H_
