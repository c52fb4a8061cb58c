#include "gateway/http/event_stream.h"

#include <iterator>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {
namespace {

// How soon a browser comes back.
constexpr std::string_view kRetry = "retry: 2000\n\n";
constexpr std::string_view kComment = ":\n\n";

template <typename Enum>
std::string EnumWord(Enum value) {
  return wire::EnumText(
      *google::protobuf::GetEnumDescriptor<Enum>()->FindValueByNumber(value));
}

std::string Frames(const v1::WatchEventsResponse& answer) {
  std::string text;
  const auto out = std::back_inserter(text);
  for (const v1::Event& event : answer.events()) {
    fmt::format_to(out, "id: {}\nevent: {}\ndata: {}\n\n", event.version(),
                   EnumWord(event.kind()), wire::ProtoToJson(event));
  }
  if (answer.has_reset()) {
    fmt::format_to(out,
                   "id: {0}\nevent: reset\n"
                   "data: {{\"version\":\"{0}\",\"reason\":\"{1}\"}}\n\n",
                   answer.next(), EnumWord(answer.reset()));
  }
  return text;
}

}  // namespace

bool EventStream::Wanted(const HttpRequest& request) {
  return request.Header("accept").find("text/event-stream") !=
         std::string_view::npos;
}

EventStream::~EventStream() { --streams_->open_; }

void EventStream::Begin(std::shared_ptr<EventStreams> streams,
                        std::string after, Ask ask, Refuse refuse,
                        HttpHeaders headers, Respond respond) {
  if (streams->open() >= EventStreams::kOpenMax) {
    respond(refuse({absl::ResourceExhaustedError(
                        fmt::format("{} event streams are open, at most {}",
                                    streams->open(), EventStreams::kOpenMax)),
                    "too_many_watchers", absl::Seconds(1)}));
    return;
  }
  std::shared_ptr<EventStream> stream(
      new EventStream(std::move(streams), std::move(ask)));
  v1::WatchEventsRequest first;
  first.set_after(std::move(after));
  first.set_limit(kPartMax);
  stream->ask_(
      first, [stream, refuse = std::move(refuse), headers = std::move(headers),
              respond = std::move(respond)](
                 ApiError error,
                 std::unique_ptr<google::protobuf::Message> answer) mutable {
        if (!error.status.ok()) {
          respond(refuse(error));
          return;
        }
        HttpResponse response =
            stream->Part(static_cast<const v1::WatchEventsResponse&>(*answer));
        response.headers = std::move(headers);
        response.body.insert(0, kRetry);
        respond(std::move(response));
      });
}

void EventStream::AskOn(Respond respond) {
  v1::WatchEventsRequest request;
  request.set_after(after_);
  request.set_limit(kPartMax);
  *request.mutable_wait() = wire::ToProto(kHeartbeat);
  ask_(request, [self = shared_from_this(), respond = std::move(respond)](
                    ApiError error,
                    std::unique_ptr<google::protobuf::Message> answer) mutable {
    if (!error.status.ok()) {
      respond({.status = 503, .headers = {}, .body = ""});
      return;
    }
    HttpResponse part =
        self->Part(static_cast<const v1::WatchEventsResponse&>(*answer));
    if (part.body.empty()) part.body = kComment;
    respond(std::move(part));
  });
}

HttpResponse EventStream::Part(const v1::WatchEventsResponse& answer) {
  after_ = answer.next();
  return {.status = 200,
          .headers = {},
          .body = Frames(answer),
          .more = [self = shared_from_this()](Respond respond) {
            self->AskOn(std::move(respond));
          }};
}

}  // namespace muster::gateway
