#include "agent/exec/command_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "agent/exec/record.h"
#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr mode_t kFileMode = 0600;
// Escaping triples the text in the worst case.
constexpr size_t kSpecBytesMax = 4 << 20;
constexpr size_t kExitBytesMax = 4096;
constexpr size_t kReasonBytesMax = 255;
constexpr int64_t kIntMax = std::numeric_limits<int64_t>::max();
constexpr std::string_view kDeletedPrefix = ".deleted-";

constexpr std::pair<Shell, std::string_view> kShells[] = {
    {Shell::kBash, "bash"}, {Shell::kSh, "sh"},
    {Shell::kZsh, "zsh"},   {Shell::kPython3, "python3"},
    {Shell::kPwsh, "pwsh"}, {Shell::kExec, "exec"},
};
constexpr std::pair<CommandState, std::string_view> kStates[] = {
    {CommandState::kReceived, "received"},
    {CommandState::kRunning, "running"},
    {CommandState::kSucceeded, "succeeded"},
    {CommandState::kFailed, "failed"},
    {CommandState::kSignaled, "signaled"},
    {CommandState::kTimedOut, "timed_out"},
    {CommandState::kCancelled, "cancelled"},
    {CommandState::kRejected, "rejected"},
    {CommandState::kOutcomeUnknown, "outcome_unknown"},
};

template <typename Enum, size_t n>
std::string_view NameIn(const std::pair<Enum, std::string_view> (&table)[n],
                        Enum value) {
  for (const auto& [v, name] : table) {
    if (v == value) return name;
  }
  return "unknown";
}

template <typename Enum, size_t n>
absl::StatusOr<Enum> ReadEnum(
    const Record& record, std::string_view key,
    const std::pair<Enum, std::string_view> (&table)[n]) {
  ASSIGN_OR_RETURN(const std::string text, record.Text(key));
  for (const auto& [value, name] : table) {
    if (name == text) return value;
  }
  return absl::DataLossError(
      fmt::format("record: {} is \"{}\"", key, text.substr(0, 40)));
}

absl::StatusOr<absl::Time> ReadTime(const Record& record,
                                    std::string_view key) {
  ASSIGN_OR_RETURN(const int64_t us, record.Int(key, 0, kIntMax));
  return absl::FromUnixMicros(us);
}

absl::StatusOr<std::optional<int>> ReadOptionalInt(const Record& record,
                                                   std::string_view key) {
  if (!record.Has(key)) return std::optional<int>();
  ASSIGN_OR_RETURN(const int64_t value, record.Int(key, 0, 255));
  return std::optional<int>(static_cast<int>(value));
}

absl::StatusOr<Record> ReadRecord(const std::string& path, size_t bytes_max) {
  absl::StatusOr<std::string> text = ReadFile(path, bytes_max);
  if (absl::IsOutOfRange(text.status())) {
    return absl::DataLossError(text.status().message());
  }
  RETURN_IF_ERROR(text.status());
  return Record::Parse(*text);
}

void Add(Record& r, const Surroundings& surroundings) {
  r.Add("user", surroundings.user);
  r.Add("folder", surroundings.folder);
  for (const std::string& entry : surroundings.environment) r.Add("env", entry);
  if (surroundings.umask) r.Add("umask", *surroundings.umask);
  r.Add("input", surroundings.input);
}

// A record of an agent that did not know them has none.
absl::StatusOr<Surroundings> ReadSurroundings(const Record& r) {
  Surroundings surroundings;
  if (!r.Has("user")) return surroundings;
  ASSIGN_OR_RETURN(surroundings.user, r.Text("user"));
  ASSIGN_OR_RETURN(surroundings.folder, r.Text("folder"));
  surroundings.environment = r.All("env");
  if (r.Has("umask")) {
    ASSIGN_OR_RETURN(const int64_t umask, r.Int("umask", 0, 0777));
    surroundings.umask = static_cast<mode_t>(umask);
  }
  ASSIGN_OR_RETURN(surroundings.input, r.Text("input"));
  return surroundings;
}

void Add(Record& r, const Terminal& terminal) {
  r.Add("rows", terminal.size.rows);
  r.Add("columns", terminal.size.columns);
  r.Add("terminal", terminal.type);
  r.Add("keep_ms", absl::ToInt64Milliseconds(terminal.keep));
  r.Add("recorded", terminal.recorded ? 1 : 0);
}

