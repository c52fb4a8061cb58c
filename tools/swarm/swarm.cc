#include "tools/swarm/swarm.h"

#include <algorithm>
#include <future>
#include <utility>

#include "tools/swarm/registrar.h"

namespace muster::swarm {
namespace {

constexpr absl::Duration kStartPause = absl::Milliseconds(20);
// What an agent that is told to stop promises.
constexpr absl::Duration kBackWithin = absl::Seconds(30);

}  // namespace

Swarm::Swarm(const Clock& clock, std::vector<Identity> identities,
             SwarmPlan plan)
    : plan_(std::move(plan)), loop_(clock) {
  OnLoop([&] {
    stats_.machines = static_cast<int>(identities.size());
    for (size_t i = 0; i < identities.size(); ++i) {
      const v1::RegisterResponse& known = identities[i].registration;
      agent::DialOptions dial;
      dial.endpoint = known.endpoint();
      dial.credentials = agent::MakeAgentCredentials(
          known.ca_pem(), known.certificate_pem(), identities[i].key_pem);
      agents_.push_back(std::make_unique<SwarmAgent>(
          loop_, stats_, std::move(dial),
          FactsOf(plan_.name_prefix, static_cast<int>(i))));
    }
    StartMore();
    PlanNext();
  });
}

Swarm::~Swarm() { Stop(); }

void Swarm::OnLoop(const std::function<void()>& f) {
  std::promise<void> ran;
  if (loop_.Post([&] {
        f();
        ran.set_value();
      })) {
    ran.get_future().wait();
  }
}

SwarmStats Swarm::stats() {
  SwarmStats copy;
  OnLoop([&] { copy = stats_; });
  return copy;
}

void Swarm::StartMore() {
  if (stopping_) return;
  const size_t limit = static_cast<size_t>(stats_.settled) + kDialsAtOnce;
  while (started_ < std::min(agents_.size(), limit)) {
    agents_[started_++]->Start();
  }
  if (started_ == agents_.size()) return;
  loop_.PostAt(loop_.clock().Now() + kStartPause, [this] { StartMore(); });
}

void Swarm::PlanNext() {
  if (plan_.profile == Profile::kSteady) return;
  loop_.PostAt(loop_.clock().Now() + plan_.every, [this] {
    if (stopping_) return;
    Act();
    PlanNext();
  });
}

// Nobody acts before everyone has been there once.
void Swarm::Act() {
  if (stats_.settled < static_cast<int>(agents_.size())) return;
  std::bernoulli_distribution chosen(plan_.share);
  for (const auto& agent : agents_) {
    if (chosen(random_) && !agent->leaving()) Act(*agent);
  }
}

void Swarm::Act(SwarmAgent& agent) {
  if (plan_.profile == Profile::kStorm || random_() % 2 == 0) {
    agent.Drop();
    return;
  }
  const double part = std::uniform_real_distribution<double>(0, 1)(random_);
  agent.Leave(v1::GOODBYE_REASON_TERMINATED, kBackWithin,
              [this, &agent, pause = part * plan_.every] {
                loop_.PostAt(loop_.clock().Now() + pause, [this, &agent] {
                  if (!stopping_) agent.Start();
                });
              });
}

void Swarm::Stop() {
  if (agents_.empty()) return;
  std::promise<void> done;
  size_t left = 0;
  OnLoop([&] {
    stopping_ = true;
    left = agents_.size();
    const auto one_less = [&left, &done] {
      if (--left == 0) done.set_value();
    };
    for (const auto& agent : agents_) {
      agent->Leave(plan_.leave_fleet ? v1::GOODBYE_REASON_LEAVE
                                     : v1::GOODBYE_REASON_STOP,
                   std::nullopt, one_less);
    }
  });
  done.get_future().wait();
  loop_.Stop();
  agents_.clear();
}

}  // namespace muster::swarm
