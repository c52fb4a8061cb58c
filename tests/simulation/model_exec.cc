// Takes the place of the files of agent/exec and libprotocol/base that touch
// disk, processes and threads: what the executor asks for happens at the host
// whose turn it is (model_host.h).

#include <algorithm>
#include <cstring>
#include <utility>

#include "agent/exec/child_watcher.h"
#include "agent/exec/command_folder.h"
#include "agent/exec/launch.h"
#include "agent/exec/process_tree.h"
#include "agent/exec/run_log.h"
#include "agent/exec/seen_log.h"
#include "agent/exec/start_shim.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/thread_event_loop.h"
#include "tests/simulation/model_disk.h"
#include "tests/simulation/model_host.h"

namespace muster {

using simulation::ModelHost;

// --- libprotocol/base --------------------------------------------------------

void Fd::Reset(int fd) { fd_ = fd; }

absl::Status MakeFolder(const std::string&, mode_t) { return absl::OkStatus(); }

absl::Status ErrnoStatus(int error, std::string_view, std::string_view) {
  return absl::InternalError(std::strerror(error));
}

// Of a command folder.
bool FileExists(const std::string& path) {
  const size_t name = path.rfind('/');
  const size_t id = path.rfind('/', name - 1) + 1;
  const ModelHost::Folder* folder =
      ModelHost::Current().Find(path.substr(id, name - id));
  if (folder == nullptr) return false;
  const std::string_view file = std::string_view(path).substr(name + 1);
  return file == "spec"      ? folder->spec.has_value()
         : file == "started" ? folder->started.has_value()
         : file == "exit"    ? folder->exit.has_value()
                             : file == "cancel" && folder->cancel;
}

// The executor's disk: a thread that does one thing after the other, each when
// the model of the disk has done it.
ThreadEventLoop::ThreadEventLoop(const Clock& clock) : clock_(clock) {}
ThreadEventLoop::~ThreadEventLoop() = default;
bool ThreadEventLoop::Post(Task task) {
  ModelHost::Current().PostToDisk(std::move(task));
  return true;
}
bool ThreadEventLoop::Dispatch(Task task) { return Post(std::move(task)); }
EventLoop::TimerId ThreadEventLoop::PostAt(Instant, Task) { return {}; }
void ThreadEventLoop::Cancel(TimerId) {}

namespace agent {

// --- command_folder
// ------------------------------------------------------------

namespace {

ModelHost::Folder* FolderAt(const CommandFolder& folder) {
  return ModelHost::Current().Find(folder.id().str());
}

template <typename T>
absl::StatusOr<T> Read(const CommandFolder& folder,
                       std::optional<T> ModelHost::Folder::*file) {
  const ModelHost::Folder* at = FolderAt(folder);
  if (at == nullptr || !(at->*file)) return absl::NotFoundError(folder.path());
  return *(at->*file);
}

const ModelHost::Spooled& SpoolOf(const ModelHost::Folder& folder,
                                  Stream stream) {
  return folder.spools[static_cast<size_t>(stream) - 1];
}

}  // namespace

std::string_view Name(Shell shell) {
  return shell >= Shell::kBash && shell <= Shell::kExec ? "shell" : "unknown";
}
std::string_view Name(CommandState) { return "state"; }
bool IsTerminal(CommandState state) {
  return state != CommandState::kReceived && state != CommandState::kRunning;
}

CommandId CommandFolder::id() const {
  return CommandId(path_.substr(path_.rfind('/') + 1));
}
absl::Status CommandFolder::Create(const Spec& spec) const {
  return ModelHost::Current().CreateFolder(id().str(), spec);
}
absl::StatusOr<Spec> CommandFolder::ReadSpec() const {
  return Read(*this, &ModelHost::Folder::spec);
}
absl::StatusOr<Started> CommandFolder::ReadStarted() const {
  return Read(*this, &ModelHost::Folder::started);
}
absl::StatusOr<Exit> CommandFolder::ReadExit() const {
  return Read(*this, &ModelHost::Folder::exit);
}
absl::Status CommandFolder::CreateStarted(const Started& started) const {
  return ModelHost::Current().CreateStarted(id().str(), started);
}
absl::Status CommandFolder::WriteExit(const Exit& exit) const {
  if (!ModelHost::Current().Effect()) return absl::UnavailableError("dead");
  return ModelHost::Current().WriteExit(id().str(), exit);
}
absl::Status CommandFolder::RequestCancel() const {
  return ModelHost::Current().RequestCancel(id().str());
}
// The process that asks is the agent: nobody else has its turn meanwhile.
absl::StatusOr<Fd> CommandFolder::Lock() const {
  if (ModelHost::Current().LockHolder(id().str())) {
    return absl::FailedPreconditionError("locked");
  }
  return Fd();
}
absl::StatusOr<std::optional<pid_t>> CommandFolder::LockHolder() const {
  return ModelHost::Current().LockHolder(id().str());
}
uint64_t CommandFolder::OutputBytes(Stream stream) const {
  const ModelHost::Folder* folder = FolderAt(*this);
  return folder == nullptr ? 0 : SpoolOf(*folder, stream).kept;
}
absl::StatusOr<std::string> CommandFolder::ReadOutput(Stream stream,
                                                      uint64_t offset,
                                                      size_t bytes_max) const {
  const uint64_t there = OutputBytes(stream);
  if (offset >= there) return std::string();
  return simulation::OutputBytes(simulation::NumberOf(id()),
                                 static_cast<uint64_t>(stream), offset,
                                 std::min<uint64_t>(there - offset, bytes_max));
}
absl::Status CommandFolder::Delete() const {
  ModelHost::Current().DeleteFolder(id().str());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<CommandFolder>> ListCommandFolders(
    const std::string& parent) {
  std::vector<CommandFolder> folders;
  for (const auto& [id, folder] : ModelHost::Current().disk().folders) {
    folders.emplace_back(parent + "/" + id);
  }
  return folders;
}

std::string_view StorageReason(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? "agent_disk_full"
                                           : "agent_storage_error";
}

// --- seen_log
// ------------------------------------------------------------------

absl::StatusOr<SeenLog> SeenLog::Open(const std::string&) {
  SeenLog log{Fd()};
  log.high_ = ModelHost::Current().disk().seen_high;
  return log;
}
absl::Status SeenLog::Record(uint64_t seq) {
  const absl::Status recorded = ModelHost::Current().RecordSeen(seq);
  if (recorded.ok()) high_ = seq;
  return recorded;
}

// --- processes
// -----------------------------------------------------------------

absl::StatusOr<pid_t> StartShim(std::string, const CommandFolder& folder) {
  return ModelHost::Current().StartShim(folder.id().str());
}

ChildWatcher::ChildWatcher(absl::AnyInvocable<void()> announce)
    : announce_(std::move(announce)) {}
ChildWatcher::~ChildWatcher() = default;

absl::Status ChildWatcher::Watch(const CommandId& command_id,
                                 const std::string&, pid_t) {
  ModelHost::Current().Watch(command_id.str(), [this, command_id](bool gone) {
    {
      MutexLock lock(mu_);
      Event& event = EventOf(command_id);
      event.changed = true;
      event.gone |= gone;
    }
    AnnounceIfNew();
  });
  return absl::OkStatus();
}

ChildWatcher::Event& ChildWatcher::EventOf(const CommandId& command_id) {
  Event& event = events_[command_id];
  event.command_id = command_id;
  return event;
}

// Nobody types here.
absl::Status ChildWatcher::OpenLine(const CommandId&, const std::string&) {
  return absl::OkStatus();
}
bool ChildWatcher::Say(const CommandId&, const ShimMessage&) { return false; }

void ChildWatcher::AnnounceIfNew() {
  {
    MutexLock lock(mu_);
    if (std::exchange(announced_, true)) return;
  }
  announce_();
}

void ChildWatcher::Signal(const CommandId& command_id, int) {
  ModelHost::Current().WakeShim(command_id.str());
}

std::vector<ChildWatcher::Event> ChildWatcher::Take() {
  MutexLock lock(mu_);
  announced_ = false;
  std::vector<Event> events;
  for (const auto& [id, event] : std::exchange(events_, {})) {
    events.push_back(event);
  }
  return events;
}

// Its owner is not told here what was run.
absl::Status RunLog::Ordered(const RunOrder&) const { return absl::OkStatus(); }
absl::Status RunLog::Ended(const CommandId&, const RunEnd&) const {
  return absl::OkStatus();
}
void SetText(const std::string&, const std::vector<std::string>&, RunOrder&) {}
absl::StatusOr<std::string> UserOf(const Surroundings&) { return "root"; }

namespace {

// "/cgroup/muster-ID".
std::string CommandOf(const std::string& cgroup) {
  return cgroup.substr(cgroup.rfind("muster-") + std::strlen("muster-"));
}

}  // namespace

std::optional<Cgroup> Cgroup::Find(std::string, std::string_view name) {
  const std::string id(name);
  if (!ModelHost::Current().HasProcesses(id)) return std::nullopt;
  return Cgroup("/cgroup/muster-" + id);
}
void Cgroup::RemoveEmptyOnes() {}
void Cgroup::Kill() const {
  ModelHost::Current().KillProcesses(CommandOf(path_));
}
void Cgroup::Remove() const {}

}  // namespace agent
}  // namespace muster
