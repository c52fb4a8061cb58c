#include "tests/simulation/model_host.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fmt/format.h"
#include "tests/simulation/model_disk.h"

namespace muster::simulation {
namespace {

using agent::CommandState;
using agent::Exit;
using agent::Started;

constexpr int64_t kEpochWall = 1'700'000'000 * kSecond;

// As agent/exec/shim.cc has them.
constexpr Nanos kDrainIdle = 2 * kSecond;
constexpr Nanos kDrainTotal = 10 * kSecond;
constexpr Nanos kLookAgain = kSecond;

// What would be a number of a signal.
constexpr int32_t kTerm = -15;
constexpr int32_t kPipe = -13;

uint64_t OutputWord(uint64_t command, uint64_t stream, uint64_t word) {
  return Random(command * 4 + stream, word).Next();
}

absl::Status NoSpace() {
  return absl::ResourceExhaustedError(std::strerror(ENOSPC));
}
absl::Status Dead() { return absl::UnavailableError("the agent is dead"); }

}  // namespace

std::string OutputBytes(uint64_t command, uint64_t stream, uint64_t offset,
                        size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size;) {
    const uint64_t word = OutputWord(command, stream, (offset + i) / 8);
    size_t at = (offset + i) % 8;
    for (; at < 8 && i < size; ++at, ++i) {
      bytes[i] = static_cast<char>(word >> at * 8);
    }
  }
  return bytes;
}

ModelHost::ModelHost(World world)
    : world_(world), random_(world.seed, uint64_t{0x2000000} + world.self) {}

absl::Time ModelHost::Wall() const {
  return absl::UnixEpoch() +
         absl::Nanoseconds(kEpochWall + world_.timeline.now());
}

Event ModelHost::About(What what, uint64_t command) const {
  return {.what = what,
          .machine = world_.machine,
          .number = command,
          .group = world_.self + 1};
}

// --- The director ----------------------------------------------------------

void ModelHost::PowerOff() {
  for (auto& [pid, shim] : shims_) {
    if (std::exchange(shim.lives, false)) {
      world_.recorder.Record(About(What::kShimLost, shim.command));
    }
    Kill(shim);
  }
  shims_.clear();
  for (auto& [id, folder] : disk_.folders) {
    if (folder.exit) continue;
    for (Spooled& spool : folder.spools) {
      spool.kept = static_cast<uint64_t>(
          random_.Between(static_cast<int64_t>(spool.synced),
                          static_cast<int64_t>(spool.kept) + 1));
    }
  }
}

void ModelHost::KillShim(Random& random) {
  std::vector<uint32_t> living;
  for (const auto& [pid, shim] : shims_) {
    if (shim.lives) living.push_back(pid);
  }
  if (living.empty()) return;
  const uint32_t pid = living[random.Below(living.size())];
  Shim& shim = shims_.at(pid);
  world_.recorder.Record(About(What::kShimLost, shim.command));
  EndShim(pid, shim);
}

ModelHost::Image ModelHost::TakeImage() const {
  return {disk_, shims_, world_.timeline.now()};
}

void ModelHost::SetImage(Image image) {
  disk_ = std::move(image.disk);
  shims_ = std::move(image.shims);
  const Nanos passed = world_.timeline.now() - image.taken_at;
  const auto later = [passed](Nanos& at) {
    if (at != kNever) at += passed;
  };
  for (auto& [pid, shim] : shims_) {
    for (Nanos* at : {&shim.due, &shim.timeout_at, &shim.force_at,
                      &shim.quiet_since, &shim.ended_at, &shim.act_due}) {
      later(*at);
    }
    last_pid_ = std::max(last_pid_, pid);
    if (shim.due != kNever) {
      world_.timeline.Add(shim.due, Due::kShim, world_.self, pid);
    }
    if (shim.act_due != kNever) {
      world_.timeline.Add(shim.act_due, Due::kProcess, world_.self, pid);
    }
  }
}

// --- The agent's process ---------------------------------------------------

void ModelHost::AgentBegins(std::function<void()> wake) {
  wake_ = std::move(wake);
  ++agent_life_;
  dying_ = false;
}

void ModelHost::AgentEnds() {
  wake_ = nullptr;
  ++agent_life_;
  heard_.clear();
  disk_tasks_.clear();
  effects_left_ = 0;
}

bool ModelHost::Effect() {
  if (dying_) return false;
  if (effects_left_ > 0 && --effects_left_ == 0) dying_ = true;
  return !dying_;
}

