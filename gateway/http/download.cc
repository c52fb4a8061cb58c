#include "gateway/http/download.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "gateway/http/problem.h"

namespace muster::gateway {
namespace {

// What the first question asks for. By its answer the end of the bytes is
// known.
ByteSpan FirstPiece(const std::optional<ByteRange>& range, uint64_t offset) {
  constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
  if (!range) return {offset, kAll};
  if (range->suffix) return {kAll, kAll};
  return {range->first, std::max(range->last, range->last + 1)};
}

HttpResponse NotThere(uint64_t size, const std::string& request_id) {
  HttpResponse response = MakeProblem(
      {.status = 416,
       .code = "range_not_satisfiable",
       .detail = fmt::format("range: nothing is there of it; {} bytes are "
                             "stored by now",
                             size),
       .request_id = request_id});
  response.headers.emplace_back("Accept-Ranges", "bytes");
  response.headers.emplace_back("Content-Range",
                                fmt::format("bytes */{}", size));
  return response;
}

}  // namespace

void Download::Begin(std::optional<ByteRange> range, uint64_t offset, Ask ask,
                     Refuse refuse, std::string request_id, Respond respond) {
  std::shared_ptr<Download> download(
      new Download(std::move(ask), std::move(request_id)));
  const ByteSpan first = FirstPiece(range, offset);
  download->ask_(
      first.begin, first.end - first.begin,
      [download, range, offset, refuse = std::move(refuse),
       respond = std::move(respond)](
          ApiError error,
          std::unique_ptr<google::protobuf::Message> answer) mutable {
        respond(error.status.ok()
                    ? download->Head(range, offset,
                                     static_cast<const v1::RawBody&>(*answer))
                    : refuse(error));
      });
}

HttpResponse Download::Head(const std::optional<ByteRange>& range,
                            uint64_t offset, const v1::RawBody& first) {
  const uint64_t size = first.part().size();
  const auto span =
      range ? SpanOf(*range, size) : ByteSpan{std::min(offset, size), size};
  if (!span) return NotThere(size, request_id_);
  HttpResponse response{.status = range ? 206 : 200,
                        .headers = {{"Content-Type", first.content_type()},
                                    {"X-Request-Id", request_id_},
                                    {"Accept-Ranges", "bytes"}},
                        .body = ""};
  AddSafetyHeaders(response);
  if (range) {
    response.headers.emplace_back(
        "Content-Range",
        fmt::format("bytes {}-{}/{}", span->begin, span->end - 1,
                    first.part().may_grow() ? "*" : std::to_string(size)));
  }
  left_ = *span;
  response.length = left_.end - left_.begin;
  Take(first, response);
  return response;
}

void Download::Take(const v1::RawBody& piece, HttpResponse& response) {
  if (piece.part().offset() == left_.begin) {
    response.body = piece.data().substr(0, left_.end - left_.begin);
    left_.begin += response.body.size();
  }
  if (left_.begin == left_.end) return;
  response.more = [self = shared_from_this()](Respond respond) {
    self->AskOn(std::move(respond));
  };
}

void Download::AskOn(Respond respond) {
  ask_(left_.begin, left_.end - left_.begin,
       [self = shared_from_this(), respond = std::move(respond)](
           ApiError error,
           std::unique_ptr<google::protobuf::Message> answer) mutable {
         HttpResponse part{.status = 200, .headers = {}, .body = ""};
         if (error.status.ok()) {
           self->Take(static_cast<const v1::RawBody&>(*answer), part);
         }
         if (part.body.empty()) {  // Refused, or it has expired.
           part = {.status = 503, .headers = {}, .body = ""};
         }
         respond(std::move(part));
       });
}

}  // namespace muster::gateway
