// bench-load: links that answer every acknowledgement with the next heartbeat.
//
//   bench-load HOST:PORT LINKS SECONDS [STATE]
//
// STATE is the folder of a swarm whose identities are used; without it there is
// no TLS. Prints how many round trips there were in SECONDS after all links had
// been welcomed, as JSON.

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/synchronization/notification.h"
#include "fmt/format.h"
#include "grpcpp/grpcpp.h"
#include "libprotocol/base/deadlock_search.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/protocol_version.h"
#include "muster/v1/agent_link.grpc.pb.h"
#include "tests/bench/dial.h"
#include "tools/swarm/identity_store.h"

namespace muster::bench {
namespace {

struct Counters {
  std::atomic<int64_t> round_trips = 0;
  std::atomic<int> welcomed = 0;
  std::atomic<int> open = 0;
};

// Every reaction may run on any of gRPC's threads; a read and a write are in
// flight together, and the later of the two goes on.
class Link final
    : public grpc::ClientBidiReactor<v1::AgentMessage, v1::GatewayMessage> {
 public:
  Link(std::shared_ptr<grpc::Channel> channel, int number, Counters& counters)
      : counters_(counters), stub_(v1::AgentLink::NewStub(std::move(channel))) {
    context_.AddMetadata("agent-id", fmt::format("machine-{}", number));
    v1::Hello& hello = *out_.mutable_hello();
    hello.set_protocol_min(wire::kOurProtocol.min);
    hello.set_protocol_max(wire::kOurProtocol.max);
    hello.mutable_facts()->set_hostname(fmt::format("machine-{}", number));
    hello.mutable_instance()->set_boot_id("bench");
    hello.mutable_instance()->set_process_start_id("bench");
    ++counters_.open;
    stub_->async()->Connect(&context_, this);
    Turn();
    StartCall();
  }

  void Cancel() { context_.TryCancel(); }

 private:
  void Turn() {
    in_flight_ = 2;
    StartRead(&in_);
    StartWrite(&out_);
  }
  void OnReadDone(bool ok) override { Done(ok); }
  void OnWriteDone(bool ok) override { Done(ok); }
  void Done(bool ok) {
    if (!ok) broken_ = true;
    if (in_flight_.fetch_sub(1) != 1 || broken_) return;
    if (in_.has_disconnect()) return;
    if (in_.has_welcome()) {
      epoch_ = in_.welcome().epoch();
      ++counters_.welcomed;
    } else {
      counters_.round_trips.fetch_add(1, std::memory_order_relaxed);
    }
    v1::Heartbeat& heartbeat = *out_.mutable_heartbeat();
    heartbeat.set_epoch(epoch_);
    heartbeat.set_sequence(++sequence_);
    heartbeat.set_acknowledged(in_.has_welcome()
                                   ? in_.welcome().acknowledgement()
                                   : in_.heartbeat_ack().acknowledgement());
    *heartbeat.mutable_sent_at() = wire::ToProto(SystemClock().Wall());
    *heartbeat.mutable_round_trip() = wire::ToProto(absl::Milliseconds(1));
    Turn();
  }
  void OnDone(const grpc::Status&) override { --counters_.open; }

  Counters& counters_;
  const std::unique_ptr<v1::AgentLink::Stub> stub_;
  grpc::ClientContext context_;
  v1::AgentMessage out_;
  v1::GatewayMessage in_;
  std::atomic<int> in_flight_ = 0;
  std::atomic<bool> broken_ = false;
  uint64_t epoch_ = 0;
  uint64_t sequence_ = 0;
};

bool WaitUntil(const std::atomic<int>& counter, int value) {
  constexpr int kPatienceMs = 60'000;
  for (int i = 0; i < kPatienceMs && counter != value; ++i) usleep(1000);
  return counter == value;
}

int Load(const std::string& endpoint, int links, double seconds,
         const swarm::IdentityStore* identities) {
  // Dialled a few at a time: a handshake waits for a processor.
  constexpr int kAtOnce = 64;
  Counters counters;
  std::vector<std::unique_ptr<Link>> all;
  for (int i = 0; i < links; ++i) {
    auto channel = Dial(endpoint, identities, i);
    if (channel == nullptr) {
      fmt::print(stderr, "no identity {}\n", i);
      return 1;
    }
    all.push_back(std::make_unique<Link>(std::move(channel), i, counters));
    if (i % kAtOnce == kAtOnce - 1) WaitUntil(counters.welcomed, i + 1);
  }
  if (!WaitUntil(counters.welcomed, links)) {
    fmt::print(stderr, "only {} of {} were welcomed\n",
               counters.welcomed.load(), links);
    return 1;
  }
  const SystemClock clock;
  usleep(500'000);
  const Instant begin = clock.Now();
  const int64_t before = counters.round_trips;
  fmt::print("counting\n");
  std::fflush(stdout);
  usleep(static_cast<useconds_t>(seconds * 1e6));
  const int64_t after = counters.round_trips;
  const double took = absl::ToDoubleSeconds(clock.Now() - begin);
  const int lost = links - counters.open;
  fmt::print("{{\"round_trips\": {}, \"seconds\": {}, \"lost\": {}}}\n",
             after - before, took, lost);
  std::fflush(stdout);
  for (const auto& link : all) link->Cancel();
  return WaitUntil(counters.open, 0) && lost == 0 ? 0 : 1;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  using namespace muster;
  SkipDeadlockSearch();
  int links = 0;
  double seconds = 0;
  if ((argc != 4 && argc != 5) || !absl::SimpleAtoi(argv[2], &links) ||
      !absl::SimpleAtod(argv[3], &seconds)) {
    fmt::print(stderr, "usage: bench-load HOST:PORT LINKS SECONDS [STATE]\n");
    return 2;
  }
  if (argc == 4) return bench::Load(argv[1], links, seconds, nullptr);
  const auto identities = bench::IdentitiesIn(argv[4]);
  if (!identities.ok()) {
    fmt::print(stderr, "{}: {}\n", argv[4], identities.status().ToString());
    return 1;
  }
  return bench::Load(argv[1], links, seconds, &*identities);
}
