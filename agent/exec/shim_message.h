// What agent and shim say to each other while a command runs.
//
// On the socket `line` in the command's folder, one message a packet:
//
//   kind (1) │ number (8, little-endian) │ kept (8) │ rows (2) │ columns (2) │ data
//
//   shim ─▶ agent   kHello, kTaken; then kTaken whenever it has grown
//   agent ─▶ shim   kInput kEnd kSize kAcknowledged kAlone
//
// The socket carries only what may be lost: the state of a command is in its
// folder. A shim outlives the agent and may meet a newer or an older one, hence
// the version in kHello; unknown kinds are skipped.

#ifndef MUSTER_AGENT_EXEC_SHIM_MESSAGE_H_
#define MUSTER_AGENT_EXEC_SHIM_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "agent/exec/pty.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

inline constexpr uint64_t kShimProtocol = 1;

// Of input in one message.
inline constexpr size_t kInputBytesMax = 16 * 1024;
// Of input that a shim keeps for a command that does not read. Whoever sends
// keeps no more than this beyond the last kTaken.
inline constexpr size_t kBacklogBytesMax = 64 * 1024;

struct ShimMessage {
  enum class Kind : uint8_t {
    kHello = 1,         // number: the shim's protocol.
    kInput = 2,         // number: offset of the first byte of `data`.
    kEnd = 3,           // number: where the input ends.
    kSize = 4,          // Of the terminal.
    kAcknowledged = 5,  // number: output before it is at the gateway.
    kAlone = 6,         // There is no gateway.
    kTaken = 7,         // number: input before it was written to the command.
    kClosed = 8,        // As kTaken; the command reads no more.
  };
  Kind kind = Kind::kHello;
  uint64_t number = 0;
  uint64_t kept = 0;  // Of kTaken and kClosed: input before it is here.
  WindowSize size = {0, 0};
  std::string data = {};

  friend bool operator==(const ShimMessage&, const ShimMessage&) = default;
};

std::string Encode(const ShimMessage& message);
// Absent for what is none.
std::optional<ShimMessage> ParseShimMessage(std::string_view packet);

// False if the peer is gone or does not read; never waits.
bool SendPacket(int socket, const ShimMessage& message);

// The next message, without waiting; absent with errno EAGAIN: none is there;
// absent otherwise: the peer is gone, or speaks nonsense.
std::optional<ShimMessage> ReceivePacket(int socket);

// The socket of a command's folder: non-blocking, close-on-exec. The folder's
// path may be longer than a socket's address.
absl::StatusOr<Fd> ListenOnLine(const std::string& folder);
absl::StatusOr<Fd> DialLine(const std::string& folder);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_SHIM_MESSAGE_H_