absl::StatusOr<std::optional<Terminal>> ReadTerminal(const Record& r) {
  if (!r.Has("rows")) return std::optional<Terminal>();
  constexpr int64_t kSizeMax = std::numeric_limits<uint16_t>::max();
  Terminal terminal;
  ASSIGN_OR_RETURN(const int64_t rows, r.Int("rows", 0, kSizeMax));
  ASSIGN_OR_RETURN(const int64_t columns, r.Int("columns", 0, kSizeMax));
  terminal.size = {static_cast<uint16_t>(rows), static_cast<uint16_t>(columns)};
  ASSIGN_OR_RETURN(terminal.type, r.Text("terminal"));
  ASSIGN_OR_RETURN(const int64_t keep_ms, r.Int("keep_ms", 0, kIntMax));
  terminal.keep = absl::Milliseconds(keep_ms);
  ASSIGN_OR_RETURN(const int64_t recorded, r.Int("recorded", 0, 1));
  terminal.recorded = recorded == 1;
  return std::optional<Terminal>(std::move(terminal));
}

std::string Encode(const Spec& spec) {
  Record r;
  r.Add("command_id", spec.command_id.str());
  r.Add("dispatch_seq", static_cast<int64_t>(spec.dispatch_seq));
  r.Add("shell", Name(spec.shell));
  r.Add("command", spec.command);
  for (const std::string& arg : spec.argv) r.Add("arg", arg);
  r.Add("timeout_ms", absl::ToInt64Milliseconds(spec.timeout));
  r.Add("kill_grace_ms", absl::ToInt64Milliseconds(spec.kill_grace));
  r.Add("output_bytes_max", static_cast<int64_t>(spec.output_bytes_max));
  Add(r, spec.surroundings);
  if (spec.terminal) Add(r, *spec.terminal);
  if (spec.input_streamed) r.Add("input_streamed", 1);
  r.Add("boot_id", spec.boot_id);
  return r.Encode();
}

std::string Encode(const Exit& exit) {
  Record r;
  r.Add("state", Name(exit.state));
  if (exit.exit_code) r.Add("exit_code", *exit.exit_code);
  if (exit.signal) r.Add("signal", *exit.signal);
  r.Add("reason", exit.reason.substr(0, kReasonBytesMax));
  if (exit.started_at) {
    r.Add("started_at_us", absl::ToUnixMicros(*exit.started_at));
  }
  r.Add("finished_at_us", absl::ToUnixMicros(exit.finished_at));
  r.Add("stdout_bytes", static_cast<int64_t>(exit.stdout_bytes));
  r.Add("stderr_bytes", static_cast<int64_t>(exit.stderr_bytes));
  r.Add("stdout_dropped", static_cast<int64_t>(exit.stdout_dropped));
  r.Add("stderr_dropped", static_cast<int64_t>(exit.stderr_dropped));
  r.Add("output_complete", exit.output_complete ? 1 : 0);
  return r.Encode();
}

absl::Status Reserve(const std::string& path) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, kFileMode));
  if (!fd.valid()) return ErrnoStatus(errno, "creating", path);
  if (const int error = posix_fallocate(fd.get(), 0, kExitBytesMax)) {
    return ErrnoStatus(error, "reserving", path);
  }
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, "syncing", path);
  return absl::OkStatus();
}

absl::Status FillReserve(const std::string& path, std::string_view content) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, kFileMode));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  const ssize_t n = pwrite(fd.get(), content.data(), content.size(), 0);
  if (n != static_cast<ssize_t>(content.size())) {
    return ErrnoStatus(n < 0 ? errno : ENOSPC, "writing", path);
  }
  if (ftruncate(fd.get(), n) != 0 || fsync(fd.get()) != 0) {
    return ErrnoStatus(errno, "syncing", path);
  }
  return absl::OkStatus();
}

struct flock WholeFile() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

std::string_view FileOf(Stream stream) {
  return stream == Stream::kStdout ? "out" : "err";
}

}  // namespace

std::string_view Name(Shell shell) { return NameIn(kShells, shell); }
std::string_view Name(CommandState state) { return NameIn(kStates, state); }

bool IsTerminal(CommandState state) {
  return state != CommandState::kReceived && state != CommandState::kRunning;
}

