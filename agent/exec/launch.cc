#include "agent/exec/launch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

constexpr int kTextFd = 3;
constexpr std::string_view kTextPath = "/proc/self/fd/3";

struct Account {
  std::string name = "root";
  std::string home = "/";
  std::string shell = "/bin/sh";
};

// From /etc/passwd itself: name services are unfit for a static program, and
// may wait for a network that is down.
Account OwnAccount() {
  Account account;
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/etc/passwd", "re"),
                                                   &fclose);
  while (passwd* entry = file ? fgetpwent(file.get()) : nullptr) {
    if (entry->pw_uid != getuid()) continue;
    account.name = entry->pw_name;
    if (*entry->pw_dir != '\0') account.home = entry->pw_dir;
    if (*entry->pw_shell != '\0') account.shell = entry->pw_shell;
    break;
  }
  return account;
}

absl::StatusOr<Fd> TextInMemory(std::string_view text) {
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

[[noreturn]] void Fail(const Launch& launch, int error) {
  const std::string text =
      fmt::format("muster-exec: cannot execute '{}': {}\n", launch.argv.front(),
                  std::strerror(error));
  // Nobody is left to tell if this fails too.
  [[maybe_unused]] const ssize_t n = write(2, text.data(), text.size());
  _exit(error == ENOENT ? 127 : 126);
}

// The child's side of Child::Fork().
[[noreturn]] void Execute(const Launch& launch, int gate, int out, int err) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // A lost shim must not leave it running.
  char go = 0;
  if (read(gate, &go, 1) != 1) _exit(125);

  // Above every number that dup2() is about to overwrite.
  const int text =
      launch.text.valid() ? fcntl(launch.text.get(), F_DUPFD, 16) : -1;
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, 0);
  dup2(out, 1);
  dup2(err, 2);
  if (text >= 0) dup2(text, kTextFd);
  close_range(text >= 0 ? kTextFd + 1 : kTextFd, ~0U, 0);

  umask(022);
  if (chdir(launch.folder.c_str()) != 0 && chdir("/") != 0) Fail(launch, errno);
  const std::vector<char*> argv = Pointers(launch.argv);
  const std::vector<char*> env = Pointers(launch.env);
  ResetSignals();
  execve(launch.program.c_str(), argv.data(), env.data());
  Fail(launch, errno);
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

absl::StatusOr<Launch> PlanLaunch(const Spec& spec) {
  Launch launch;
  if (spec.shell == Shell::kExec) {
    launch.argv = spec.argv;
    launch.program = FindProgram(spec.argv.front(), kCommandPath);
  } else {
    launch.program = FindProgram(Name(spec.shell), kCommandPath);
    if (launch.program.empty()) {
      return absl::NotFoundError(
          fmt::format("{} is not installed", Name(spec.shell)));
    }
    const bool by_descriptor = spec.command.size() > kTextAsArgumentMax;
    if (by_descriptor) {
      ASSIGN_OR_RETURN(launch.text, TextInMemory(spec.command));
    }
    launch.argv = ArgumentsFor(spec.shell, spec.command, by_descriptor);
  }
  const Account account = OwnAccount();
  launch.folder = account.home;
  launch.env = {fmt::format("PATH={}", kCommandPath),
                "HOME=" + account.home,
                "USER=" + account.name,
                "LOGNAME=" + account.name,
                "SHELL=" + account.shell,
                "LANG=C.UTF-8",
                "MUSTER_COMMAND_ID=" + spec.command_id.str()};
  return launch;
}

absl::StatusOr<Child> Child::Fork(const Launch& launch, int out, int err) {
  int gate[2];
  if (pipe2(gate, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making", "pipe");
  Fd gate_read(gate[0]), gate_write(gate[1]);
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus(errno, "forking", "shim");
  if (pid == 0) {
    gate_write.Reset();  // Or the child would never see the shim's end.
    Execute(launch, gate_read.get(), out, err);
  }
  return Child(pid, std::move(gate_write));
}

void Child::Release() {
  // A child that is gone already is reaped like any other.
  [[maybe_unused]] const ssize_t n = write(gate_.get(), "g", 1);
  gate_.Reset();
}

}  // namespace muster::agent
