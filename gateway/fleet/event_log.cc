#include "gateway/fleet/event_log.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "fmt/format.h"

namespace muster::gateway {
namespace {

// All of `text`, decimal digits only.
bool ParseNumber(std::string_view text, uint64_t& number) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stopped == end;
}

}  // namespace

absl::StatusOr<EventVersion> EventVersion::Parse(std::string_view field,
                                                 std::string_view text) {
  const size_t dash = std::min(text.find('-'), text.size());
  EventVersion version;
  if (dash < text.size() && ParseNumber(text.substr(0, dash), version.run) &&
      ParseNumber(text.substr(dash + 1), version.number)) {
    return version;
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: must be the version of an event, RUN-NUMBER, got \"{}\"",
                  field, text.substr(0, 64)));
}

std::string EventVersion::Text() const {
  return fmt::format("{}-{}", run, number);
}

void EventLog::BeginRun(uint64_t run, absl::Time now) {
  run_ = run;
  first_ = static_cast<uint64_t>(std::max<int64_t>(absl::ToUnixMicros(now), 0));
}

EventLog::Stream& EventLog::StreamOf(const OrgId& org) {
  return streams_.try_emplace(org, Stream{first_, {}}).first->second;
}

void EventLog::Publish(Event event) {
  if (!event.org.empty()) {
    Stream& stream = StreamOf(event.org);
    Append(stream, std::move(event));
    return;
  }
  for (auto& [org, stream] : streams_) {
    event.org = org;
    Append(stream, event);
  }
}

void EventLog::Append(Stream& stream, Event event) {
  event.version = {run_, ++stream.last};
  stream.kept.push_back(std::move(event));
  if (stream.kept.size() > options_.kept_max) stream.kept.pop_front();
  ++published_;
  if (tap_ != nullptr) tap_->OnEvent(stream.kept.back().org);
}

EventLog::Reading EventLog::Read(const OrgId& org,
                                 const std::optional<EventVersion>& after,
                                 size_t limit) {
  const Stream& stream = StreamOf(org);
  Reading reading{.events = {}, .next = {run_, stream.last}, .reset = {}};
  const uint64_t forgotten = stream.last - stream.kept.size();
  if (!after) {
    reading.reset = EventReset::kStart;
  } else if (after->run != run_ || after->number < first_ ||
             after->number > stream.last) {
    reading.reset = EventReset::kGatewayRestarted;
  } else if (after->number < forgotten) {
    reading.reset = EventReset::kTooOld;
  } else {
    const size_t from = after->number - forgotten;
    const size_t to = std::min(stream.kept.size(), from + limit);
    for (size_t i = from; i < to; ++i) {
      reading.events.push_back(&stream.kept[i]);
    }
    reading.next.number = forgotten + to;
  }
  return reading;
}

}  // namespace muster::gateway
