// The network between agents and gateway: connections that delay, hold back,
// forget and break, but never reorder or alter.

#ifndef MUSTER_TESTS_SIMULATION_NETWORK_H_
#define MUSTER_TESTS_SIMULATION_NETWORK_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "muster/v1/agent_link.pb.h"
#include "tests/simulation/random.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

// What is said on a link, as plain data: the fields of muster.v1 that the rules
// read.
enum class Say : uint8_t {
  kHello,
  kHeartbeat,
  kGoodbye,
  kUpdate,
  kWelcome,
  kAck,
  kOrder,
  kCancel,
  kUpdateAck,
  kDisconnect,
  kChunk,  // Of output, on the second stream of the connection.
  kChunkAck,
  kTransferOver,  // The gateway has ended that stream.
  kEnd,           // Nothing follows (FIN).
  kReset,         // Nothing follows, and what was under way is lost (RST).
  kWait,  // Not sent: the gateway's door tells that somebody has to wait.
};

// What only messages about commands carry.
using Parcel = std::variant<v1::Hello, v1::CommandOrder, v1::CommandUpdate,
                            v1::TransferChunk, v1::TransferAck>;

struct Message {
  Say say = Say::kEnd;
  uint8_t code = 0;  // Reason, or state of a command.
  // Hello: the node that speaks. Chunk: which one of the streams for output
  // that this connection has had.
  uint32_t command = 0;
  uint64_t epoch = 0;     // Hello: last_epoch.
  uint64_t sequence = 0;  // Hello: seen_high. Order: dispatch_seq.
  // Acknowledgement. Hello: boot, then life of the process.
  uint64_t acknowledged = 0;
  // Interval, promise, retry_after; or none: -1. Hello: acknowledged_ago.
  Nanos length = 0;
  Nanos round_trip = -1;  // Hello: connected_ago.
  int64_t wall = 0;       // Nanoseconds since the Unix epoch, at the sender.
  Nanos interval = 0;     // Not sent: the interval that the agent keeps.
  uint64_t bytes = 0;     // Of the parcel, on a narrow link.
  std::shared_ptr<const Parcel> parcel = nullptr;
};

// One TCP connection. It is found by index and generation: an index is used
// again once both ends are closed.
struct ConnectionId {
  uint32_t index = UINT32_MAX;
  uint32_t generation = 0;
  friend bool operator==(ConnectionId, ConnectionId) = default;
};

// What the two hosts hear. Calls come from Network::Deliver().
class NetworkEnds {
 public:
  virtual ~NetworkEnds() = default;
  virtual void AtGateway(uint32_t agent, ConnectionId, const Message&) = 0;
  virtual void AtAgent(uint32_t agent, ConnectionId, const Message&) = 0;
};

class Network {
 public:
  enum Direction : uint32_t { kUp = 0, kDown = 1 };

  // How the way of one agent behaves now.
  struct Path {
    Nanos delay = kMillisecond;  // One way.
    Nanos jitter = 0;
    double loss = 0;  // Chance that a packet must be sent again.
    // What goes up through a narrow link; 0: as much as comes.
    uint64_t bytes_per_second = 0;
    bool blocked[2] = {false, false};
    Nanos blocked_since[2] = {0, 0};
    // Nothing that goes up is acknowledged: one more message passes.
    bool starves = false;
    uint32_t passed_while_starved = 0;
    // The agent's host has power: it answers for connections it does not know.
    bool host_up = true;
  };

  Network(Timeline& timeline, NetworkEnds& ends, uint32_t agents, uint64_t seed)
      : timeline_(timeline), ends_(ends), random_(seed, 'N'), paths_(agents) {}

  Path& path(uint32_t agent) { return paths_[agent]; }
  // As for an agent's host.
  void SetGatewayHostUp(bool up) { gateway_host_up_ = up; }

  // The agent dials. Its hello is to be sent next.
  ConnectionId Dial(uint32_t agent);
  // False if that end is closed.
  bool Send(ConnectionId id, Direction direction, const Message& message);
  // Whether that end is open.
  bool Holds(ConnectionId id, Direction direction) {
    const Connection* c = Find(id);
    return c != nullptr && c->pipes[direction].open;
  }
  // How long what the agent sends next must wait for what it has sent.
  Nanos Backlog(ConnectionId id) {
    const Connection* c = Find(id);
    return c == nullptr ? 0 : std::max<Nanos>(c->sent_at - timeline_.now(), 0);
  }
  // That end closes; the other one is told in order, if `told`.
  void Close(ConnectionId id, Direction direction, bool told = true);
  // Both ends hear a reset; what was under way is lost.
  void Reset(ConnectionId id);
  // A middlebox forgets the connection: nothing passes any more.
  void Mute(ConnectionId id);

  // Nothing passes in that direction / it does again.
  void Block(uint32_t agent, Direction direction);
  void Unblock(uint32_t agent, Direction direction);

  // Every connection that one end still holds, oldest index first.
  template <typename F>
  void ForEach(F f) {
    for (uint32_t i = 0; i < connections_.size(); ++i) {
      const Connection& c = connections_[i];
      if (c.used) f(ConnectionId{i, c.generation}, c.agent);
    }
  }

  // A kDelivery is due.
  void Deliver(uint32_t pipe, uint32_t generation);

 private:
  struct Pipe {
    std::vector<Message> queue;
    uint32_t head = 0;
    Nanos last = 0;        // When the newest message arrives.
    uint32_t waiting = 0;  // Deliveries that came while it was blocked.
    bool open = false;     // The sender's end is.
    bool empty() const { return head == queue.size(); }
    void Clear() {
      queue.clear();
      head = 0;
    }
  };
  struct Connection {
    uint32_t agent = 0;
    uint32_t generation = 0;
    bool used = false;
    bool muted = false;
    bool greeted = false;  // The hello has arrived.
    Nanos sent_at = 0;     // When the narrow link has taken all that goes up.
    Pipe pipes[2];
  };

  Connection* Find(ConnectionId id);
  void Push(Connection& c, uint32_t index, Direction direction,
            const Message& message);
  void Release(Connection& c, uint32_t index);
  // Whether the oldest message of the pipe arrives now.
  bool Passes(const Connection& c, Direction direction, Say say);
  Nanos Travel(const Path& path);

  Timeline& timeline_;
  NetworkEnds& ends_;
  Random random_;
  std::vector<Path> paths_;
  bool gateway_host_up_ = true;
  std::vector<Connection> connections_;
  std::vector<uint32_t> free_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_NETWORK_H_
