#include "gateway/http/event_source.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

namespace pb = google::protobuf;

// Events in one part.
constexpr unsigned kPartMax = 100;

template <typename Enum>
std::string EnumWord(Enum value) {
  return wire::EnumText(
      *pb::GetEnumDescriptor<Enum>()->FindValueByNumber(value));
}

class FleetEvents final : public EventSource {
 public:
  explicit FleetEvents(std::string after) : after_(std::move(after)) {}

  std::unique_ptr<pb::Message> Question(absl::Duration wait) override {
    auto request = std::make_unique<v1::WatchEventsRequest>();
    request->set_after(after_);
    request->set_limit(kPartMax);
    if (wait > absl::ZeroDuration()) {
      *request->mutable_wait() = wire::ToProto(wait);
    }
    return request;
  }

  Frames Take(const pb::Message& message) override {
    const auto& answer = static_cast<const v1::WatchEventsResponse&>(message);
    after_ = answer.next();
    Frames frames;
    const auto out = std::back_inserter(frames.text);
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
    return frames;
  }

 private:
  std::string after_;
};

class CommandOutput final : public EventSource {
 public:
  explicit CommandOutput(v1::GetOutputRequest first)
      : next_(std::move(first)) {}

  std::unique_ptr<pb::Message> Question(absl::Duration wait) override {
    auto request = std::make_unique<v1::GetOutputRequest>(next_);
    *request->mutable_wait() = wire::ToProto(wait);
    return request;
  }

  Frames Take(const pb::Message& message) override {
    const auto& answer = static_cast<const v1::GetOutputResponse&>(message);
    Frames frames{.text = {}, .last = answer.end()};
    const auto out = std::back_inserter(frames.text);
    for (const v1::OutputChunk& chunk : answer.chunks()) {
      const uint64_t end = chunk.offset() + chunk.data().size();
      if (chunk.stream() == v1::OUTPUT_STREAM_STDOUT) {
        next_.set_stdout_offset(std::max(next_.stdout_offset(), end));
      } else {
        next_.set_stderr_offset(std::max(next_.stderr_offset(), end));
      }
      fmt::format_to(out, "id: {}\nevent: output\ndata: {}\n\n", Position(),
                     wire::ProtoToJson(chunk));
    }
    if (frames.last) {
      fmt::format_to(out, "id: {}\nevent: end\ndata: {}\n\n", Position(),
                     wire::ProtoToJson(answer.command()));
    }
    return frames;
  }

 private:
  std::string Position() const {
    return fmt::format("{}-{}", next_.stdout_offset(), next_.stderr_offset());
  }

  v1::GetOutputRequest next_;
};

// "OUT-ERR", as CommandOutput says it.
absl::Status GoOnAfter(std::string_view position,
                       v1::GetOutputRequest& request) {
  const char* end = position.data() + position.size();
  uint64_t out = 0, err = 0;
  const auto [dash, out_error] = std::from_chars(position.data(), end, out);
  if (out_error == std::errc() && dash != end && *dash == '-') {
    const auto [stopped, err_error] = std::from_chars(dash + 1, end, err);
    if (err_error == std::errc() && stopped == end) {
      request.set_stdout_offset(out);
      request.set_stderr_offset(err);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("last-event-id: must be two offsets like 120-45, got \"{}\"",
                  position.substr(0, 64)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventSource>> EventSource::For(
    const pb::Message& request, std::string_view last_event_id) {
  if (request.GetDescriptor() == v1::WatchEventsRequest::descriptor()) {
    const auto& watch = static_cast<const v1::WatchEventsRequest&>(request);
    return std::make_unique<FleetEvents>(
        last_event_id.empty() ? watch.after() : std::string(last_event_id));
  }
  if (request.GetDescriptor() == v1::GetOutputRequest::descriptor()) {
    auto first = static_cast<const v1::GetOutputRequest&>(request);
    if (!last_event_id.empty()) {
      RETURN_IF_ERROR(GoOnAfter(last_event_id, first));
    }
    return std::make_unique<CommandOutput>(std::move(first));
  }
  return nullptr;
}

}  // namespace muster::gateway
