// Which processes belong to a command, and how are they ended?

#ifndef MUSTER_AGENT_EXEC_PROCESS_TREE_H_
#define MUSTER_AGENT_EXEC_PROCESS_TREE_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::agent {

// Living descendants of `root`, by /proc; zombies do not count. Complete if
// `root` is a subreaper: then no orphan can leave its tree.
std::vector<pid_t> Descendants(pid_t root);

// Cgroup is a cgroup v2 of one command's own: it holds what escapes every
// other net and ends it at once.
class Cgroup {
 public:
  // A child of this process's own cgroup, named muster-NAME, empty. nullopt
  // where no hierarchy of version 2 is mounted or writable: the command then
  // goes without.
  static std::optional<Cgroup> Make(std::string_view name);

  // fork() whose child is a member from its first instant: to move a process
  // that exists waits for the whole kernel, 10 to 20 ms. For processes with one
  // thread. -1, with errno, where that cannot be done: before Linux 5.7.
  pid_t Fork() const;
  // False if it could not.
  bool Add(pid_t pid) const;

  // The one that an earlier process made: at `path`, as it recorded, or, if it
  // came to record nothing, where Make() would. nullopt unless it exists and is
  // called muster-NAME.
  static std::optional<Cgroup> Find(std::string path, std::string_view name);

  // Removes what earlier commands left, where Make() puts them: a cgroup
  // outlives its shim while a process is in it.
  static void RemoveEmptyOnes();

  const std::string& path() const { return path_; }

  void Kill() const;  // SIGKILL to every member, atomically.
  bool Populated() const;
  void Remove() const;  // A no-op while it is populated.

 private:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// The folder of this process's cgroup v2 as `mountinfo` and `own` (contents of
// /proc/self/mountinfo and /proc/self/cgroup) tell it; empty: there is none.
std::string OwnCgroupFolder(std::string_view mountinfo, std::string_view own);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_PROCESS_TREE_H_
