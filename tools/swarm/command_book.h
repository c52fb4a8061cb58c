// What became of the commands that one agent of the swarm was given.

#ifndef MUSTER_TOOLS_SWARM_COMMAND_BOOK_H_
#define MUSTER_TOOLS_SWARM_COMMAND_BOOK_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "agent/link/link_machine.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::swarm {

// CommandBook "runs" every order at once, as succeeded, with a few bytes of
// output, and repeats its word until the gateway has it. No order is run twice:
// the rule of a real agent, kept in memory, so for the life of the process.
// Pure. Not thread-safe.
class CommandBook {
 public:
  struct Open {
    v1::CommandUpdate update;
    v1::TransferChunk output;
    bool update_acked = false;
    bool output_acked = false;
  };

  // True if the order was run now. False if it was seen before: what was said
  // of it stays as it is.
  bool Take(const v1::CommandOrder& order, absl::Time wall);

  void UpdateAcked(const v1::CommandUpdateAck& ack);
  void OutputAcked(const v1::TransferAck& ack);

  agent::CommandsForHello ForHello() const;

  // What the gateway has not acknowledged, by command id.
  const std::map<std::string, Open>& open() const { return open_; }

 private:
  void ForgetIfDone(std::map<std::string, Open>::iterator it);

  uint64_t seen_high_ = 0;
  std::map<std::string, Open> open_;
};

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_COMMAND_BOOK_H_