CommandId CommandFolder::id() const {
  return CommandId(std::filesystem::path(path_).filename());
}

absl::Status CommandFolder::Create(const Spec& spec) const {
  if (mkdir(path_.c_str(), kFolderMode) != 0) {
    return ErrnoStatus(errno, "creating", path_);
  }
  absl::Status status = Reserve(File("exit.reserve"));
  if (status.ok()) status = CreateFileDurably(File("lock"), "", kFileMode);
  if (status.ok()) {
    status = WriteFileDurably(File("spec"), Encode(spec), kFileMode);
  }
  if (status.ok()) {
    status = SyncFolder(std::filesystem::path(path_).parent_path());
  }
  // A folder that cannot be removed either has no `spec` and is swept later.
  if (!status.ok()) (void)RemoveTree(path_);
  return status;
}

absl::StatusOr<Spec> CommandFolder::ReadSpec() const {
  ASSIGN_OR_RETURN(const Record r, ReadRecord(File("spec"), kSpecBytesMax));
  Spec spec;
  ASSIGN_OR_RETURN(std::string command_id, r.Text("command_id"));
  spec.command_id = CommandId(std::move(command_id));
  if (spec.command_id != id()) {
    return absl::DataLossError("spec: command_id is not the folder's name");
  }
  ASSIGN_OR_RETURN(spec.dispatch_seq, r.Int("dispatch_seq", 1, kIntMax));
  ASSIGN_OR_RETURN(spec.shell, ReadEnum(r, "shell", kShells));
  ASSIGN_OR_RETURN(spec.command, r.Text("command"));
  spec.argv = r.All("arg");
  ASSIGN_OR_RETURN(spec.terminal, ReadTerminal(r));
  if (spec.shell == Shell::kExec && spec.argv.empty() && !spec.terminal) {
    return absl::DataLossError("spec: exec without arg");
  }
  spec.input_streamed = r.Has("input_streamed");
  ASSIGN_OR_RETURN(const int64_t timeout_ms, r.Int("timeout_ms", 1, kIntMax));
  spec.timeout = absl::Milliseconds(timeout_ms);
  ASSIGN_OR_RETURN(const int64_t grace_ms, r.Int("kill_grace_ms", 0, kIntMax));
  spec.kill_grace = absl::Milliseconds(grace_ms);
  ASSIGN_OR_RETURN(spec.output_bytes_max,
                   r.Int("output_bytes_max", 0, kIntMax));
  ASSIGN_OR_RETURN(spec.surroundings, ReadSurroundings(r));
  ASSIGN_OR_RETURN(spec.boot_id, r.Text("boot_id"));
  return spec;
}

absl::StatusOr<Started> CommandFolder::ReadStarted() const {
  ASSIGN_OR_RETURN(const Record r, ReadRecord(File("started"), kExitBytesMax));
  Started started;
  ASSIGN_OR_RETURN(started.at, ReadTime(r, "at_us"));
  ASSIGN_OR_RETURN(const int64_t by_agent, r.Int("by_agent", 0, 1));
  started.by_agent = by_agent == 1;
  ASSIGN_OR_RETURN(started.cgroup, r.Text("cgroup"));
  return started;
}

absl::StatusOr<Exit> CommandFolder::ReadExit() const {
  ASSIGN_OR_RETURN(const Record r, ReadRecord(File("exit"), kExitBytesMax));
  Exit exit;
  ASSIGN_OR_RETURN(exit.state, ReadEnum(r, "state", kStates));
  if (!IsTerminal(exit.state)) {
    return absl::DataLossError("exit: the state is not terminal");
  }
  ASSIGN_OR_RETURN(exit.exit_code, ReadOptionalInt(r, "exit_code"));
  ASSIGN_OR_RETURN(exit.signal, ReadOptionalInt(r, "signal"));
  ASSIGN_OR_RETURN(exit.reason, r.Text("reason"));
  if (r.Has("started_at_us")) {
    ASSIGN_OR_RETURN(exit.started_at, ReadTime(r, "started_at_us"));
  }
  ASSIGN_OR_RETURN(exit.finished_at, ReadTime(r, "finished_at_us"));
  ASSIGN_OR_RETURN(exit.stdout_bytes, r.Int("stdout_bytes", 0, kIntMax));
  ASSIGN_OR_RETURN(exit.stderr_bytes, r.Int("stderr_bytes", 0, kIntMax));
  ASSIGN_OR_RETURN(exit.stdout_dropped, r.Int("stdout_dropped", 0, kIntMax));
  ASSIGN_OR_RETURN(exit.stderr_dropped, r.Int("stderr_dropped", 0, kIntMax));
  ASSIGN_OR_RETURN(const int64_t complete, r.Int("output_complete", 0, 1));
  exit.output_complete = complete == 1;
  return exit;
}