void ModelHost::PostToDisk(absl::AnyInvocable<void()> task) {
  disk_tasks_.push_back(std::move(task));
  const Nanos from = std::max(world_.timeline.now(), slow_until_);
  world_.timeline.Add(
      from + random_.Spread(kMillisecond / 20, 20 * kMillisecond),
      Due::kAgentDisk, world_.self, agent_life_);
}

void ModelHost::RunDiskTask(uint32_t agent_life) {
  if (agent_life != agent_life_ || disk_tasks_.empty()) return;
  absl::AnyInvocable<void()> task = std::move(disk_tasks_.front());
  disk_tasks_.pop_front();
  task();
}

// --- Files -----------------------------------------------------------------

ModelHost::Folder* ModelHost::Find(const std::string& id) {
  const auto it = disk_.folders.find(id);
  return it == disk_.folders.end() ? nullptr : &it->second;
}

absl::Status ModelHost::CreateFolder(const std::string& id,
                                     const agent::Spec& spec) {
  if (Find(id) != nullptr) return absl::AlreadyExistsError(id);
  if (!Effect()) return Dead();
  if (full_) return NoSpace();
  Folder& folder = disk_.folders[id];
  // A crash may leave a folder in which nothing is.
  if (!Effect()) return Dead();
  folder.spec = spec;
  return absl::OkStatus();
}

void ModelHost::DeleteFolder(const std::string& id) {
  if (Find(id) == nullptr || !Effect()) return;
  disk_.folders.erase(id);
  world_.recorder.Record(About(What::kFolderGone, NumberOf(CommandId(id))));
}

absl::Status ModelHost::CreateStarted(const std::string& id,
                                      const Started& started) {
  Folder* folder = Find(id);
  if (folder == nullptr) return absl::NotFoundError(id);
  if (folder->started) return absl::AlreadyExistsError(id);
  if (started.by_agent && !Effect()) return Dead();
  if (full_) return NoSpace();
  folder->started = started;
  Event event = About(What::kClaimed, NumberOf(CommandId(id)));
  event.flag = started.by_agent;
  world_.recorder.Record(event);
  Changed(id, false);
  return absl::OkStatus();
}

absl::Status ModelHost::WriteExit(const std::string& id, const Exit& exit) {
  Folder* folder = Find(id);
  if (folder == nullptr) return absl::NotFoundError(id);
  folder->exit = exit;
  Event event = About(What::kExitKept, NumberOf(CommandId(id)));
  event.state = static_cast<gateway::CommandState>(exit.state);
  event.code = exit.exit_code.value_or(0);
  event.epoch = exit.stdout_bytes;
  event.length = static_cast<Nanos>(exit.stderr_bytes);
  event.flag = exit.output_complete;
  world_.recorder.Record(event);
  Changed(id, false);
  return absl::OkStatus();
}

absl::Status ModelHost::RequestCancel(const std::string& id) {
  Folder* folder = Find(id);
  if (folder == nullptr) return absl::NotFoundError(id);
  if (!Effect()) return Dead();
  if (full_) return NoSpace();
  folder->cancel = true;
  // Even if the signal that is to follow is lost.
  for (auto& [pid, shim] : shims_) {
    if (shim.id == id && shim.step == Step::kRun) Go(pid, shim, kLookAgain);
  }
  return absl::OkStatus();
}

absl::Status ModelHost::RecordSeen(uint64_t seq) {
  if (!Effect()) return Dead();
  disk_.seen_high = seq;
  world_.recorder.Record(About(What::kSeen, seq));
  return absl::OkStatus();
}

// --- Processes, as the agent sees them ---------------------------------------

std::optional<int32_t> ModelHost::LockHolder(const std::string& id) const {
  for (const auto& [pid, shim] : shims_) {
    if (shim.id == id && shim.locked) return static_cast<int32_t>(pid);
  }
  return std::nullopt;
}

int32_t ModelHost::StartShim(const std::string& id) {
  const uint32_t pid = ++last_pid_;
  if (!Effect()) return static_cast<int32_t>(pid);
  Shim& shim = shims_[pid];
  shim.id = id;
  shim.command = NumberOf(CommandId(id));
  Go(pid, shim, 0);
  return static_cast<int32_t>(pid);
}

void ModelHost::Watch(const std::string& id, Heard heard) {
  heard_[id] = std::move(heard);
}

