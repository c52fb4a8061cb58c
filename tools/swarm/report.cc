#include "tools/swarm/report.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace muster::swarm {
namespace {

double Ms(absl::Duration d) {
  return static_cast<double>(absl::ToInt64Microseconds(d)) / 1000;
}

double Seconds(absl::Duration d) { return Ms(d) / 1000; }

double PerSecond(uint64_t count, absl::Duration time) {
  return time > absl::ZeroDuration()
             ? static_cast<double>(count) / absl::ToDoubleSeconds(time)
             : 0;
}

std::string Counts(const std::map<std::string, uint64_t>& counts,
                   const SwarmStats& stats) {
  std::string out;
  for (const auto& [name, count] : counts) {
    out += fmt::format("\n  {:<20} {:>8}  {}", name, count,
                       stats.last_words.at(name));
  }
  return out.empty() ? " none" : out;
}

}  // namespace

std::string ProgressLine(const SwarmStats& before, const SwarmStats& now,
                         absl::Duration between) {
  return fmt::format(
      "online {}/{}  heartbeats/s {:.0f}  ack p50 {:.1f} ms  p99 {:.1f} ms  "
      "links opened {}  commands {}",
      now.online, now.machines,
      PerSecond(now.heartbeats - before.heartbeats, between),
      Ms(now.acknowledged.Quantile(0.5)), Ms(now.acknowledged.Quantile(0.99)),
      now.links_opened, now.commands_run);
}

std::string SummaryText(const SwarmStats& stats, const RunFacts& facts) {
  const absl::Duration run = facts.now - facts.dials_began;
  return fmt::format(
      "machines          {} ({} registered in {:.1f} s, {} kept)\n"
      "online            {} now, {} at the least once all were\n"
      "all online after  {}, later not all for {:.2f} s at most\n"
      "heartbeats        {} ({:.0f}/s)\n"
      "acknowledged      p50 {:.1f} ms, p99 {:.1f} ms, at most {:.1f} ms\n"
      "links opened      {}\n"
      "links lost       {}\n"
      "dials failed     {}\n"
      "commands          {} run, {} seen before\n"
      "this process      {:.1f} s of CPU, {} KiB of memory\n",
      stats.machines, facts.registered, Seconds(facts.registration),
      facts.loaded, stats.online, stats.online_min,
      stats.all_online_at
          ? fmt::format("{:.2f} s",
                        Seconds(*stats.all_online_at - facts.dials_began))
          : "never",
      Seconds(stats.not_all_longest), stats.heartbeats,
      PerSecond(stats.heartbeats, run), Ms(stats.acknowledged.Quantile(0.5)),
      Ms(stats.acknowledged.Quantile(0.99)), Ms(stats.acknowledged.max()),
      stats.links_opened, Counts(stats.links_lost, stats),
      Counts(stats.dials_failed, stats), stats.commands_run,
      stats.commands_repeated, Seconds(facts.cpu), facts.memory_kib);
}

std::string SummaryJson(const SwarmStats& stats, const RunFacts& facts) {
  const absl::Duration run = facts.now - facts.dials_began;
  nlohmann::ordered_json all_online_after = nullptr;
  if (stats.all_online_at) {
    all_online_after = Seconds(*stats.all_online_at - facts.dials_began);
  }
  const nlohmann::ordered_json out = {
      {"machines", stats.machines},
      {"registered", facts.registered},
      {"kept", facts.loaded},
      {"registration_s", Seconds(facts.registration)},
      {"duration_s", Seconds(run)},
      {"online", stats.online},
      {"online_min", stats.online_min},
      {"all_online_after_s", all_online_after},
      {"not_all_longest_s", Seconds(stats.not_all_longest)},
      {"heartbeats", stats.heartbeats},
      {"heartbeats_per_s", PerSecond(stats.heartbeats, run)},
      {"acknowledged", stats.acknowledged.count()},
      {"ack_p50_ms", Ms(stats.acknowledged.Quantile(0.5))},
      {"ack_p99_ms", Ms(stats.acknowledged.Quantile(0.99))},
      {"ack_max_ms", Ms(stats.acknowledged.max())},
      {"links_opened", stats.links_opened},
      {"links_lost", stats.links_lost},
      {"dials_failed", stats.dials_failed},
      {"commands_run", stats.commands_run},
      {"commands_seen_before", stats.commands_repeated},
      {"deregistered", stats.deregistered},
      {"cpu_s", Seconds(facts.cpu)},
      {"memory_kib", facts.memory_kib}};
  return out.dump(2) + "\n";
}

}  // namespace muster::swarm