absl::Status CommandFolder::CreateStarted(const Started& started) const {
  Record r;
  r.Add("at_us", absl::ToUnixMicros(started.at));
  r.Add("by_agent", started.by_agent ? 1 : 0);
  r.Add("cgroup", started.cgroup);
  return CreateFileDurably(File("started"), r.Encode(), kFileMode);
}

absl::Status CommandFolder::WriteExit(const Exit& exit) const {
  RETURN_IF_ERROR(FillReserve(File("exit.reserve"), Encode(exit)));
  if (rename(File("exit.reserve").c_str(), File("exit").c_str()) != 0) {
    return ErrnoStatus(errno, "writing", File("exit"));
  }
  return SyncFolder(path_);
}

absl::Status CommandFolder::RequestCancel() const {
  const absl::Status status = CreateFileDurably(File("cancel"), "", kFileMode);
  return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
}

absl::StatusOr<Fd> CommandFolder::Lock() const {
  const std::string path = File("lock");
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  struct flock lock = WholeFile();
  if (fcntl(fd.get(), F_SETLK, &lock) != 0) {
    if (errno == EACCES || errno == EAGAIN) errno = EBUSY;
    return ErrnoStatus(errno, "locking", path);
  }
  return fd;
}

absl::StatusOr<std::optional<pid_t>> CommandFolder::LockHolder() const {
  const std::string path = File("lock");
  Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return std::optional<pid_t>();
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  struct flock lock = WholeFile();
  if (fcntl(fd.get(), F_GETLK, &lock) != 0) {
    return ErrnoStatus(errno, "reading the lock of", path);
  }
  if (lock.l_type == F_UNLCK) return std::optional<pid_t>();
  return std::optional<pid_t>(lock.l_pid);
}

uint64_t CommandFolder::OutputBytes(Stream stream) const {
  struct stat st;
  if (stat(File(FileOf(stream)).c_str(), &st) != 0) return 0;
  return static_cast<uint64_t>(st.st_size);
}

absl::StatusOr<std::string> CommandFolder::ReadOutput(Stream stream,
                                                      uint64_t offset,
                                                      size_t bytes_max) const {
  const std::string path = File(FileOf(stream));
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return std::string();
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  std::string bytes(bytes_max, '\0');
  const ssize_t n =
      pread(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (n < 0) return ErrnoStatus(errno, "reading", path);
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

absl::Status CommandFolder::Delete() const {
  const std::filesystem::path path(path_);
  const std::string deleted =
      path.parent_path() / (std::string(kDeletedPrefix) + id().str());
  // Renamed first: a half-deleted folder would tell a wrong story.
  if (rename(path_.c_str(), deleted.c_str()) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return ErrnoStatus(errno, "renaming", path_);
  }
  RETURN_IF_ERROR(SyncFolder(path.parent_path()));
  return RemoveTree(deleted);
}

absl::StatusOr<std::vector<CommandFolder>> ListCommandFolders(
    const std::string& parent) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(parent, error);
  for (; !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    names.push_back(it->path().filename());
  }
  if (error) return ErrnoStatus(error.value(), "listing", parent);
  std::sort(names.begin(), names.end());
  std::vector<CommandFolder> folders;
  for (const std::string& name : names) {
    const std::string path = parent + "/" + name;
    if (name.starts_with(kDeletedPrefix)) {
      RETURN_IF_ERROR(RemoveTree(path));
    } else if (IsUuid(name)) {
      folders.emplace_back(path);
    }
  }
  return folders;
}

std::string_view StorageReason(const absl::Status& status) {
  const std::string text(status.message());
  const bool full = text.find(std::strerror(ENOSPC)) != text.npos ||
                    text.find(std::strerror(EDQUOT)) != text.npos;
  return full ? "agent_disk_full" : "agent_storage_error";
}

}  // namespace muster::agent
