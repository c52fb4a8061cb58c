// Carries commands between the link and what runs them.
//
//   order ─▶ run ─▶ updates, each until the gateway has it
//                └▶ output, each byte until the gateway has it
//                        terminal update and all output there ─▶ forget

#ifndef MUSTER_AGENT_APP_COMMAND_COURIER_H_
#define MUSTER_AGENT_APP_COMMAND_COURIER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/exec/executor.h"
#include "agent/link/link_machine.h"
#include "agent/link/output_sender.h"
#include "libprotocol/base/event_loop.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::agent {

// What runs commands: Executor, as far as the courier needs it.
class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  virtual absl::Status Accept(Order order) = 0;
  virtual absl::Status Cancel(const CommandId& command_id) = 0;
  virtual uint64_t OutputBytes(const CommandId& command_id, Stream stream) = 0;
  virtual absl::StatusOr<std::string> ReadOutput(const CommandId& command_id,
                                                 Stream stream, uint64_t offset,
                                                 size_t bytes_max) = 0;
  virtual uint64_t OutputBegin(const CommandId& command_id) = 0;
  virtual bool IsSession(const CommandId& command_id) = 0;
  virtual void Say(const CommandId& command_id, const ShimMessage& message) = 0;
  virtual absl::Status Forget(const CommandId& command_id) = 0;
  virtual std::vector<CommandId> OpenCommands() = 0;
  virtual uint64_t seen_high() = 0;
};

// The way out. All return false when the message was not taken; the courier
// tries again when the link tells of progress.
struct CommandLink {
  std::function<bool(v1::CommandUpdate)> send_update;
  std::function<bool(v1::TransferChunk)> send_chunk;
  std::function<bool(v1::InputTaken)> send_taken;
};

// CommandCourier keeps the books of what the gateway has. Threading: everything
// on `loop`. Lifetime: `loop`, link and runner outlive it; the runner is set
// once, before anything else is called.
class CommandCourier final : public Executor::Delegate {
 public:
  CommandCourier(EventLoop& loop, CommandLink link)
      : loop_(loop), link_(std::move(link)) {}

  void SetRunner(CommandRunner* runner) { runner_ = runner; }

  // From the runner.
  void OnUpdate(const Update& update) override;
  void OnOutput(const CommandId& command_id) override;
  void OnInput(const CommandId& command_id, const InputState& input) override;

  // From the link.
  CommandsForHello ForHello() const;
  void OnOnline();
  void OnOffline();
  void OnOrder(const v1::CommandOrder& order);
  void OnCancel(const std::string& command_id);
  void OnCommandInput(const v1::CommandInput& input);
  void OnUpdateAck(const v1::CommandUpdateAck& ack);
  void OnTransferAck(const v1::TransferAck& ack);
  void OnTransferLost();

 private:
  struct Open {
    v1::CommandUpdate update;
    v1::CommandState sent =
        v1::COMMAND_STATE_UNSPECIFIED;  // On the present link.
    v1::CommandState acked = v1::COMMAND_STATE_UNSPECIFIED;
  };

  void Keep(v1::CommandUpdate update);
  void SendUpdates();
  void SendOutput();
  OutputSender::Window WindowOf(const CommandId& command_id) const;
  void SendTaken(const CommandId& command_id, const InputState& input);
  // Tells the shim of a session how much of it the gateway has, or that there
  // is none.
  void Accompany(const CommandId& command_id);
  void ForgetIfDone(const CommandId& command_id);

  // Constant after construction.
  EventLoop& loop_;
  const CommandLink link_;
  CommandRunner* runner_ = nullptr;

  // Touched only on loop_.
  std::map<CommandId, Open> open_;
  std::map<CommandId, InputState> inputs_;  // Of those that have a line.
  bool online_ = false;
  OutputSender output_;
  // Expires with the courier: for tasks that may run later.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

v1::CommandUpdate ToProto(const Update& update);
// InvalidArgument for a shell that this agent does not know.
absl::StatusOr<Order> FromProto(const v1::CommandOrder& order);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_COMMAND_COURIER_H_
