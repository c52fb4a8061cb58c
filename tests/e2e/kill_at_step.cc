// kill_at_step CONTROL LOG -- PROGRAM ARGUMENT…
//
// Which step of our programs is the last one that they take? Runs PROGRAM and
// everything that it starts under ptrace, numbers the calls by which a program
// of ours (muster-…) becomes visible outside itself (a file created, written,
// synced, renamed; a message sent; a program started), and ends the victims
// with SIGKILL just before the one that CONTROL asks for.
//
//   CONTROL   "ARM STEP VICTIM": counts from 1 since ARM, any word, last
//             changed. VICTIM is "self", the process that is about to take the
//             step, or names of programs: "muster-gateway,muster-agent". No
//             such file: nothing is counted, nobody is killed.
//   LOG       "ARM STEP PROGRAM CALL OBJECT" for every step counted, "killed
//             ARM STEP" at the kill, "ended CODE" when PROGRAM has.
//
// strace can inject a signal as well, but counts the calls of each thread
// apart: there are places that it never reaches. Here one count goes over all
// threads of all programs, so that 1, 2, 3, … reach each place that a run has.
//
// Ends when all that it runs has ended; its own end ends them all.

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

enum class Shows {
  kAlways,      // The object is the path in argument `at`.
  kIfCreating,  // Likewise; the flags follow the path.
  kIfOutside,   // The object is the descriptor in argument `at`: a file, …
};

struct Call {
  int number;
  const char* name;
  Shows shows;
  int at;
};

constexpr Call kCalls[] = {
    {SYS_openat, "openat", Shows::kIfCreating, 1},
    {SYS_mkdirat, "mkdirat", Shows::kAlways, 1},
    {SYS_unlinkat, "unlinkat", Shows::kAlways, 1},
    {SYS_renameat2, "renameat2", Shows::kAlways, 3},
    {SYS_linkat, "linkat", Shows::kAlways, 3},
    {SYS_execve, "execve", Shows::kAlways, 0},
    {SYS_fchmod, "fchmod", Shows::kIfOutside, 0},
    {SYS_ftruncate, "ftruncate", Shows::kIfOutside, 0},
    {SYS_fallocate, "fallocate", Shows::kIfOutside, 0},
    {SYS_fsync, "fsync", Shows::kIfOutside, 0},
    {SYS_fdatasync, "fdatasync", Shows::kIfOutside, 0},
    {SYS_write, "write", Shows::kIfOutside, 0},
    {SYS_writev, "writev", Shows::kIfOutside, 0},
    {SYS_pwrite64, "pwrite64", Shows::kIfOutside, 0},
    {SYS_sendto, "sendto", Shows::kIfOutside, 0},
    {SYS_sendmsg, "sendmsg", Shows::kIfOutside, 0},
    {SYS_connect, "connect", Shows::kIfOutside, 0},
    {SYS_bind, "bind", Shows::kIfOutside, 0},
    {SYS_listen, "listen", Shows::kIfOutside, 0},
#ifdef SYS_rename  // Older machines' names of the same.
    {SYS_open, "open", Shows::kIfCreating, 0},
    {SYS_mkdir, "mkdir", Shows::kAlways, 0},
    {SYS_rmdir, "rmdir", Shows::kAlways, 0},
    {SYS_unlink, "unlink", Shows::kAlways, 0},
    {SYS_rename, "rename", Shows::kAlways, 1},
    {SYS_renameat, "renameat", Shows::kAlways, 3},
    {SYS_link, "link", Shows::kAlways, 1},
    {SYS_chmod, "chmod", Shows::kAlways, 0},
#endif
};

pid_t main_program = 0;

void PassOn(int signal) { kill(main_program, signal); }

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "kill_at_step: %s: %s\n", what, std::strerror(errno));
  std::exit(125);
}

// The kernel stops us at kCalls only; everything else runs at full speed.
void InstallFilter() {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const Call& call : kCalls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                              static_cast<uint32_t>(call.number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program = {static_cast<uint16_t>(filter.size()),
                              filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    Die("seccomp");
  }
}

std::string LinkIn(pid_t thread, const std::string& name) {
  const std::string path = "/proc/" + std::to_string(thread) + "/" + name;
  char target[4096];
  const ssize_t n = readlink(path.c_str(), target, sizeof target);
  return n < 0 ? "" : std::string(target, static_cast<size_t>(n));
}

// "muster-agent", …; empty: not ours.
std::string ProgramOf(pid_t thread) {
  const std::string path = LinkIn(thread, "exe");
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.starts_with("muster-") ? name : "";
}

// The number after `key`, "Tgid:" say, in its status; 0: it is gone.
pid_t StatusOf(pid_t thread, std::string_view key) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stoi(line.substr(key.size()));
  }
  return 0;
}

std::string TextAt(pid_t thread, uint64_t address) {
  char text[256] = {};
  iovec here = {text, sizeof text - 1};
  iovec there = {reinterpret_cast<void*>(address), sizeof text - 1};
  // Up to the end of the page if the next one is not there.
  if (process_vm_readv(thread, &here, 1, &there, 1, 0) < 0) {
    here.iov_len = there.iov_len = 4096 - address % 4096;
    if (here.iov_len >= sizeof text) here.iov_len = sizeof text - 1;
    there.iov_len = here.iov_len;
    process_vm_readv(thread, &here, 1, &there, 1, 0);
  }
  return text;
}

