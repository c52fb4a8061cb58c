// What is typed into sessions, and piped into commands, on its way.
//
//   caller ─▶ accepted ─▶ sent ─▶ taken: written to the command ─▶ forgotten
//
// At most once: what the machine has taken is never sent again, and what may be
// lost with a link is sent again only when the machine asks for it.

#ifndef MUSTER_GATEWAY_FLEET_INPUT_DESK_H_
#define MUSTER_GATEWAY_FLEET_INPUT_DESK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "gateway/fleet/command_desk.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// An agent's word on the input of one of its commands.
struct InputWord {
  CommandId id;
  uint64_t taken = 0;   // Everything before it was written to the command.
  uint64_t kept = 0;    // Everything before it is on the machine.
  bool again = false;   // What was sent beyond is lost.
  bool closed = false;  // The command reads no more.
};

// InputDesk keeps what the machines have not taken yet. It forgets what a
// former life of the gateway held; offsets go on where the machine says.
//
// Lives on the fleet loop. Everything given must outlive it.
class InputDesk {
 public:
  struct Options {
    size_t bytes_per_command_max = 64 << 10;  // As a shim keeps, too.
    size_t bytes_max = 64 << 20;              // Of all.
    // On its way to one machine: it delays heartbeats on a slow link.
    uint64_t sent_per_machine_max = 64 << 10;
    size_t part_bytes_max = 16 << 10;
    size_t watchers_per_command_max = 16;
  };
  using Changed = absl::AnyInvocable<void()>;

  InputDesk(EventLoop& loop, Machines& machines, CommandDesk& commands,
            Options options);

  struct Progress {
    uint64_t accepted = 0;  // The caller goes on there.
    uint64_t taken = 0;
    bool closed = false;
  };
  // Takes as many of `data`, which begins at `offset`, as there is room for:
  // none if they come after a gap, no byte twice. `end`: nothing follows.
  // `size`: of the terminal, before `data` is typed. Absent: the machine has
  // not said yet that the command reads.
  std::optional<Progress> Write(const CommandId& id, uint64_t offset,
                                std::string_view data, bool end = false,
                                std::optional<WindowSize> size = {});

  std::optional<Progress> Find(const CommandId& id) const;

  // Words on what is no open command of this machine, or reads nothing, count
  // for nothing.
  void Take(Machine& machine, const InputWord& word);

  // Calls `changed` once: when the machine has taken more, says that it reads,
  // or will read no more. False, and it is never called, if too many watch.
  [[nodiscard]] bool Watch(const CommandId& id, Changed changed);
  void WakeWatchers();

 private:
  struct Input {
    AgentId agent;
    bool reads = false;  // The machine has said so.
    uint64_t taken = 0;
    uint64_t kept = 0;  // On the machine.
    uint64_t sent = 0;
    std::string bytes;  // From `taken` on.
    std::optional<uint64_t> end_at;
    bool end_sent = false;
    bool closed = false;
    // Of the terminal, and before which byte.
    std::optional<std::pair<uint64_t, WindowSize>> size;
    std::vector<Changed> watchers;

    uint64_t accepted() const { return taken + bytes.size(); }
    Progress progress() const { return {accepted(), taken, closed}; }
  };

  void CommandMoved(const CommandRecord& now);
  void Drop(Input& input, uint64_t taken);
  // Sends what may be on its way to this machine.
  void SendTo(const AgentId& agent);
  void Send(const CommandId& id, Input& input, LinkPort& link);
  uint64_t SentTo(const AgentId& agent) const;
  void Notify(Input& input);

  // Constant after construction.
  EventLoop& loop_;
  Machines& machines_;
  CommandDesk& commands_;
  const Options options_;

  // Of commands that read and have not ended; and of those that somebody waits
  // to write to.
  absl::flat_hash_map<CommandId, Input> inputs_;
  size_t bytes_ = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_INPUT_DESK_H_
