// One bidirectional stream, seen from the client, driven from one loop.
//
// The rules of gRPC's callback API that this class keeps for its users:
//   - Reactions run on gRPC's threads: they post, nothing else.
//   - One read and one write at a time; every Start*() is called on the loop.
//     As that is outside a reaction, the stream keeps one hold from StartCall()
//     until it promises to start nothing more.
//   - The last reference to a channel must not die on a gRPC thread (gRPC 1.51
//     joins its own thread and aborts), so OnDone() hands everything to the
//     loop.

#ifndef MUSTER_AGENT_LINK_CLIENT_STREAM_H_
#define MUSTER_AGENT_LINK_CLIENT_STREAM_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "grpcpp/grpcpp.h"
#include "grpcpp/support/client_callback.h"
#include "libprotocol/base/event_loop.h"

namespace muster::agent {

// ClientStream sends messages of type Out and receives messages of type In.
//
// Threading: every public method on `loop`; the handlers are called on it.
// Lifetime: keeps itself alive until the stream is over; `loop` must outlive
// `on_down`, which is called exactly once and last.
template <typename Out, typename In>
class ClientStream final
    : public grpc::ClientBidiReactor<Out, In>,
      public std::enable_shared_from_this<ClientStream<Out, In>> {
 public:
  using Reactor = grpc::ClientBidiReactor<Out, In>;
  struct Handlers {
    // Starts the call: stub->async()->Method(context, reactor).
    std::function<void(grpc::ClientContext*, Reactor*)> open;
    std::function<void(In)> on_message;
    std::function<void(const grpc::Status&)> on_down;
  };

  static std::shared_ptr<ClientStream> Open(EventLoop& loop,
                                            Handlers handlers) {
    std::shared_ptr<ClientStream> stream(
        new ClientStream(loop, std::move(handlers)));
    stream->self_ = stream;
    stream->handlers_.open(&stream->context_, stream.get());
    stream->AddHold();
    stream->holding_ = true;
    stream->StartRead(&stream->incoming_);
    stream->StartCall();
    return stream;
  }

  // Queues `message`. False, and nothing is queued, when the stream is over or
  // finishing, or `kOutboxMax` messages wait already.
  bool Send(Out message) {
    if (!holding_ || finishing_ || broken_ || outbox_.size() >= kOutboxMax)
      return false;
    outbox_.push_back(std::move(message));
    WriteNext();
    return true;
  }

  // Half-closes after what is queued.
  void FinishWrites() {
    finishing_ = true;
    WriteNext();
  }

  // Ends the stream at once; what is queued is dropped.
  void Cancel() {
    if (!holding_) return;
    context_.TryCancel();
    ReleaseHold();
  }

 private:
  // Memory bound: this times the largest message (256 KiB at most, output
  // chunks are bounded by their window besides).
  static constexpr size_t kOutboxMax = 512;

  ClientStream(EventLoop& loop, Handlers handlers)
      : loop_(loop), handlers_(std::move(handlers)) {}

  void OnReadDone(bool ok) override {
    PostSelf([this, ok] { ReadDone(ok); });
  }
  void OnWriteDone(bool ok) override {
    PostSelf([this, ok] { WriteDone(ok); });
  }
  void OnDone(const grpc::Status& status) override {
    loop_.Post([self = std::move(self_), status] {
      self->holding_ = false;
      // The handlers may own the owner of this stream: let go of them.
      const Handlers handlers = std::exchange(self->handlers_, {});
      handlers.on_down(status);
    });
  }
  template <typename F>
  void PostSelf(F f) {
    loop_.Post([self = this->shared_from_this(), f = std::move(f)] { f(); });
  }

  void ReadDone(bool ok) {
    if (!ok) return ReleaseHold();
    if (!holding_) return;
    handlers_.on_message(std::move(incoming_));
    if (!holding_) return;
    incoming_.Clear();
    this->StartRead(&incoming_);
  }

  void WriteNext() {
    if (!holding_ || writing_ || broken_) return;
    if (!outbox_.empty()) {
      writing_ = true;
      this->StartWrite(&outbox_.front());
    } else if (finishing_ && !finished_) {
      finished_ = true;
      this->StartWritesDone();
    }
  }

  // After a failed write the stream is over, but a last message of the peer may
  // still wait to be read: the end comes from ReadDone().
  void WriteDone(bool ok) {
    writing_ = false;
    outbox_.pop_front();
    broken_ = !ok;
    WriteNext();
  }

  void ReleaseHold() {
    if (!holding_) return;
    holding_ = false;
    this->RemoveHold();
  }

  // Constant after construction.
  EventLoop& loop_;

  // Touched only on loop_, except by gRPC while an operation is in flight.
  Handlers handlers_;
  std::shared_ptr<ClientStream> self_;
  grpc::ClientContext context_;
  In incoming_;
  std::deque<Out> outbox_;
  bool writing_ = false;
  bool broken_ = false;
  bool finishing_ = false;
  bool finished_ = false;
  bool holding_ = false;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LINK_CLIENT_STREAM_H_
