#include "tests/simulation/callers.h"

#include <utility>

#include "fmt/format.h"
#include "tests/simulation/model_disk.h"
#include "tests/simulation/model_host.h"

namespace muster::simulation {
namespace {

// Everybody loses interest at last.
constexpr uint32_t kTurns = 12;

// What a submission asks for, as one number: timeouts differ by construction.
uint64_t BodyOf(const gateway::CommandRecord& command) {
  return static_cast<uint64_t>(absl::ToInt64Nanoseconds(command.spec.timeout)) *
             1000 +
         MachineOf(command.agent);
}

}  // namespace

void Callers::Withdraw() {
  world_.gateway.Withdraw(person_);
  world_.recorder.Record({.what = What::kWithdrawn, .group = person_});
  ++person_;
}

void Callers::Want(uint32_t machine) {
  if (rights_.Chance(0.05)) Withdraw();
  Call& call = calls_.emplace_back();
  call.machine = machine;
  call.person = person_;
  call.turns = 1 + static_cast<uint32_t>(random_.Below(kTurns));
  call.queue = random_.Chance(0.3);
  call.cancels = random_.Chance(0.25);
  gateway::CommandRecord& wanted = call.wanted;
  wanted.agent = IdOf(machine);
  wanted.issued_by = fmt::format("person-{}", person_);
  wanted.spec.text = "true";
  wanted.spec.timeout = absl::Nanoseconds(random_.Spread(kSecond, 5 * kMinute));
  wanted.spec.kill_grace =
      absl::Nanoseconds(random_.Spread(kMillisecond, 20 * kSecond));
  wanted.spec.delivery_timeout =
      absl::Nanoseconds(random_.Spread(kSecond, 3 * kMinute));
  wanted.spec.output_bytes_max =
      static_cast<uint64_t>(random_.Spread(1000, 16 << 20));
  const auto index = static_cast<uint32_t>(calls_.size() - 1);
  if (random_.Chance(0.6)) {
    call.key = index + 1;
    wanted.idempotency_key = fmt::format("k{}", call.key);
  }
  world_.timeline.Add(
      world_.timeline.now() + random_.Spread(kMillisecond, kMinute),
      Due::kCaller, index);
  Ask(index, false);
}

void Callers::Ask(uint32_t index, bool differently) {
  Call& call = calls_[index];
  // Who may not is not even let in.
  if (!world_.gateway.reachable() || call.person != person_) return;
  gateway::CommandRecord command = call.wanted;
  if (differently) command.spec.timeout += absl::Seconds(1);
  const uint64_t number = ++numbers_;
  command.id = CommandIdOf(number);
  world_.recorder.Record(
      {.what = What::kCommandAsked,
       .code = static_cast<int32_t>(
           absl::ToInt64Milliseconds(command.spec.kill_grace)),
       .machine = call.machine,
       .epoch = call.key,
       .number = number,
       .group = BodyOf(command),
       .length = absl::ToInt64Nanoseconds(command.spec.timeout)});
  world_.recorder.Record(
      {.what = What::kIssued, .number = number, .group = call.person});
  world_.gateway.Submit(
      std::move(command), call.queue,
      [this, index,
       number](const absl::StatusOr<gateway::CommandRecord>& stored) {
        Answered(index, number, stored);
      });
}

void Callers::Answered(uint32_t index, uint64_t number,
                       const absl::StatusOr<gateway::CommandRecord>& stored) {
  Call& call = calls_[index];
  if (!stored.ok()) {
    world_.recorder.Record({.what = What::kCommandRefused,
                            .flag = absl::IsInternal(stored.status()),
                            .machine = call.machine,
                            .number = number});
    return;
  }
  const uint64_t earlier = NumberOf(stored->id);
  accepted_ += earlier == number;
  world_.recorder.Record({.what = What::kCommandAccepted,
                          .machine = call.machine,
                          .epoch = earlier == number ? 0 : earlier,
                          .number = number});
  // After the gateway was put back it may be another one.
  if (!call.command || *call.command != stored->id) call.read = {};
  call.command = stored->id;
}

void Callers::GoOn(uint32_t index) {
  Call& call = calls_[index];
  if (--call.turns > 0) {
    world_.timeline.Add(
        world_.timeline.now() + random_.Spread(100 * kMillisecond, kMinute),
        Due::kCaller, index);
  }
  if (!call.command) {
    if (call.key > 0) Ask(index, false);
  } else if (std::exchange(call.cancels, false) && call.person == person_) {
    world_.gateway.Cancel(*call.command);
  } else if (call.key > 0 && random_.Chance(0.15)) {
    Ask(index, random_.Chance(0.3));
  } else {
    Read(call);
  }
}

void Callers::Read(Call& call) {
  for (const auto stream :
       {gateway::Stream::kStdout, gateway::Stream::kStderr}) {
    const auto number = static_cast<uint64_t>(stream);
    uint64_t& at = call.read[number - 1];
    const uint64_t command = NumberOf(*call.command);
    for (const gateway::OutputRecord& piece :
         world_.gateway.ReadOutput(*call.command, stream, at)) {
      // Somebody who goes away in the middle of it comes back for the rest.
      const bool goes = random_.Chance(0.3);
      const size_t size =
          goes ? 1 + random_.Below(piece.data.size()) : piece.data.size();
      at = piece.offset + size;
      world_.recorder.Record(
          {.what = What::kOutputRead,
           .flag = piece.data.substr(0, size) ==
                   OutputBytes(command, number, piece.offset, size),
           .machine = call.machine,
           .epoch = number,
           .number = command,
           .group = piece.offset,
           .length = static_cast<Nanos>(at)});
      if (goes) break;
    }
  }
}

}  // namespace muster::simulation
