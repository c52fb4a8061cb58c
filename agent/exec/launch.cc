#include "agent/exec/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

constexpr int kTextFd = 3;
constexpr std::string_view kTextPath = "/proc/self/fd/3";
constexpr int kOomScoreMax = 1000;  // The kernel's own limit.

struct Account {
  std::string name = "root";
  std::string home = "/";
  std::string shell = "/bin/sh";
  uid_t uid = 0;
  gid_t gid = 0;
};

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

File Open(const char* path) { return File(fopen(path, "re"), &fclose); }

// The first account that `is_wanted`. From /etc/passwd itself: name services
// are unfit for a static program, and may wait for a network that is down.
template <typename Predicate>
std::optional<Account> FindAccount(Predicate is_wanted) {
  const File file = Open("/etc/passwd");
  while (passwd* entry = file ? fgetpwent(file.get()) : nullptr) {
    if (!is_wanted(*entry)) continue;
    Account account{
        .name = entry->pw_name, .uid = entry->pw_uid, .gid = entry->pw_gid};
    if (*entry->pw_dir != '\0') account.home = entry->pw_dir;
    if (*entry->pw_shell != '\0') account.shell = entry->pw_shell;
    return account;
  }
  return std::nullopt;
}

std::vector<gid_t> GroupsOf(const Account& account) {
  std::vector<gid_t> groups = {account.gid};
  const File file = Open("/etc/group");
  while (group* entry = file ? fgetgrent(file.get()) : nullptr) {
    for (char** member = entry->gr_mem; *member != nullptr; ++member) {
      if (account.name == *member) groups.push_back(entry->gr_gid);
    }
  }
  return groups;
}

// Whom the command runs as: `user`, or whom this process runs as.
absl::StatusOr<Account> AccountFor(const std::string& user) {
  if (user.empty()) {
    const uid_t own = getuid();
    return FindAccount(
               [own](const passwd& entry) { return entry.pw_uid == own; })
        .value_or(Account{.uid = own, .gid = getgid()});
  }
  const auto account =
      FindAccount([&](const passwd& entry) { return user == entry.pw_name; });
  if (!account) return absl::FailedPreconditionError("user_unknown");
  if (account->uid != getuid() && getuid() != 0) {
    return absl::FailedPreconditionError("user_not_permitted");
  }
  return *account;
}

