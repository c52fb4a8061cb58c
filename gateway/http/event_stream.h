// Events as they come: the answers of an operation, asked again and again, as
// one answer of Server-Sent Events. Which operations, and what their events
// are: event_source.h.
//
// A comment goes out when nothing happens, so that both sides notice when the
// other is gone. Each part is asked for when the one before it is written: a
// slow reader costs one part of memory, and who may read is checked each time.

#ifndef MUSTER_GATEWAY_HTTP_EVENT_STREAM_H_
#define MUSTER_GATEWAY_HTTP_EVENT_STREAM_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "gateway/admin/api.h"
#include "gateway/http/event_source.h"
#include "gateway/http/http_message.h"
#include "google/protobuf/message.h"

namespace muster::gateway {

// EventStreams counts those that are open. Thread-safe.
class EventStreams {
 public:
  // All are answered in the turn of the fleet loop that decides something.
  static constexpr size_t kOpenMax = 64;

  size_t open() const { return open_; }

 private:
  friend class EventStream;
  std::atomic<size_t> open_ = 0;
};

// EventStream is one such answer. Threading: each call after the one before it
// was answered. Lifetime: owned by the answer that it gives.
class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  // A comment after this time without an event.
  static constexpr absl::Duration kHeartbeat = absl::Seconds(15);

  // Asks the operation, as the caller of this stream.
  using Ask = std::function<void(
      std::unique_ptr<google::protobuf::Message> question, Api::Reply reply)>;
  // What a caller sees instead of the stream.
  using Refuse = std::function<HttpResponse(const ApiError&)>;

  // True if the caller asks for a stream rather than for one answer.
  static bool Wanted(const HttpRequest& request);

  // Answers with the events of `source`. Whatever is wrong with the first
  // question is answered by `refuse`; later it ends the stream.
  static void Begin(std::shared_ptr<EventStreams> streams,
                    std::unique_ptr<EventSource> source, Ask ask, Refuse refuse,
                    HttpHeaders headers, Respond respond);

  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

 private:
  EventStream(std::shared_ptr<EventStreams> streams,
              std::unique_ptr<EventSource> source, Ask ask)
      : streams_(std::move(streams)),
        source_(std::move(source)),
        ask_(std::move(ask)) {
    ++streams_->open_;
  }

  void AskOn(Respond respond);
  // The events in `answer`, and what follows once they are written.
  HttpResponse Part(const google::protobuf::Message& answer);

  // Constant after construction.
  const std::shared_ptr<EventStreams> streams_;
  const std::unique_ptr<EventSource> source_;
  const Ask ask_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_EVENT_STREAM_H_
