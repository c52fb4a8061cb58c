// Stored bytes as they are, all or a range of them, as one answer: those of
// ReadOutput, asked for piece by piece.
//
//   200  all that is there at this moment
//   206  a range; Content-Range names the size, or "*" while more may come
//   416  nothing is there of that range; Content-Range names what there is
//
// Each piece is asked for when the one before it is written, so an answer takes
// as much memory as one. Its length is known from the first: bytes that come
// later do not belong to it, and a reader who gets fewer knows that it was cut.

#ifndef MUSTER_GATEWAY_HTTP_DOWNLOAD_H_
#define MUSTER_GATEWAY_HTTP_DOWNLOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/admin/api.h"
#include "gateway/http/byte_range.h"
#include "gateway/http/http_message.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Download is one such answer. Threading: each call after the one before it was
// answered. Lifetime: owned by the answer that it gives.
class Download : public std::enable_shared_from_this<Download> {
 public:
  // Asks for `bytes` at `offset`, or as many of them as one piece may have, as
  // the caller of this download.
  using Ask =
      std::function<void(uint64_t offset, uint64_t bytes, Api::Reply reply)>;
  // What a caller sees of an error.
  using Refuse = std::function<HttpResponse(const ApiError&)>;

  // Without `range`: everything from `offset` on. What is wrong with the first
  // question is answered by `refuse`; later it cuts the answer.
  static void Begin(std::optional<ByteRange> range, uint64_t offset, Ask ask,
                    Refuse refuse, std::string request_id, Respond respond);

 private:
  Download(Ask ask, std::string request_id)
      : ask_(std::move(ask)), request_id_(std::move(request_id)) {}

  // The head of the answer, and the bytes of `first` that belong to it.
  HttpResponse Head(const std::optional<ByteRange>& range, uint64_t offset,
                    const v1::RawBody& first);
  void AskOn(Respond respond);
  // Appends what `piece` has of what is still to come, and how to go on.
  void Take(const v1::RawBody& piece, HttpResponse& response);

  // Constant after construction.
  const Ask ask_;
  const std::string request_id_;

  ByteSpan left_;  // Still to be sent.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_DOWNLOAD_H_
