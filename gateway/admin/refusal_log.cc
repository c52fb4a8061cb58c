#include "gateway/admin/refusal_log.h"

#include "gateway/fleet/errors.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

void RefusalLog::Take(const EnrollmentRequest& request, RefusalReason reason) {
  const Instant now = clock_.Now();
  const bool unknown = reason == RefusalReason::kUnknown;
  LogLimit& lines = unknown ? unknown_lines_ : lines_;
  if (const auto held = lines.Pass(now)) {
    Log(kWarning, "registration refused",
        {{"reason", NameOf(reason)},
         {"from", request.address},
         {"hostname", request.facts.hostname},
         {"held_back", *held}});
  }
  if (unknown) {
    ++unknown_tokens_;
    return;
  }
  if (!rows_.Take(now)) {
    ++not_recorded_;
    return;
  }
  store_.Write(
      [request, reason](FleetStore& store) {
        return store.AddRefusal(request, reason);
      },
      [this](const absl::Status& stored) {
        if (!stored.ok()) ++not_recorded_;
      });
}

}  // namespace muster::gateway