// What the call touches; empty: nothing that anybody outside could see. Output
// and errors are the program's log: no step.
std::string ObjectOf(pid_t thread, const Call& call,
                     const __uint64_t* arguments) {
  const uint64_t object = arguments[call.at];
  if (call.shows == Shows::kAlways) return TextAt(thread, object);
  if (call.shows == Shows::kIfCreating) {
    const bool creates = (arguments[call.at + 1] & (O_CREAT | O_TRUNC)) != 0;
    return creates ? TextAt(thread, object) : "";
  }
  if (object <= STDERR_FILENO) return "";
  std::string target = LinkIn(thread, "fd/" + std::to_string(object));
  for (const char* inside : {"anon_inode:", "/memfd:", "/dev/", "/proc/"}) {
    if (target.starts_with(inside)) return "";
  }
  return target.substr(0,
                       target.find(':'));  // "socket", for its number changes.
}

class Tracer {
 public:
  Tracer(std::string control, const char* log)
      : control_(std::move(control)), log_(log, std::ios::app) {}

  // Until nothing is left; the exit code of the main program.
  int Run();

 private:
  void Stopped(pid_t thread, int status);
  void Step(pid_t thread);
  void Count(pid_t thread, const std::string& what);
  void Kill(pid_t victim);

  const std::string control_;
  std::ofstream log_;
  std::set<pid_t> threads_;  // Of all that it runs.
  std::string arm_;
  int64_t count_ = 0;
};

int Tracer::Run() {
  int code = 0, status = 0;
  while (true) {
    const pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) return code;
    if (WIFSTOPPED(status)) {
      threads_.insert(thread);
      Stopped(thread, status);
      continue;
    }
    threads_.erase(thread);
    if (thread != main_program) continue;
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    log_ << "ended " << code << std::endl;
  }
}

void Tracer::Stopped(pid_t thread, int status) {
  const int event = status >> 16, signal = WSTOPSIG(status);
  if (event == PTRACE_EVENT_SECCOMP) {
    Step(thread);
  } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
    ptrace(PTRACE_LISTEN, thread, 0, 0);  // It was told to stand still.
    return;
  }
  ptrace(PTRACE_CONT, thread, 0, event != 0 ? 0 : signal);
}

void Tracer::Step(pid_t thread) {
  const std::string program = ProgramOf(thread);
  __ptrace_syscall_info info = {};
  if (program.empty() ||
      ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) {
    return;
  }
  const Call* call =
      std::find_if(std::begin(kCalls), std::end(kCalls), [&](const Call& c) {
        return static_cast<uint64_t>(c.number) == info.seccomp.nr;
      });
  if (call == std::end(kCalls)) return;
  const std::string object = ObjectOf(thread, *call, info.seccomp.args);
  if (object.empty()) return;
  const std::string step = program + " " + call->name + " " + object;
  Count(thread, step);
  // The program that starts another may die while the other is on its way.
  const pid_t parent = StatusOf(thread, "PPid:");
  if (info.seccomp.nr == SYS_execve && ProgramOf(parent) == program) {
    Count(parent, step + " of-its-parent");
  }
}

void Tracer::Count(pid_t thread, const std::string& what) {
  std::string arm, victims;
  int64_t step = 0;
  if (!(std::ifstream(control_) >> arm >> step >> victims)) return;
  if (arm != std::exchange(arm_, arm)) count_ = 0;
  ++count_;
  log_ << arm << " " << count_ << " " << what << std::endl;
  if (count_ != step) return;
  // Before anybody can notice the death.
  log_ << "killed " << arm << " " << count_ << std::endl;
  if (victims == "self") {
    Kill(thread);
  } else {
    const std::string listed = "," + victims + ",";
    for (const pid_t other : threads_) {
      const std::string name = ProgramOf(other);
      if (!name.empty() && listed.find("," + name + ",") != listed.npos) {
        Kill(other);
      }
    }
  }
}

void Tracer::Kill(pid_t victim) {
  const pid_t process = StatusOf(victim, "Tgid:");
  if (process > 0) kill(process, SIGKILL);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || std::strcmp(argv[3], "--") != 0) {
    std::fprintf(stderr,
                 "usage: kill_at_step CONTROL LOG -- PROGRAM ARGUMENT...\n");
    return 2;
  }
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) Die("pipe2");
  main_program = fork();
  if (main_program < 0) Die("fork");
  if (main_program == 0) {
    char byte;
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) _exit(125);
    InstallFilter();
    execvp(argv[4], argv + 4);
    Die(argv[4]);
  }
  constexpr int kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP |
                           PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                           PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
  if (ptrace(PTRACE_SEIZE, main_program, 0, kOptions) != 0) Die("ptrace");
  for (const int passed : {SIGTERM, SIGINT, SIGHUP}) signal(passed, PassOn);
  if (write(ready[1], "g", 1) != 1) Die("write");
  close(ready[1]);
  return Tracer(argv[1], argv[2]).Run();
}
