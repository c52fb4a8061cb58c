#include "tests/simulation/gateway_node.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "gateway/store/store_rules.h"
#include "tests/simulation/gateway_port.h"

namespace muster::simulation {
namespace {

using gateway::Cause;
using gateway::CommandRecord;
using gateway::DisconnectReason;
using gateway::Domain;
using gateway::Fleet;
using gateway::Machine;
using gateway::MachineRecord;
using gateway::Status;
using gateway::Verdict;

void Describe(Event& event, const std::optional<Verdict>& verdict) {
  if (!verdict) return;
  event.verdict = true;
  event.domain = verdict->domain;
  event.cause = verdict->cause;
  event.confidence = verdict->confidence;
  event.flag = !verdict->summary.empty() && verdict->summary.size() <= 48;
  if (verdict->cause == Cause::kDuplicateIdentity) {
    // Both must be named.
    const std::string& summary = verdict->summary;
    event.flag &= summary.starts_with("identity used twice at 10.") ||
                  (summary.starts_with("identity at 10.") &&
                   summary.find(" and 10.") != std::string::npos);
  }
}

// It is stored as a part of an incident that is open, the only one of its
// group.
bool IsOfTheOpenIncident(const DiskImage& image, const MachineRecord& machine) {
  const auto found = image.open_incidents.find(machine.incident);
  return found != image.open_incidents.end() &&
         std::ranges::count(
             image.open_incidents, found->second.group,
             [](const auto& entry) { return entry.second.group; }) == 1;
}

bool IsHeld(const MachineRecord& record) {
  return record.status == Status::kStale && record.verdict &&
         record.verdict->cause == Cause::kNetworkGroup;
}

// Subnets have numbers, from 1 on; 0 if `text` names none.
uint64_t GroupIn(const std::string& text) {
  const size_t subnet = text.find("10.1.");
  return subnet == std::string::npos
             ? 0
             : std::strtoull(text.c_str() + subnet + 5, nullptr, 10);
}

}  // namespace

GatewayNode::GatewayNode(World world, gateway::FleetOptions options)
    : world_(world),
      options_(std::move(options)),
      random_(world.seed, 'G'),
      known_(world.machines) {
  host_booted_ = random_.Between(kMinute, 1000 * kDay);
}

GatewayNode::~GatewayNode() { fleet_.reset(); }

// --- Life and death --------------------------------------------------------

void GatewayNode::Start(Nanos opens_after) {
  ++life_;
  power_ = true;
  world_.network.SetGatewayHostUp(true);
  loop_ = std::make_unique<SimLoop>(host_booted_);
  SetNow();
  effects_left_ = 0;
  dying_ = false;
  published_ = 0;
  blind_ = absl::ZeroDuration();
  journal_ = std::make_unique<ModelJournal>(
      *loop_, world_.timeline, world_.recorder, image_, mood_, life_,
      world_.seed, [this] { return Effect(); }, [this] { dying_ = true; });
  fleet_ = std::make_unique<Fleet>(*loop_, *journal_, options_);
  fleet_->commands().AskBeforeSending(
      [this](const std::string& person, const OrgId&, absl::Time) {
        return !withdrawn_.contains(person);
      });
  if (world_.accepts_per_second > 0) door_.emplace(world_.accepts_per_second);
  std::vector<MachineRecord> machines;
  for (const auto& [id, machine] : image_.machines) {
    machines.push_back(machine);
  }
  ++image_.run;
  std::vector<CommandRecord> commands;
  for (const auto& [id, command] : image_.commands) {
    if (gateway::IsOpen(command)) commands.push_back(command);
  }
  std::vector<gateway::IncidentRecord> incidents;
  for (const auto& [id, incident] : image_.open_incidents) {
    incidents.push_back(incident);
  }
  fleet_->Restore(image_.run, {.machines = std::move(machines),
                               .open_commands = std::move(commands),
                               .open_incidents = std::move(incidents)});
  world_.timeline.Add(world_.timeline.now() + opens_after, Due::kGatewayOpen, 0,
                      life_);
}

void GatewayNode::StartDue(uint32_t life) {
  if (life == life_ && fleet_ == nullptr) Start(start_time_);
}

void GatewayNode::Open(uint32_t life) {
  if (life != life_ || fleet_ == nullptr || open_) return;
  SetNow();
  fleet_->Open();
  open_ = true;
  world_.recorder.Record(
      {.what = What::kStalled, .length = world_.timeline.now() - down_since_});
  world_.recorder.Record(
      {.what = What::kOpened, .length = ToNanos(fleet_->HeartbeatInterval())});
  for (uint32_t i = 0; i < known_.size(); ++i) {
    known_[i] = {};
    Machine* machine = fleet_->machines().Find(IdOf(i));
    if (machine == nullptr || machine->record.deleted_at) continue;
    known_[i] = {machine, machine->record.status,
                 machine->record.transition_sequence};
    known_[i].held = IsHeld(machine->record);
    Event restored{.what = What::kRestored,
                   .to = machine->presence.status(),
                   .machine = i,
                   .number = known_[i].sequence,
                   .group = GroupIn(machine->record.address)};
    if (const auto promise = machine->presence.promise_end()) {
      restored.length = ToNanos(*promise - loop_->Now());
    }
    Describe(restored, machine->record.verdict);
    restored.flag = IsOfTheOpenIncident(image_, image_.machines[IdOf(i)]);
    world_.recorder.Record(restored);
  }
  AfterTask();
}

void GatewayNode::Crash(bool power) {
  if (power_ && power) {
    power_ = false;
    world_.network.SetGatewayHostUp(false);
    host_booted_ = random_.Between(kSecond, kMinute) - world_.timeline.now();
  }
  if (fleet_ == nullptr) return;
  world_.recorder.Record({.what = What::kCrashed, .flag = power});
  if (open_) {
    down_since_ = stalled_ ? stalled_since_ : world_.timeline.now();
  }
  journal_->Crash(random_.Chance(0.5));
  fleet_.reset();
  ports_.clear();
  journal_.reset();
  loop_.reset();
  door_.reset();
  socket_.clear();
  open_ = stopping_ = stalled_ = store_stalled_ = commit_missed_ = false;
  timer_armed_ = door_armed_ = kNever;
  world_.timeline.Add(world_.timeline.now() + down_time_, Due::kGatewayStart, 0,
                      ++life_);
  world_.network.ForEach([&](ConnectionId id, uint32_t) {
    world_.network.Close(id, Network::kDown, !power);
  });
}

void GatewayNode::Stop(Nanos drain) {
  if (fleet_ == nullptr || !open_ || stalled_) return Crash(false);
  world_.recorder.Record({.what = What::kStopping});
  down_since_ = world_.timeline.now();
  open_ = false;
  stopping_ = true;
  SetNow();
  fleet_->Close({DisconnectReason::kDraining, "stops", {}});
  world_.timeline.Add(down_since_ + drain, Due::kGatewayEnd, 0, life_);
  AfterTask();
}

void GatewayNode::EndDue(uint32_t life) {
  if (life == life_ && fleet_ != nullptr) Crash(false);
}

void GatewayNode::BackUp() {
  copy_ = image_;
  world_.recorder.Record({.what = What::kBackedUp});
}

void GatewayNode::RestoreCopy() {
  if (!copy_) return;
  Crash(false);
  image_ = *copy_;
  world_.recorder.Record({.what = What::kRolledBack});
}

bool GatewayNode::Effect() {
  if (dying_) return false;
  if (effects_left_ > 0 && --effects_left_ == 0) dying_ = true;
  return !dying_;
}

void GatewayNode::Stall(Nanos length, bool store) {
  if (fleet_ == nullptr || !open_) return;
  if (!stalled_) {
    stalled_ = true;
    stalled_since_ = stalled_until_ = world_.timeline.now();
  }
  store_stalled_ |= store;
  stalled_until_ = std::max(stalled_until_, world_.timeline.now() + length);
  world_.timeline.Add(stalled_until_, Due::kGatewayResume, 0, ++pause_);
}

void GatewayNode::Resume(uint32_t pause) {
  if (pause != pause_ || !stalled_) return;
  stalled_ = store_stalled_ = false;
  SetNow();
  world_.recorder.Record({.what = What::kStalled,
                          .length = world_.timeline.now() - stalled_since_});
  if (std::exchange(commit_missed_, false)) journal_->Commit();
  const bool timers_first = random_.Chance(0.5);
  if (timers_first) RunTimers();
  DrainSockets();
  RunTimers();
  AfterTask();
  LetIn();
}

void GatewayNode::Heal() {
  if (stalled_) Resume(pause_);
  mood_ = {};
  down_time_ = start_time_ = kSecond;
  if (fleet_ == nullptr) Start(start_time_);
}

// --- Tasks -----------------------------------------------------------------

void GatewayNode::SetNow() {
  const Nanos now = world_.timeline.now();
  loop_->SetNow(now, wall_.At(now));
}

void GatewayNode::TimerDue() {
  if (world_.timeline.now() < timer_armed_) return;  // An earlier one came.
  timer_armed_ = kNever;
  if (fleet_ == nullptr || stalled_) return;
  SetNow();
  RunTimers();
  AfterTask();
}

void GatewayNode::RunTimers() {
  while (!dying_ && loop_->RunTimer()) loop_->RunReady();
  LookIfChanged();  // Before anything else is handled.
}

void GatewayNode::CommitDue(uint32_t life) {
  if (life != life_ || journal_ == nullptr) return;
  if (store_stalled_) {
    commit_missed_ = true;
    return;
  }
  SetNow();
  journal_->Commit();
  if (!stalled_) AfterTask();
}

void GatewayNode::AfterTask() {
  loop_->RunReady();
  if (dying_) {
    Crash(false);
    return;
  }
  LookIfChanged();
  const Nanos next = loop_->NextTimer();
  if (next < timer_armed_) {
    timer_armed_ = next;
    world_.timeline.Add(next, Due::kGatewayTimer);
  }
}

void GatewayNode::LookIfChanged() {
  if (!open_ && !stopping_) return;
  LookWhetherBlind();
  const uint64_t published = fleet_->events().published();
  if (!journal_->TakeTransitionSeen() && published == published_) return;
  published_ = published;
  LookAtAll();
}

void GatewayNode::LookWhetherBlind() {
  absl::Duration blind;
  for (const auto& [reason, length] : fleet_->counters().blind) {
    if (reason == gateway::BlindReason::kStoodStill ||
        reason == gateway::BlindReason::kSuspended) {
      blind += length;
    }
  }
  const Nanos length = ToNanos(blind - std::exchange(blind_, blind));
  if (length == 0) return;
  world_.recorder.Record({.what = What::kBlind, .length = length});
}

void GatewayNode::LookAtAll() {
  for (uint32_t i = 0; i < known_.size(); ++i) Look(i);
  for (uint32_t i = 0; i < known_.size(); ++i) LookWhetherHeld(i);
}

void GatewayNode::LookWhetherHeld(uint32_t machine) {
  Known& known = known_[machine];
  if (known.machine == nullptr) return;
  const auto& verdict = known.machine->record.verdict;
  const bool held = IsHeld(known.machine->record);
  if (std::exchange(known.held, held) || !held) return;
  // "silent with others of 10.1.7.0/24"
  const uint64_t group = GroupIn(verdict->summary);
  world_.recorder.Record(
      {.what = What::kHeld, .machine = machine, .group = group});
}

void GatewayNode::Look(uint32_t machine) {
  Known& known = known_[machine];
  if (known.machine == nullptr) return;
  const MachineRecord& record = known.machine->record;
  if (record.transition_sequence == known.sequence &&
      record.status == known.status) {
    return;
  }
  Event event{.what = What::kDecided,
              .from = known.status,
              .to = record.status,
              .machine = machine,
              .epoch = record.epoch,
              .number = record.transition_sequence};
  Describe(event, record.verdict);
  if (event.to == Status::kStale && event.cause == Cause::kNetworkGroup) {
    // What was said first has already been replaced; LookWhetherHeld() tells.
    event.domain = Domain::kUnknown;
    event.cause = Cause::kUndetermined;
    event.confidence = gateway::Confidence::kUndetermined;
  }
  if (record.transition_sequence == known.sequence + 2) {
    // Two steps in one task: the way to offline leads through stale.
    Event first = event;
    first.to = event.from = Status::kStale;
    first.number = known.sequence + 1;
    world_.recorder.Record(first);
  }
  world_.recorder.Record(event);
  known.status = record.status;
  known.sequence = record.transition_sequence;
}

void GatewayNode::Audit() {
  if (!open_ || stalled_) return;
  LookAtAll();
  gateway::StatusCounts counted;
  for (const Known& known : known_) {
    if (known.machine == nullptr || known.machine->record.deleted_at) continue;
    if (gateway::Silenced(known.machine->record)) {
      ++counted.silenced;
      continue;
    }
    switch (known.machine->record.status) {
      case Status::kOnline:
        ++counted.online;
        counted.degraded += !known.machine->health.empty();
        if (VouchesForSilent(*known.machine)) {
          world_.recorder.Record(
              {.what = What::kVouched,
               .machine = MachineOf(known.machine->record.id)});
        }
        break;
      case Status::kStale:
        ++counted.stale;
        break;
      case Status::kOffline:
        ++counted.offline;
        break;
    }
  }
  if (!(counted == fleet_->machines().Counts(DefaultOrg()))) {
    world_.recorder.Record({.what = What::kMiscounted});
  }
  if (!follower_.ReadOn(*fleet_).empty()) {
    world_.recorder.Record({.what = What::kMiscounted, .flag = true});
  }
}

bool GatewayNode::VouchesForSilent(const Machine& machine) const {
  return machine.heard_at &&
         loop_->Now() - *machine.heard_at > options_.presence.stale_after &&
         fleet_->confirmed(machine);
}

GatewayNode::Known& GatewayNode::KnownOf(uint32_t machine) {
  Known& known = known_[machine];
  if (known.machine == nullptr) {
    known.machine = fleet_->machines().Find(IdOf(machine));
    if (known.machine != nullptr) {
      known.status = known.machine->record.status;
      known.sequence = known.machine->record.transition_sequence;
      known.held = IsHeld(known.machine->record);
    }
  }
  return known;
}

}  // namespace muster::simulation
