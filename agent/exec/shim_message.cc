#include "agent/exec/shim_message.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "fmt/format.h"

namespace muster::agent {
namespace {

constexpr size_t kHeaderBytes = 21;
constexpr char kLine[] = "line";

void Put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    out.push_back(static_cast<char>(value >> (8 * i)));
  }
}

uint64_t Get(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return value;
}

struct LineAddress {
  Fd folder;  // Keeps the address valid.
  sockaddr_un address = {};
};

// Through /proc, as the path itself may be too long for an address.
absl::StatusOr<LineAddress> AddressIn(const std::string& folder) {
  LineAddress line;
  line.folder.Reset(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!line.folder.valid()) return ErrnoStatus(errno, "opening", folder);
  line.address.sun_family = AF_UNIX;
  const std::string path =
      fmt::format("/proc/self/fd/{}/{}", line.folder.get(), kLine);
  std::memcpy(line.address.sun_path, path.c_str(), path.size() + 1);
  return line;
}

absl::StatusOr<Fd> MakeSocket() {
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making", "a socket");
  return fd;
}

}  // namespace

std::string Encode(const ShimMessage& message) {
  std::string packet;
  packet.reserve(kHeaderBytes + message.data.size());
  Put(packet, static_cast<uint64_t>(message.kind), 1);
  Put(packet, message.number, 8);
  Put(packet, message.kept, 8);
  Put(packet, message.size.rows, 2);
  Put(packet, message.size.columns, 2);
  packet += message.data;
  return packet;
}

std::optional<ShimMessage> ParseShimMessage(std::string_view packet) {
  if (packet.size() < kHeaderBytes ||
      packet.size() > kHeaderBytes + kInputBytesMax) {
    return std::nullopt;
  }
  ShimMessage message;
  message.kind = static_cast<ShimMessage::Kind>(packet[0]);
  message.number = Get(packet.substr(1, 8));
  message.kept = Get(packet.substr(9, 8));
  message.size.rows = static_cast<uint16_t>(Get(packet.substr(17, 2)));
  message.size.columns = static_cast<uint16_t>(Get(packet.substr(19, 2)));
  message.data = packet.substr(kHeaderBytes);
  return message;
}

bool SendPacket(int socket, const ShimMessage& message) {
  const std::string packet = Encode(message);
  return send(socket, packet.data(), packet.size(),
              MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(packet.size());
}

std::optional<ShimMessage> ReceivePacket(int socket) {
  char packet[kHeaderBytes + kInputBytesMax + 1];
  const ssize_t n = recv(socket, packet, sizeof packet, MSG_DONTWAIT);
  if (n > 0) {
    errno = EBADMSG;
    return ParseShimMessage({packet, static_cast<size_t>(n)});
  }
  if (n == 0) errno = ECONNRESET;
  return std::nullopt;
}

absl::StatusOr<Fd> ListenOnLine(const std::string& folder) {
  absl::StatusOr<LineAddress> line = AddressIn(folder);
  if (!line.ok()) return line.status();
  absl::StatusOr<Fd> fd = MakeSocket();
  if (!fd.ok()) return fd;
  const auto* address = reinterpret_cast<const sockaddr*>(&line->address);
  if (bind(fd->get(), address, sizeof line->address) != 0 ||
      listen(fd->get(), 4) != 0) {
    return ErrnoStatus(errno, "listening in", folder);
  }
  return fd;
}

absl::StatusOr<Fd> DialLine(const std::string& folder) {
  absl::StatusOr<LineAddress> line = AddressIn(folder);
  if (!line.ok()) return line.status();
  absl::StatusOr<Fd> fd = MakeSocket();
  if (!fd.ok()) return fd;
  const auto* address = reinterpret_cast<const sockaddr*>(&line->address);
  if (connect(fd->get(), address, sizeof line->address) != 0) {
    return ErrnoStatus(errno, "dialling the shim in", folder);
  }
  return fd;
}

}  // namespace muster::agent
