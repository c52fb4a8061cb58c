#include "tests/simulation/network.h"

#include <algorithm>

namespace muster::simulation {
namespace {

// TCP's first retransmission, doubled with each that is lost too.
constexpr Nanos kRetransmission = 200 * kMillisecond;
// After an outage the next retransmission may be as far away as it was long.
constexpr Nanos kRetransmissionMax = kMinute;

// Of every message, with all that encloses it.
constexpr uint64_t kMessageBytes = 150;

Network::Direction Other(Network::Direction d) {
  return d == Network::kUp ? Network::kDown : Network::kUp;
}

}  // namespace

ConnectionId Network::Dial(uint32_t agent) {
  uint32_t index = static_cast<uint32_t>(connections_.size());
  if (free_.empty()) {
    connections_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Connection& c = connections_[index];
  c.agent = agent;
  c.used = true;
  c.muted = c.greeted = false;
  c.sent_at = 0;
  for (Pipe& pipe : c.pipes) {
    pipe.Clear();
    // TCP's and TLS's handshakes come before the hello.
    pipe.last = timeline_.now() + 4 * Travel(paths_[agent]);
    pipe.waiting = 0;
    pipe.open = true;
  }
  return {index, c.generation};
}

bool Network::Send(ConnectionId id, Direction direction,
                   const Message& message) {
  Connection* c = Find(id);
  if (c == nullptr || !c->pipes[direction].open) return false;
  Push(*c, id.index, direction, message);
  return true;
}

void Network::Close(ConnectionId id, Direction direction, bool told) {
  Connection* c = Find(id);
  if (c == nullptr || !c->pipes[direction].open) return;
  if (told) Push(*c, id.index, direction, {.say = Say::kEnd});
  c->pipes[direction].open = false;
  Release(*c, id.index);
}

void Network::Reset(ConnectionId id) {
  Connection* c = Find(id);
  if (c == nullptr) return;
  for (const Direction direction : {kUp, kDown}) {
    Pipe& pipe = c->pipes[direction];
    pipe.Clear();
    pipe.waiting = 0;
    pipe.last = timeline_.now();
    Push(*c, id.index, direction, {.say = Say::kReset});
  }
}

void Network::Mute(ConnectionId id) {
  if (Connection* c = Find(id)) c->muted = true;
}

void Network::Block(uint32_t agent, Direction direction) {
  Path& path = paths_[agent];
  if (path.blocked[direction]) return;
  path.blocked[direction] = true;
  path.blocked_since[direction] = timeline_.now();
  path.passed_while_starved = 0;
}

void Network::Unblock(uint32_t agent, Direction direction) {
  Path& path = paths_[agent];
  if (!path.blocked[direction]) return;
  path.blocked[direction] = false;
  const Nanos outage = timeline_.now() - path.blocked_since[direction];
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    Connection& c = connections_[i];
    if (!c.used || c.agent != agent) continue;
    for (const Direction d : {kUp, kDown}) {
      Pipe& pipe = c.pipes[d];
      if (pipe.waiting == 0) continue;
      const Nanos at = timeline_.now() + Travel(path) +
                       random_.Between(0, std::min(outage, kRetransmissionMax));
      for (; pipe.waiting > 0; --pipe.waiting) {
        timeline_.Add(at, Due::kDelivery, i * 2 + d, c.generation);
      }
      pipe.last = std::max(pipe.last, at);
    }
  }
}

void Network::Deliver(uint32_t pipe_index, uint32_t generation) {
  const ConnectionId id{pipe_index / 2, generation};
  const auto direction = static_cast<Direction>(pipe_index % 2);
  Connection* c = Find(id);
  if (c == nullptr) return;
  Pipe& pipe = c->pipes[direction];
  if (pipe.empty()) return;  // A reset overtook it.
  const Message message = pipe.queue[pipe.head];
  if (!c->muted && !Passes(*c, direction, message.say)) {
    ++pipe.waiting;
    return;
  }
  if (++pipe.head == pipe.queue.size()) pipe.Clear();
  const uint32_t agent = c->agent;
  const bool receiver_up =
      direction == kUp ? gateway_host_up_ : paths_[agent].host_up;
  if (c->muted || !receiver_up) {
    c->muted = true;
    Release(*c, id.index);
    return;
  }
  if (message.say == Say::kHello) {
    if (!c->pipes[kUp].open) {  // Nobody is there to shake hands with.
      c->pipes[kDown].open = false;
      Release(*c, id.index);
      return;
    }
    c->greeted = true;
  }
  const Direction back = Other(direction);
  if (!c->pipes[back].open) {  // The receiver does not know it any more.
    if (message.say != Say::kReset && c->pipes[direction].open) {
      Push(*c, id.index, back, {.say = Say::kReset});
    }
    return;
  }
  if (direction == kUp) {
    // A connection that broke before its hello was never seen.
    if (c->greeted) {
      ends_.AtGateway(agent, id, message);
    } else {
      Close(id, kDown, false);
    }
  } else {
    ends_.AtAgent(agent, id, message);
  }
}

Network::Connection* Network::Find(ConnectionId id) {
  if (id.index >= connections_.size()) return nullptr;
  Connection& c = connections_[id.index];
  return c.used && c.generation == id.generation ? &c : nullptr;
}

void Network::Push(Connection& c, uint32_t index, Direction direction,
                   const Message& message) {
  const Path& path = paths_[c.agent];
  Pipe& pipe = c.pipes[direction];
  Nanos sent_at = timeline_.now();
  if (direction == kUp && path.bytes_per_second > 0) {
    const uint64_t bytes = kMessageBytes + message.bytes;
    sent_at = c.sent_at =
        std::max(c.sent_at, sent_at) +
        static_cast<Nanos>(bytes * kSecond / path.bytes_per_second);
  }
  pipe.last = std::max(pipe.last, sent_at + Travel(path));
  pipe.queue.push_back(message);
  timeline_.Add(pipe.last, Due::kDelivery, index * 2 + direction, c.generation);
}

void Network::Release(Connection& c, uint32_t index) {
  // A gateway that never heard the hello holds nothing.
  const bool unheard = c.muted && !c.greeted;
  if (c.pipes[kUp].open || (c.pipes[kDown].open && !unheard)) return;
  c.used = false;
  ++c.generation;
  free_.push_back(index);
}

bool Network::Passes(const Connection& c, Direction direction, Say say) {
  Path& path = paths_[c.agent];
  if (path.blocked[direction]) return false;
  if (say == Say::kHello) return !path.blocked[kDown];
  if (direction == kUp && path.blocked[kDown] && path.starves) {
    return path.passed_while_starved++ == 0;
  }
  return true;
}

Nanos Network::Travel(const Path& path) {
  Nanos time = path.delay;
  if (path.jitter > 0) time += random_.Between(0, path.jitter);
  if (path.loss > 0) {
    Nanos again = kRetransmission;
    while (random_.Chance(path.loss)) {
      time += again;
      again = std::min(2 * again, kRetransmissionMax);
    }
  }
  return time;
}

}  // namespace muster::simulation
