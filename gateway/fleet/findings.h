// What an operator should know of a machine that is online all the same.

#ifndef MUSTER_GATEWAY_FLEET_FINDINGS_H_
#define MUSTER_GATEWAY_FLEET_FINDINGS_H_

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {

// Name of the finding and one line about it.
using Health = std::map<std::string, std::string>;
inline constexpr char kFlappingFinding[] = "flapping";
inline constexpr char kSharedIdFinding[] = "shared_machine_id";

// Flapping counts the links of one machine.
class Flapping {
 public:
  static constexpr size_t kLinks = 5;
  static constexpr absl::Duration kWindow = absl::Minutes(10);

  void LinkOpened(Instant now) {
    opened_[next_] = now;
    next_ = (next_ + 1) % kLinks;
    if (count_ < kLinks) ++count_;
  }
  // Until when the last kLinks links lie within one kWindow.
  Instant Until() const {
    return count_ < kLinks ? Instant() : opened_[next_] + kWindow;
  }
  bool Lasts(Instant now) const { return now < Until(); }

 private:
  std::array<Instant, kLinks> opened_ = {};  // A ring; next_ is the oldest.
  size_t next_ = 0;
  size_t count_ = 0;
};

// SharedIds finds machines of one org that are heard under the same machine-id:
// golden images and containers share it.
class SharedIds {
 public:
  // Who is heard under that machine-id, with or without `agent` from now on;
  // nobody if it has entered already, or the machine-id is empty.
  const std::vector<AgentId>& Enter(const OrgId& org,
                                    const std::string& machine_id,
                                    const AgentId& agent);
  const std::vector<AgentId>& Leave(const OrgId& org,
                                    const std::string& machine_id,
                                    const AgentId& agent);

 private:
  const std::vector<AgentId> none_{};
  absl::flat_hash_map<std::pair<OrgId, std::string>, std::vector<AgentId>>
      heard_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_FINDINGS_H_
