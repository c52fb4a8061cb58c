// What the rules may ask of one link, whatever carries it.

#ifndef MUSTER_GATEWAY_FLEET_LINK_PORT_H_
#define MUSTER_GATEWAY_FLEET_LINK_PORT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// Why the gateway ends or refuses a link. Values equal those of
// muster.v1.DisconnectReason.
enum class DisconnectReason : uint8_t {
  kDraining = 1,
  kVersionRefused = 2,
  kDeregistered = 3,
  kNotRegistered = 4,
  kSuperseded = 5,
  kSilent = 6,
  kOverloaded = 7,
  kProtocolError = 8,
  kSlowReader = 9,
  kCredentialRevoked = 10,
  kSayAgain = 11,
  kPendingApproval = 12,
};

struct Disconnect {
  DisconnectReason reason = DisconnectReason::kDraining;
  std::string text;
  absl::Duration retry_after;  // Zero: as the agent sees fit.
};

struct WelcomeNotice {
  uint64_t epoch = 0;
  uint64_t acknowledgement = 0;
  absl::Duration heartbeat_interval;
};

// A part of what a command reads.
struct InputPart {
  CommandId command;
  uint64_t offset = 0;
  std::string data;
  bool end = false;                // Nothing follows.
  std::optional<WindowSize> size;  // Of the terminal, before the data.
};

// LinkPort is the gateway's end of one link. Called on the fleet loop only;
// never blocks. Messages go out in order; after Close() nothing does.
class LinkPort {
 public:
  virtual ~LinkPort() = default;
  virtual void SendWelcome(const WelcomeNotice& welcome) = 0;
  virtual void SendOrder(const CommandRecord& command) = 0;
  virtual void SendCancel(const CommandId& command) = 0;
  virtual void SendInput(const InputPart& input) = 0;
  virtual void SendUpdateAck(const CommandId& command, CommandState state) = 0;
  virtual void Close(const Disconnect& why) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_LINK_PORT_H_
