#include "gateway/http/event_stream.h"

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"

namespace muster::gateway {
namespace {

// How soon a browser comes back.
constexpr std::string_view kRetry = "retry: 2000\n\n";
constexpr std::string_view kComment = ":\n\n";

}  // namespace

bool EventStream::Wanted(const HttpRequest& request) {
  return request.Header("accept").find("text/event-stream") !=
         std::string_view::npos;
}

EventStream::~EventStream() { --streams_->open_; }

void EventStream::Begin(std::shared_ptr<EventStreams> streams,
                        std::unique_ptr<EventSource> source, Ask ask,
                        Refuse refuse, HttpHeaders headers, Respond respond) {
  if (streams->open() >= EventStreams::kOpenMax) {
    respond(refuse({absl::ResourceExhaustedError(
                        fmt::format("{} event streams are open, at most {}",
                                    streams->open(), EventStreams::kOpenMax)),
                    "too_many_watchers", absl::Seconds(1)}));
    return;
  }
  std::shared_ptr<EventStream> stream(
      new EventStream(std::move(streams), std::move(source), std::move(ask)));
  stream->ask_(stream->source_->Question(absl::ZeroDuration()),
               [stream, refuse = std::move(refuse),
                headers = std::move(headers), respond = std::move(respond)](
                   ApiError error,
                   std::unique_ptr<google::protobuf::Message> answer) mutable {
                 if (!error.status.ok()) {
                   respond(refuse(error));
                   return;
                 }
                 HttpResponse response = stream->Part(*answer);
                 response.headers = std::move(headers);
                 response.body.insert(0, kRetry);
                 respond(std::move(response));
               });
}

void EventStream::AskOn(Respond respond) {
  ask_(source_->Question(kHeartbeat),
       [self = shared_from_this(), respond = std::move(respond)](
           ApiError error,
           std::unique_ptr<google::protobuf::Message> answer) mutable {
         if (!error.status.ok()) {
           respond({.status = 503, .headers = {}, .body = ""});
           return;
         }
         HttpResponse part = self->Part(*answer);
         if (part.body.empty()) part.body = kComment;
         respond(std::move(part));
       });
}

HttpResponse EventStream::Part(const google::protobuf::Message& answer) {
  EventSource::Frames frames = source_->Take(answer);
  HttpResponse part{
      .status = 200, .headers = {}, .body = std::move(frames.text)};
  if (!frames.last) {
    part.more = [self = shared_from_this()](Respond respond) {
      self->AskOn(std::move(respond));
    };
  }
  return part;
}

}  // namespace muster::gateway
