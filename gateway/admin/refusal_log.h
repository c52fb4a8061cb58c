// Who was refused at the registration, as far as that is worth remembering.

#ifndef MUSTER_GATEWAY_ADMIN_REFUSAL_LOG_H_
#define MUSTER_GATEWAY_ADMIN_REFUSAL_LOG_H_

#include <cstdint>

#include "gateway/store/store_client.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/log_limit.h"
#include "libprotocol/base/token_bucket.h"

namespace muster::gateway {

// RefusalLog keeps strangers from filling the disk and the log: only the
// refusals of a token that exists become rows, at most 60 in a minute, of which
// the store keeps the newest; all others are counted. The log has a line in ten
// seconds for each of the two kinds. Lives on the fleet loop; both must outlive
// it.
class RefusalLog {
 public:
  RefusalLog(const Clock& clock, StoreClient& store)
      : clock_(clock), store_(store) {}

  // Waits for no disk.
  void Take(const EnrollmentRequest& request, RefusalReason reason);

  // Since the gateway started. Of no token that it knows:
  uint64_t unknown_tokens() const { return unknown_tokens_; }
  // Of one that it knows, and too many, or the store was away.
  uint64_t not_recorded() const { return not_recorded_; }

 private:
  const Clock& clock_;
  StoreClient& store_;
  uint64_t unknown_tokens_ = 0;
  uint64_t not_recorded_ = 0;
  TokenBucket rows_{0.5, 30};  // Per second, at once: 60 in any minute.
  LogLimit lines_{absl::Seconds(10)};
  LogLimit unknown_lines_{absl::Seconds(10)};
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_REFUSAL_LOG_H_