void ModelHost::WakeShim(const std::string& id) {
  if (!Effect()) return;
  for (auto& [pid, shim] : shims_) {
    if (shim.id == id && shim.step == Step::kRun) Go(pid, shim, 0);
  }
}

void ModelHost::KillProcesses(const std::string& id) {
  if (!Effect()) return;
  for (auto& [pid, shim] : shims_) {
    if (shim.id == id) Kill(shim);
  }
  std::erase_if(shims_, [](const auto& entry) {
    return !entry.second.lives && !entry.second.anything_lives();
  });
}

bool ModelHost::HasProcesses(const std::string& id) const {
  return std::any_of(shims_.begin(), shims_.end(), [&](const auto& entry) {
    return entry.second.id == id && entry.second.anything_lives();
  });
}

void ModelHost::Changed(const std::string& id, bool gone) {
  const auto it = heard_.find(id);
  if (it == heard_.end()) return;
  it->second(gone);
  if (wake_) wake_();
}

// --- The shim ----------------------------------------------------------------

void ModelHost::Go(uint32_t pid, Shim& shim, Nanos after) {
  if (!shim.lives) return;
  const Nanos at = world_.timeline.now() + after +
                   random_.Spread(kMillisecond / 20, 5 * kMillisecond);
  if (at >= shim.due) return;
  shim.due = at;
  world_.timeline.Add(at, Due::kShim, world_.self, pid);
}

void ModelHost::ShimDue(uint32_t pid) {
  const auto it = shims_.find(pid);
  if (it == shims_.end()) return;
  Shim& shim = it->second;
  if (!shim.lives || world_.timeline.now() < shim.due) return;
  shim.due = kNever;
  if (FolderOf(shim) == nullptr) return EndShim(pid, shim);
  switch (shim.step) {
    case Step::kLock:
      return Lock(pid, shim);
    case Step::kPrepare:
      return Prepare(pid, shim);
    case Step::kClaim:
      return Claim(pid, shim);
    case Step::kRelease:
      return Release(pid, shim);
    case Step::kRun:
      return Supervise(pid, shim);
    case Step::kExit:
      KeepExit(shim);
      return EndShim(pid, shim);
  }
}

void ModelHost::Lock(uint32_t pid, Shim& shim) {
  const Folder& folder = *FolderOf(shim);
  if (LockHolder(shim.id) || folder.started || folder.exit) {
    return EndShim(pid, shim);
  }
  shim.locked = true;
  shim.step = Step::kPrepare;
  Go(pid, shim, 0);
}

void ModelHost::Reject(Shim& shim, std::string_view reason) {
  shim.exit = Exit();
  shim.exit.state = CommandState::kRejected;
  shim.exit.reason = reason;
  shim.exit.finished_at = Wall();
  shim.exit.output_complete = true;
  shim.starts_nothing = true;
  shim.step = Step::kExit;
}

void ModelHost::Prepare(uint32_t pid, Shim& shim) {
  const Folder& folder = *FolderOf(shim);
  shim.script = DrawScript(world_.seed, shim.command);
  shim.step = Step::kClaim;
  if (folder.cancel) {
    Reject(shim, "before_start");
    shim.exit.state = CommandState::kCancelled;
  } else if (shim.script.lacks_shell) {
    Reject(shim, "shell_unavailable");
  } else if (full_) {
    Reject(shim, "agent_disk_full");
  }
  Go(pid, shim, 0);
}

void ModelHost::Claim(uint32_t pid, Shim& shim) {
  const Started started = {
      .at = Wall(), .by_agent = false, .cgroup = "/cgroup/muster-" + shim.id};
  const absl::Status claimed = CreateStarted(shim.id, started);
  if (absl::IsAlreadyExists(claimed)) return EndShim(pid, shim);
  if (claimed.ok()) {
    shim.step = Step::kRelease;
    shim.exit.started_at = started.at;
  } else {
    Reject(shim, "agent_disk_full");
  }
  Go(pid, shim, 0);
}

void ModelHost::Release(uint32_t pid, Shim& shim) {
  const Nanos now = world_.timeline.now();
  shim.step = Step::kRun;
  shim.timeout_at =
      now + absl::ToInt64Nanoseconds(FolderOf(shim)->spec->timeout);
  shim.main_lives = true;
  shim.child_lives = shim.script.has_child;
  world_.recorder.Record(About(What::kStarted, shim.command));
  NextAct(pid, shim);
  Supervise(pid, shim);
}

