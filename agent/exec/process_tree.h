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
  // A child of this process's own cgroup, named muster-NAME. nullopt where no
  // hierarchy of version 2 is mounted or writable: the command then goes
  // without.
  static std::optional<Cgroup> Make(std::string_view name);

  // The one at `path`, as recorded by an earlier process. nullopt unless it
  // exists and is called muster-NAME.
  static std::optional<Cgroup> Open(std::string path, std::string_view name);

  const std::string& path() const { return path_; }

  bool Add(pid_t pid) const;
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
