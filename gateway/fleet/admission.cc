#include "gateway/fleet/admission.h"

#include <algorithm>

namespace muster::gateway {

std::optional<absl::Duration> Admission::Ask(Instant now) {
  const double refill =
      absl::ToDoubleSeconds(now - refilled_) * limits_.links_per_second_max;
  tokens_ = std::min(limits_.burst, tokens_ + refill);
  refilled_ = now;
  if (tokens_ >= 1) {
    tokens_ -= 1;
    return std::nullopt;
  }
  const absl::Duration place = absl::Seconds(1 / limits_.links_per_second_max);
  booked_until_ = std::max(booked_until_, now) + place;
  return booked_until_ - now;
}

}  // namespace muster::gateway