void ModelHost::Supervise(uint32_t pid, Shim& shim) {
  ForceEnd(shim);
  if (Settled(shim)) {
    DescribeEnd(shim);
    shim.step = Step::kExit;
    return Go(pid, shim, 0);
  }
  const Nanos look = NextLook(shim);
  if (look != kNever) {
    Go(pid, shim, std::max<Nanos>(look - world_.timeline.now(), 0));
  }
  if (shim.force == Force::kTerm) NextAct(pid, shim);
}

void ModelHost::ForceEnd(Shim& shim) {
  const Nanos now = world_.timeline.now();
  if (shim.force == Force::kTerm && now >= shim.force_at) {
    shim.force = Force::kKill;
    Kill(shim);
  }
  if (shim.force != Force::kNone || shim.ended_at != kNever) return;
  const Folder& folder = *FolderOf(shim);
  if (folder.cancel) {
    shim.forced = CommandState::kCancelled;
  } else if (now >= shim.timeout_at) {
    shim.forced = CommandState::kTimedOut;
  } else {
    return;
  }
  shim.force = Force::kTerm;
  shim.force_at = now + absl::ToInt64Nanoseconds(folder.spec->kill_grace);
  if (shim.script.ignores_term) return;
  shim.script.acts = {{.after = random_.Spread(kMillisecond, kSecond),
                       .main_ends = true,
                       .child_ends = true}};
  shim.script.code = kTerm;
  shim.next_act = 0;
  shim.act_due = kNever;
}

bool ModelHost::Settled(const Shim& shim) const {
  const Nanos now = world_.timeline.now();
  if (!shim.anything_lives()) return true;
  if (shim.force != Force::kNone || shim.ended_at == kNever) return false;
  return now - shim.quiet_since >= kDrainIdle ||
         now - shim.ended_at >= kDrainTotal;
}

Nanos ModelHost::NextLook(const Shim& shim) const {
  if (shim.force != Force::kNone) return shim.force_at;
  if (shim.ended_at == kNever) return shim.timeout_at;
  return std::min(shim.quiet_since + kDrainIdle, shim.ended_at + kDrainTotal);
}

void ModelHost::DescribeEnd(Shim& shim) {
  Folder& folder = *FolderOf(shim);
  for (Spooled& spool : folder.spools) spool.synced = spool.kept;
  shim.exit.finished_at = Wall();
  shim.exit.stdout_bytes = folder.spools[0].kept;
  shim.exit.stderr_bytes = folder.spools[1].kept;
  shim.exit.stdout_dropped = folder.spools[0].dropped;
  shim.exit.stderr_dropped = folder.spools[1].dropped;
  shim.exit.output_complete =
      !shim.anything_lives() &&
      folder.spools[0].dropped + folder.spools[1].dropped == 0;
  if (shim.force != Force::kNone) {
    shim.exit.state = shim.forced;
  } else if (shim.anything_lives()) {
    shim.exit.reason = "pipe_held_by: 1";
  }
}

void ModelHost::KeepExit(Shim& shim) {
  // Cannot fail: there is a reserve.
  (void)WriteExit(shim.id, shim.exit);
}

void ModelHost::EndShim(uint32_t pid, Shim& shim) {
  shim.lives = shim.locked = false;
  shim.due = kNever;
  const std::string id = shim.id;
  // Who has not been released ends with it, and nobody waits for the others.
  if (!shim.anything_lives()) shims_.erase(pid);
  Changed(id, true);
}

// --- What commands do --------------------------------------------------------

