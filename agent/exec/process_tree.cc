#include "agent/exec/process_tree.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/ids.h"

namespace muster::agent {
namespace {

constexpr size_t kProcBytesMax = 1 << 20;

// state and parent from /proc/PID/stat; the name between the parentheses may
// contain anything, so the last ')' counts.
bool ParseStat(const std::string& stat, char& state, pid_t& parent) {
  const size_t close = stat.rfind(')');
  if (close == stat.npos) return false;
  std::istringstream rest(stat.substr(close + 1));
  return static_cast<bool>(rest >> state >> parent);
}

bool WriteTo(const std::string& path, std::string_view text) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() && write(fd.get(), text.data(), text.size()) ==
                           static_cast<ssize_t>(text.size());
}

std::string BaseName(std::string_view command) {
  return fmt::format("muster-{}", command);
}

// Where the cgroup of that name belongs; empty: nowhere.
std::string PathBelowOwn(std::string_view name) {
  const auto mountinfo = ReadFile("/proc/self/mountinfo", kProcBytesMax);
  const auto own = ReadFile("/proc/self/cgroup", kProcBytesMax);
  if (!mountinfo.ok() || !own.ok()) return "";
  const std::string parent = OwnCgroupFolder(*mountinfo, *own);
  return parent.empty() ? "" : parent + "/" + BaseName(name);
}

}  // namespace

std::vector<pid_t> Descendants(pid_t root) {
  siginfo_t info;
  const bool childless =
      waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
      errno == ECHILD;
  if (childless && root == getpid()) return {};  // Most of the time.
  std::multimap<pid_t, pid_t> children;
  std::error_code error;
  std::filesystem::directory_iterator it("/proc", error);
  for (; !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    const std::string name = it->path().filename();
    pid_t pid = 0;
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data(), end, pid).ptr != end) continue;
    const auto stat = ReadFile(it->path() / "stat", kProcBytesMax);
    char state = 0;
    pid_t parent = 0;
    if (!stat.ok() || !ParseStat(*stat, state, parent)) continue;
    if (state != 'Z' && state != 'X') children.emplace(parent, pid);
  }
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = children.equal_range(found[i]);
    for (auto child = first; child != last; ++child) {
      found.push_back(child->second);
    }
  }
  found.erase(found.begin());
  return found;
}

std::string OwnCgroupFolder(std::string_view mountinfo, std::string_view own) {
  std::string relative;
  std::istringstream own_lines{std::string(own)};
  for (std::string line; std::getline(own_lines, line);) {
    if (line.starts_with("0::/")) relative = line.substr(3);
  }
  if (relative.empty()) return "";
  std::istringstream mounts{std::string(mountinfo)};
  for (std::string line; std::getline(mounts, line);) {
    const size_t dash = line.find(" - ");
    if (dash == line.npos || line.compare(dash, 11, " - cgroup2 ") != 0) {
      continue;
    }
    // id parent major:minor root mount_point …
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point;
    fields >> id >> parent >> device >> root >> mount_point;
    if (root == "/") root.clear();
    if (!relative.starts_with(root)) continue;  // Mounted from elsewhere.
    std::string folder = mount_point + relative.substr(root.size());
    while (folder.ends_with('/')) folder.pop_back();
    return folder;
  }
  return "";
}

std::optional<Cgroup> Cgroup::Make(std::string_view name) {
  const std::string path = PathBelowOwn(name);
  if (path.empty() || mkdir(path.c_str(), 0755) != 0) return std::nullopt;
  return Cgroup(path);
}

pid_t Cgroup::Fork() const {
  const Fd folder(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return -1;
  clone_args args = {};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(folder.get());
  return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
}

bool Cgroup::Add(pid_t pid) const {
  const std::string procs = path_ + "/cgroup.procs";
  if (WriteTo(procs, fmt::to_string(pid))) return true;
  // An agent that starts just now may have swept it away while it was empty.
  return mkdir(path_.c_str(), 0755) == 0 && WriteTo(procs, fmt::to_string(pid));
}

std::optional<Cgroup> Cgroup::Find(std::string path, std::string_view name) {
  if (path.empty()) path = PathBelowOwn(name);
  if (!path.ends_with("/" + BaseName(name))) return std::nullopt;
  if (!FileExists(path + "/cgroup.procs")) return std::nullopt;
  return Cgroup(std::move(path));
}

void Cgroup::RemoveEmptyOnes() {
  const std::string prefix = PathBelowOwn("");
  std::error_code error;
  std::filesystem::directory_iterator it(
      std::filesystem::path(prefix).parent_path(), error);
  for (; !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    const std::string path = it->path();
    if (path.starts_with(prefix) && IsUuid(path.substr(prefix.size()))) {
      rmdir(path.c_str());
    }
  }
}

void Cgroup::Kill() const {
  if (WriteTo(path_ + "/cgroup.kill", "1")) return;
  // Before Linux 5.14: one by one; the caller repeats until it is empty.
  const auto procs = ReadFile(path_ + "/cgroup.procs", kProcBytesMax);
  if (!procs.ok()) return;
  std::istringstream pids(*procs);
  for (pid_t pid = 0; pids >> pid;) kill(pid, SIGKILL);
}

bool Cgroup::Populated() const {
  const auto events = ReadFile(path_ + "/cgroup.events", kProcBytesMax);
  return events.ok() && events->find("populated 1") != std::string::npos;
}

void Cgroup::Remove() const { rmdir(path_.c_str()); }

}  // namespace muster::agent
