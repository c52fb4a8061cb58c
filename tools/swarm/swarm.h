// Thousands of honest agents in one process.

#ifndef MUSTER_TOOLS_SWARM_SWARM_H_
#define MUSTER_TOOLS_SWARM_SWARM_H_

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "libprotocol/base/thread_event_loop.h"
#include "tools/swarm/identity_store.h"
#include "tools/swarm/swarm_agent.h"
#include "tools/swarm/swarm_stats.h"

namespace muster::swarm {

// What the machines do beside being there.
enum class Profile {
  kSteady,  // Nothing.
  kStorm,  // Every so often a share of the links breaks; dialled again at once.
  kChurn,  // Every so often a share goes: half break, half say goodbye and
           // come back as a new instance within the same time.
};

struct SwarmPlan {
  Profile profile = Profile::kSteady;
  absl::Duration every;
  double share = 0;  // 0 … 1
  std::string name_prefix;
  bool leave_fleet = false;  // At the end the machines deregister.
};

// Swarm owns the agents and the loop they live on. One thread may call it.
class Swarm {
 public:
  // Starts dialling, at most kDialsAtOnce at a time. `clock` must outlive it.
  Swarm(const Clock& clock, std::vector<Identity> identities, SwarmPlan plan);

  // As Stop().
  ~Swarm();

  // A copy of the counters.
  SwarmStats stats();

  // Says goodbye for every machine; returns when no link is left. Idempotent.
  void Stop();

 private:
  // Of the first dials; the rest waits. Enough to keep a gateway busy, few
  // enough that the heartbeats of those who are there do not wait behind
  // handshakes (128 of them: up to 1.7 s on two cores; 32: 0.4 s).
  static constexpr int kDialsAtOnce = 32;

  void StartMore();
  void PlanNext();
  void Act();
  void Act(SwarmAgent& agent);
  void OnLoop(const std::function<void()>& f);

  // Constant after construction.
  const SwarmPlan plan_;

  // Touched only on loop_ while it runs.
  SwarmStats stats_;
  std::vector<std::unique_ptr<SwarmAgent>> agents_;
  size_t started_ = 0;
  bool stopping_ = false;
  std::mt19937_64 random_{std::random_device{}()};

  ThreadEventLoop loop_;  // Last: runs when everything above exists.
};

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_SWARM_H_