// A file without a name that holds `text`; not rewound.
absl::StatusOr<Fd> InMemory(std::string_view text) {
  Fd fd(memfd_create("command", MFD_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "creating", "memfd");
  while (!text.empty()) {
    const ssize_t n = write(fd.get(), text.data(), text.size());
    if (n < 0) return ErrnoStatus(errno, "writing", "memfd");
    text.remove_prefix(static_cast<size_t>(n));
  }
  return fd;
}

// The interpreter's arguments before the text itself, or for a text by name.
std::vector<std::string> ArgumentsFor(Shell shell, const std::string& text,
                                      bool by_descriptor) {
  const std::string path(kTextPath);
  const std::string name(Name(shell));
  switch (shell) {
    case Shell::kBash:
    case Shell::kSh:
    case Shell::kZsh:
      if (by_descriptor) return {name, path};
      return {name, "-c", "--", text};  // A text may begin with '-'.
    case Shell::kPython3:
      if (by_descriptor) return {name, path};
      return {name, "-c", text};
    case Shell::kPwsh:
      return {name, "-NoProfile", "-NonInteractive", "-Command",
              by_descriptor ? fmt::format("& ([ScriptBlock]::Create("
                                          "[IO.File]::ReadAllText('{}')))",
                                          path)
                            : text};
    case Shell::kExec:
      break;
  }
  return {};
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& s : strings) {
    pointers.push_back(const_cast<char*>(s.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Defaults for all, libc's own two included: posix_spawn() leaves those
// ignored, and signal() refuses to touch them.
void ResetSignals() {
  constexpr size_t kMaskBytes = 8;
  const char defaults[64] = {};  // A kernel sigaction: SIG_DFL, no flags.
  for (int signal = 1; signal < NSIG; ++signal) {
    syscall(SYS_rt_sigaction, signal, defaults, nullptr, kMaskBytes);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// `step` could not be done with `what`. Exit codes as a shell has them.
[[noreturn]] void Fail(std::string_view step, std::string_view what, int error,
                       int code = 126) {
  const std::string text = fmt::format("muster-exec: cannot {} '{}': {}\n",
                                       step, what, std::strerror(error));
  // Nobody is left to tell if this fails too.
  [[maybe_unused]] const ssize_t n = write(2, text.data(), text.size());
  _exit(code);
}

// False, with errno, if it could not.
bool Become(const RunAs& run_as, int out, int err, bool is_terminal) {
  // Or /dev/stdout could not be opened. A terminal keeps its group, "tty".
  constexpr gid_t kUnchanged = ~gid_t{0};
  for (const int fd : {out, err}) {
    if (fchown(fd, run_as.uid, is_terminal ? kUnchanged : run_as.gid) != 0) {
      return false;
    }
  }
  return setgroups(run_as.groups.size(), run_as.groups.data()) == 0 &&
         setgid(run_as.gid) == 0 && setuid(run_as.uid) == 0;
}

// What the kernel is to kill first when memory runs out: the command rather
// than who can tell of it. At least what every process has, whatever the agent
// got.
void YieldMemory() {
  constexpr char kPath[] = "/proc/self/oom_score_adj";
  const Fd fd(open(kPath, O_RDWR | O_CLOEXEC));
  char text[16] = {};
  // Where it cannot be told it stays as it is.
  if (!fd.valid() || read(fd.get(), text, sizeof text - 1) <= 0) return;
  const int own = std::atoi(text);
  const std::string score =
      std::to_string(std::clamp(own + kCommandOomScoreAbove, 0, kOomScoreMax));
  [[maybe_unused]] const ssize_t n =
      pwrite(fd.get(), score.data(), score.size(), 0);
}

// The child's side of Child::Fork().
[[noreturn]] void Execute(const Launch& launch, int gate, int out, int err) {
  setsid();
  YieldMemory();
  if (launch.terminal.valid()) {
    ioctl(launch.terminal.get(), TIOCSCTTY, 0);
    out = err = launch.terminal.get();
  }
  const int refused = launch.run_as && !Become(*launch.run_as, out, err,
                                               launch.terminal.valid())
                          ? errno
                          : 0;
  // A lost shim must not leave it running. After Become(), which undoes it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char go = 0;
  if (read(gate, &go, 1) != 1) _exit(125);

  // Above every number that dup2() is about to overwrite.
  const int text =
      launch.text.valid() ? fcntl(launch.text.get(), F_DUPFD, 16) : -1;
  dup2(launch.terminal.valid() ? launch.terminal.get()
       : launch.input.valid()  ? launch.input.get()
                               : open("/dev/null", O_RDONLY),
       0);
  dup2(out, 1);
  dup2(err, 2);
  if (text >= 0) dup2(text, kTextFd);
  close_range(text >= 0 ? kTextFd + 1 : kTextFd, ~0U, 0);

  if (refused != 0) Fail("become user", launch.run_as->name, refused);
  umask(launch.umask);
  if (chdir(launch.folder.c_str()) != 0 &&
      (!launch.folder_is_home || chdir("/") != 0)) {
    Fail("enter", launch.folder, errno);
  }
  const std::vector<char*> argv = Pointers(launch.argv);
  const std::vector<char*> env = Pointers(launch.env);
  ResetSignals();
  execve(launch.program.c_str(), argv.data(), env.data());
  Fail("execute", launch.argv.front(), errno, errno == ENOENT ? 127 : 126);
}

absl::Status PlanProgram(const Spec& spec, const Account& account,
                         Launch& launch) {
  if (spec.terminal && spec.argv.empty()) {
    launch.program = account.shell;
    // The '-' makes it a login shell.
    launch.argv = {"-" +
                   account.shell.substr(account.shell.find_last_of('/') + 1)};
    return absl::OkStatus();
  }
  if (spec.shell == Shell::kExec) {
    launch.argv = spec.argv;
    launch.program = FindProgram(spec.argv.front(), kCommandPath);
    return absl::OkStatus();
  }
  launch.program = FindProgram(Name(spec.shell), kCommandPath);
  if (launch.program.empty()) {
    return absl::FailedPreconditionError("shell_unavailable");
  }
  const bool by_descriptor = spec.command.size() > kTextAsArgumentMax;
  if (by_descriptor) {
    ASSIGN_OR_RETURN(launch.text, InMemory(spec.command));
  }
  launch.argv = ArgumentsFor(spec.shell, spec.command, by_descriptor);
  return absl::OkStatus();
}

absl::Status PlanFolder(const std::string& folder, const Account& account,
                        Launch& launch) {
  launch.folder_is_home = folder.empty();
  launch.folder = folder.empty() ? account.home : folder;
  struct stat st;
  if (folder.empty() ||
      (stat(folder.c_str(), &st) == 0 && S_ISDIR(st.st_mode))) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("working_directory_missing");
}

}  // namespace

std::string FindProgram(std::string_view name, std::string_view path) {
  if (name.find('/') != name.npos) return std::string(name);
  while (!name.empty() && !path.empty()) {
    const size_t colon = path.find(':');
    const std::string candidate =
        fmt::format("{}/{}", path.substr(0, colon), name);
    struct stat st;
    if (stat(candidate.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
        access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
    path.remove_prefix(colon == path.npos ? path.size() : colon + 1);
  }
  return "";
}

absl::StatusOr<std::string> UserOf(const Surroundings& surroundings) {
  ASSIGN_OR_RETURN(Account account, AccountFor(surroundings.user));
  return std::move(account.name);
}

absl::StatusOr<Launch> PlanLaunch(const Spec& spec) {
  const Surroundings& surroundings = spec.surroundings;
  ASSIGN_OR_RETURN(const Account account, AccountFor(surroundings.user));
  Launch launch;
  RETURN_IF_ERROR(PlanProgram(spec, account, launch));
  RETURN_IF_ERROR(PlanFolder(surroundings.folder, account, launch));
  launch.umask = surroundings.umask.value_or(022);
  if (account.uid != getuid()) {
    launch.run_as = {account.name, account.uid, account.gid, GroupsOf(account)};
  }
  if (!surroundings.input.empty()) {
    ASSIGN_OR_RETURN(launch.input, InMemory(surroundings.input));
    lseek(launch.input.get(), 0, SEEK_SET);
  }
  launch.env = {fmt::format("PATH={}", kCommandPath),
                "HOME=" + account.home,
                "USER=" + account.name,
                "LOGNAME=" + account.name,
                "SHELL=" + account.shell,
                "LANG=C.UTF-8",
                "MUSTER_COMMAND_ID=" + spec.command_id.str()};
  if (spec.terminal) launch.env.push_back("TERM=" + spec.terminal->type);
  for (const std::string& entry : surroundings.environment) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    std::erase_if(launch.env, [&](const std::string& known) {
      return known.starts_with(name);
    });
    launch.env.push_back(entry);
  }
  return launch;
}

absl::StatusOr<Child> Child::Fork(const Launch& launch,
                                  std::optional<Cgroup>& cgroup, int out,
                                  int err) {
  int gate[2];
  if (pipe2(gate, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making", "pipe");
  Fd gate_read(gate[0]), gate_write(gate[1]);
  pid_t pid = cgroup ? cgroup->Fork() : -1;
  const bool is_member = pid > 0;
  if (pid < 0) pid = fork();
  if (pid < 0) return ErrnoStatus(errno, "forking", "shim");
  if (pid == 0) {
    gate_write.Reset();  // Or the child would never see the shim's end.
    Execute(launch, gate_read.get(), out, err);
  }
  if (cgroup && !is_member && !cgroup->Add(pid)) {
    cgroup->Remove();
    cgroup.reset();
  }
  return Child(pid, std::move(gate_write));
}

void Child::Release() {
  // A child that is gone already is reaped like any other.
  [[maybe_unused]] const ssize_t n = write(gate_.get(), "g", 1);
  gate_.Reset();
}

}  // namespace muster::agent
