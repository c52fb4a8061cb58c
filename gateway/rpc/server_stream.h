// The server end of one bidirectional stream, driven from one loop.
//
// Threading. gRPC calls the On*() reactions on its own threads, several at a
// time. Each does one thing: post to the loop; what a heartbeat costs is
// dispatched, as the hop to another thread would be most of it. Everything
// else happens on the loop, which gives for free the rules that gRPC asks for:
//   - one read in flight                       (ReadDone() calls Read())
//   - one write in flight                      (writing_)
//   - nothing after Finish()                   (finished_)
//   - no Finish() while a write is in flight   (MaybeFinish())
//   - no read begun after Finish()             (reads_to_start_)
// Reads and writes are started after the task that wants them, so that the next
// one does not wait for sendmsg(2); an answer before the next read, which makes
// gRPC send it with its window update in one piece.
// A peer that stops reading can keep that write in flight for ever, so closing
// has a grace, after which the call is cancelled.
//
// Lifetime. gRPC owns the stream from creation until OnDone(); `self_` is that
// ownership. The last task of the stream drops it: reactions are over by then,
// and never in one of its own.

#ifndef MUSTER_GATEWAY_RPC_SERVER_STREAM_H_
#define MUSTER_GATEWAY_RPC_SERVER_STREAM_H_

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "libprotocol/base/thread_event_loop.h"

namespace muster::gateway {

struct StreamOptions {
  // Messages waiting for a slow peer before the stream is closed.
  size_t outbox_messages_max = 1024;
  // How long a closing stream waits for the write in flight.
  absl::Duration close_grace = absl::Seconds(5);
};

// Derived classes say what a message means; their hooks run on the loop.
template <typename In, typename Out>
class ServerStream
    : public grpc::ServerBidiReactor<In, Out>,
      public std::enable_shared_from_this<ServerStream<In, Out>> {
 public:
  // Hands `stream` to gRPC: return the result from the service's method.
  static ServerStream* Start(std::shared_ptr<ServerStream> stream) {
    ServerStream* raw = stream.get();
    raw->self_ = std::move(stream);
    raw->PostSelf([raw] { raw->Begin(); });
    return raw;
  }

 protected:
  // `loop` must run until the stream is gone; gRPC keeps `context` until
  // OnDone().
  ServerStream(ThreadEventLoop& loop, StreamOptions options,
               grpc::CallbackServerContext& context)
      : loop_(loop), options_(options), context_(context) {}

  // A message arrived. Never after CloseStream().
  virtual void OnMessage(In message) = 0;
  // The stream is gone: exactly once, last.
  virtual void OnClosed() = 0;
  // Before the first read.
  virtual void OnOpened() {}
  // Too many messages wait. Must close the stream.
  virtual void OnOverflow() {
    CloseStream({grpc::StatusCode::RESOURCE_EXHAUSTED, "reads too slowly"});
  }

  // Queues a message; drops it once the stream is closing.
  void Send(Out message) {
    if (closing_) return;
    if (outbox_.size() >= options_.outbox_messages_max) {
      OnOverflow();
      return;
    }
    outbox_.push_back(std::move(message));
    WriteNext();
  }

  // Ends the stream once what is queued, and `last` if given, is written, or
  // the grace is over. The first call wins.
  void CloseStream(grpc::Status status, std::optional<Out> last = {}) {
    if (closing_) return;
    closing_ = std::move(status);
    if (last) outbox_.push_back(*std::move(last));
    WriteNext();
    MaybeFinish();
    if (finished_) return;
    loop_.PostAt(loop_.clock().Now() + options_.close_grace,
                 [self = this->shared_from_this()] {
                   if (!self->finished_) self->context_.TryCancel();
                 });
  }

  // Drops what is queued: after this only `last` can still go out.
  void DropQueued() {
    while (outbox_.size() > (writing_ ? 1u : 0u)) outbox_.pop_back();
  }

  // Stops reading after the message at hand, until Resume(): the peer is held
  // back by flow control.
  void Pause() { paused_ = true; }
  void Resume() {
    if (!std::exchange(paused_, false)) return;
    Read();
  }

  bool closing() const { return closing_.has_value(); }
  ThreadEventLoop& loop() { return loop_; }

  template <typename F>
  void PostSelf(F f) {
    loop_.Post([self = this->shared_from_this(), f = std::move(f)] { f(); });
  }

 private:
  void OnReadDone(bool ok) override {
    loop_.Dispatch([this, ok] { ReadDone(ok); });
  }
  void OnWriteDone(bool ok) override {
    loop_.Dispatch([this, ok] { WriteDone(ok); });
  }
  void OnCancel() override {
    PostSelf([this] { Broken(); });
  }
  void OnDone() override {
    loop_.Post([this, self = std::move(self_)] { OnClosed(); });
  }

  void Begin() {
    OnOpened();
    Read();
  }
  void Read() {
    if (finished_) return;
    incoming_.Clear();
    reads_to_start_ += kRead;
    loop_.AfterTask([this] {
      this->StartRead(&incoming_);
      if (reads_to_start_.fetch_sub(kRead) == (kRead | kFinishWaits)) {
        PostSelf([this] { MaybeFinish(); });
      }
    });
  }
  void ReadDone(bool ok) {
    if (!ok) {  // Half-close, or the stream broke: Finish() is ours either way.
      CloseStream(grpc::Status::OK);
      return;
    }
    if (!closing_) OnMessage(std::move(incoming_));
    if (!paused_) Read();
  }
  void WriteNext() {
    if (writing_ || finished_ || outbox_.empty()) return;
    writing_ = true;
    loop_.AfterTask(
        [this, message = &outbox_.front()] { this->StartWrite(message); });
  }
  void WriteDone(bool ok) {
    writing_ = false;
    outbox_.pop_front();
    if (!ok) {
      Broken();
      return;
    }
    WriteNext();
    MaybeFinish();
  }
  void Broken() {
    DropQueued();
    CloseStream(grpc::Status::CANCELLED);
    MaybeFinish();
  }
  void MaybeFinish() {
    if (!closing_ || writing_ || finished_ || !outbox_.empty()) return;
    if (reads_to_start_.fetch_or(kFinishWaits) >= kRead) return;
    finished_ = true;
    this->Finish(*closing_);
  }

  // Constant after construction.
  ThreadEventLoop& loop_;
  const StreamOptions options_;
  grpc::CallbackServerContext& context_;

  std::shared_ptr<ServerStream> self_;
  // gRPC writes into incoming_ while a read is in flight, and reads
  // outbox_.front() while writing_; neither may be touched meanwhile.
  In incoming_;
  std::deque<Out> outbox_;
  // Reads that a task wanted and nobody has started yet; whoever starts the
  // last of them posts the Finish() that waits for it.
  static constexpr int kFinishWaits = 1, kRead = 2;
  std::atomic<int> reads_to_start_ = 0;
  bool writing_ = false;
  bool paused_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> closing_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_SERVER_STREAM_H_
