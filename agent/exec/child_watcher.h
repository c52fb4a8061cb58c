// How does the agent learn that something happened to a command?

#ifndef MUSTER_AGENT_EXEC_CHILD_WATCHER_H_
#define MUSTER_AGENT_EXEC_CHILD_WATCHER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "agent/exec/shim_message.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/mutex.h"

namespace muster::agent {

// How far the input of a command has come.
struct InputState {
  uint64_t taken = 0;   // Everything before it was written to the command.
  uint64_t kept = 0;    // Everything before it is at its shim.
  bool again = false;   // What was said beyond `taken` is lost.
  bool closed = false;  // The command reads no more.
};

// ChildWatcher waits, on a thread of its own, for folders to change (inotify),
// for shims to speak (the line) and to end (pidfd), be they children of this
// process or not.
//
// Threading: thread-safe. Lifetime: the destructor joins; nothing is announced
// after it.
class ChildWatcher {
 public:
  struct Event {
    CommandId command_id;
    bool changed = false;  // Its folder.
    bool gone = false;     // The shim has ended.
    std::optional<InputState> input = {};
  };

  // `announce` is called on the watcher's thread when Take() has something to
  // give, and not again before Take(): a flood of changes costs one call.
  // `announce` must not call back into the watcher.
  explicit ChildWatcher(absl::AnyInvocable<void()> announce);
  ~ChildWatcher();

  // Watches `folder` and the process `pid`, which must not have been waited
  // for. Without inotify (its limits are per user) only the end is announced.
  absl::Status Watch(const CommandId& command_id, const std::string& folder,
                     pid_t pid) ABSL_LOCKS_EXCLUDED(mu_);

  // Opens the line to the shim of a watched command, unless it is open: an
  // event tells its state. Errors are those of the socket.
  absl::Status OpenLine(const CommandId& command_id, const std::string& folder)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Says it on the line. False: there is none, or it broke just now.
  bool Say(const CommandId& command_id, const ShimMessage& message)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Sends `signal` to the shim of the command; a no-op if it has ended.
  void Signal(const CommandId& command_id, int signal) ABSL_LOCKS_EXCLUDED(mu_);

  // What happened since the last call.
  std::vector<Event> Take() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Watched {
    Fd pid_fd;
    int watch = -1;  // Of inotify; -1: none.
    Fd line;
    bool foreign = false;  // The shim speaks another protocol: no line.
  };

  void Run();
  void ReadChanges() ABSL_LOCKS_EXCLUDED(mu_);
  void ReadShims() ABSL_LOCKS_EXCLUDED(mu_);
  void ReadLine(const CommandId& command_id, Watched& watched)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Hear(const CommandId& command_id, const ShimMessage& message,
            Watched& watched) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Event& EventOf(const CommandId& command_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AnnounceIfNew() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  absl::AnyInvocable<void()> announce_;  // Called on thread_ only.
  Fd epoll_, inotify_, stop_;

  Mutex mu_;
  std::map<CommandId, Watched> watched_ ABSL_GUARDED_BY(mu_);
  std::map<int, CommandId> by_watch_ ABSL_GUARDED_BY(mu_);
  std::map<CommandId, Event> events_ ABSL_GUARDED_BY(mu_);
  bool announced_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;  // Last: starts when everything above exists.
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_CHILD_WATCHER_H_