ModelHost::Script ModelHost::DrawScript(uint64_t seed, uint64_t command) {
  Random random(seed, (uint64_t{'P'} << 40) + command);
  Script script;
  script.lacks_shell = random.Chance(0.03);
  script.ignores_term = random.Chance(0.2);
  script.has_child = random.Chance(0.15);
  script.code = random.Chance(0.6) ? 0
                : random.Chance(0.9)
                    ? static_cast<int32_t>(random.Between(1, 256))
                    : -11;
  const bool flood = random.Chance(0.015);
  const bool chatter = random.Chance(0.1);
  const bool endless = random.Chance(0.1);
  const uint64_t bursts = flood ? 24 : chatter ? 20 : random.Below(5);
  const Nanos length = random.Chance(0.7)
                           ? random.Spread(5 * kMillisecond, 5 * kSecond)
                           : random.Spread(kSecond, 3 * kMinute);
  for (uint64_t i = 0; i < bursts; ++i) {
    script.acts.push_back({.after = length / static_cast<Nanos>(bursts + 1),
                           .stream = static_cast<uint32_t>(random.Below(2)),
                           .bytes = flood
                                        ? 96 << 10
                                        : static_cast<uint64_t>(random.Spread(
                                              1, chatter ? 64 << 10 : 4096))});
  }
  if (!endless) {
    script.acts.push_back(
        {.after = length / static_cast<Nanos>(bursts + 1), .main_ends = true});
    if (script.has_child) {
      script.acts.push_back(
          {.after = random.Spread(10 * kMillisecond, 20 * kSecond),
           .bytes = 100});
      script.acts.push_back(
          {.after = random.Spread(10 * kMillisecond, 3 * kMinute),
           .child_ends = true});
    }
  }
  return script;
}

void ModelHost::NextAct(uint32_t pid, Shim& shim) {
  if (shim.act_due != kNever || shim.next_act >= shim.script.acts.size()) {
    return;
  }
  shim.act_due = world_.timeline.now() + shim.script.acts[shim.next_act].after;
  world_.timeline.Add(shim.act_due, Due::kProcess, world_.self, pid);
}

void ModelHost::ProcessDue(uint32_t pid) {
  const auto it = shims_.find(pid);
  if (it == shims_.end()) return;
  Shim& shim = it->second;
  if (!shim.anything_lives() || world_.timeline.now() < shim.act_due) return;
  shim.act_due = kNever;
  const Act act = shim.script.acts[shim.next_act++];
  Perform(pid, shim, act);
}

void ModelHost::Perform(uint32_t pid, Shim& shim, const Act& act) {
  if (act.bytes > 0) Write(shim, act);
  if (act.main_ends && shim.main_lives) MainEnds(shim, shim.script.code);
  if (act.child_ends) shim.child_lives = false;
  NoteIfGone(shim);
  if (shim.lives) {
    Go(pid, shim, 0);
    NextAct(pid, shim);
  } else if (!shim.anything_lives()) {
    shims_.erase(pid);
  } else {
    NextAct(pid, shim);
  }
}

void ModelHost::Write(Shim& shim, const Act& act) {
  Folder* folder = FolderOf(shim);
  if (!shim.lives || shim.step == Step::kExit || folder == nullptr) {
    // Nobody reads the pipe any more.
    if (shim.main_lives) MainEnds(shim, kPipe);
    shim.child_lives = false;
    return;
  }
  Spooled& spool = folder->spools[act.stream];
  uint64_t& wrote = shim.wrote[act.stream];
  wrote += act.bytes;
  const uint64_t bound = folder->spec->output_bytes_max;
  const uint64_t room =
      full_ || spool.dropped > 0 ? 0 : bound - std::min(bound, spool.kept);
  const uint64_t kept = std::min(room, act.bytes);
  spool.kept += kept;
  spool.dropped += act.bytes - kept;
  shim.quiet_since = world_.timeline.now();
  Event event = About(What::kWrote, shim.command);
  event.epoch = act.stream + 1;
  event.length = static_cast<Nanos>(wrote);
  world_.recorder.Record(event);
  if (kept > 0) Changed(shim.id, false);
}

void ModelHost::MainEnds(Shim& shim, std::optional<int32_t> code) {
  shim.main_lives = false;
  const int32_t how = code.value_or(-9);
  Event event = About(What::kProcessEnded, shim.command);
  event.code = how;
  event.flag = shim.lives;
  world_.recorder.Record(event);
  if (!shim.lives) return;
  shim.ended_at = shim.quiet_since = world_.timeline.now();
  if (how < 0) {
    shim.exit.state = CommandState::kSignaled;
    shim.exit.signal = -how;
  } else {
    shim.exit.state =
        how == 0 ? CommandState::kSucceeded : CommandState::kFailed;
    shim.exit.exit_code = how;
  }
}

void ModelHost::Kill(Shim& shim) {
  if (!shim.anything_lives()) return;
  if (shim.main_lives) MainEnds(shim, std::nullopt);
  shim.child_lives = false;
  NoteIfGone(shim);
}

void ModelHost::NoteIfGone(Shim& shim) {
  if (shim.anything_lives()) return;
  world_.recorder.Record(About(What::kProcessesGone, shim.command));
}

}  // namespace muster::simulation
