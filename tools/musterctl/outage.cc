#include "tools/musterctl/outage.h"

#include <algorithm>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "tools/musterctl/age.h"

namespace muster::ctl {
namespace {

// Pauses between two questions to a gateway that does not answer.
constexpr absl::Duration kRetryFirst = absl::Milliseconds(500);
constexpr absl::Duration kRetryMax = absl::Seconds(10);

}  // namespace

void Outage::Failed(const absl::Status& error) {
  if (!since_) {
    since_ = tool_.clock.Now();
    pause_ = kRetryFirst;
  }
  const std::string text(ToStd(error.message()));
  if (text != told_) {
    tool_.console.Err(fmt::format("warning: {}; asking again\n", text));
  }
  told_ = text;
  tool_.patience.Pause(pause_);
  pause_ = std::min(2 * pause_, kRetryMax);
}

void Outage::Answered(std::string_view what_of_it) {
  if (!since_) return;
  tool_.console.Err(fmt::format("the gateway answers again after {}{}\n",
                                ShortDuration(tool_.clock.Now() - *since_),
                                what_of_it));
  since_.reset();
  told_.clear();
}

}  // namespace muster::ctl
