// A link that only writes down what it was asked to send.

#ifndef MUSTER_GATEWAY_FLEET_FAKE_LINK_H_
#define MUSTER_GATEWAY_FLEET_FAKE_LINK_H_

#include <optional>
#include <utility>
#include <vector>

#include "gateway/fleet/link_port.h"

namespace muster::gateway {

class FakeLink final : public LinkPort {
 public:
  void SendWelcome(const WelcomeNotice& w) override { welcome = w; }
  void SendOrder(const CommandRecord& command) override {
    orders.push_back(command);
  }
  void SendCancel(const CommandId& command) override {
    cancels.push_back(command);
  }
  void SendInput(const InputPart& part) override { inputs.push_back(part); }
  void SendUpdateAck(const CommandId& command, CommandState state) override {
    acks.emplace_back(command, state);
  }
  void Close(const Disconnect& why) override { closed = why; }

  std::optional<WelcomeNotice> welcome;
  std::vector<CommandRecord> orders;
  std::vector<CommandId> cancels;
  std::vector<InputPart> inputs;
  std::vector<std::pair<CommandId, CommandState>> acks;
  std::optional<Disconnect> closed;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_FAKE_LINK_H_
