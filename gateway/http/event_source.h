// The operations whose answers can be had as events, as they come.
//
//   WatchEvents   id     the event's version
//                 event  its kind, or "reset": take a snapshot, then go on
//                 data   the event, or {"version", "reason"}
//   GetOutput     id     "OUT-ERR": the offsets of stdout and stderr after it
//                 event  "output", and last of all "end"
//                 data   the piece (stream, offset, data in base64); at the end
//                        the command as it ended. Then the stream ends.
//
// The id is given back as Last-Event-ID, by a reader that goes on.

#ifndef MUSTER_GATEWAY_HTTP_EVENT_SOURCE_H_
#define MUSTER_GATEWAY_HTTP_EVENT_SOURCE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace muster::gateway {

// EventSource is a question that is asked again and again, as one reader goes
// on. Not thread-safe.
class EventSource {
 public:
  struct Frames {
    std::string text;   // Empty: nothing has happened.
    bool last = false;  // Nothing will.
  };

  virtual ~EventSource() = default;

  // What to ask now. `wait`: how long the answer may wait for something.
  virtual std::unique_ptr<google::protobuf::Message> Question(
      absl::Duration wait) = 0;
  // The events in the answer; the next question asks for what comes after.
  virtual Frames Take(const google::protobuf::Message& answer) = 0;

  // For the operation of `request`; null if it has only one answer. A reader
  // that comes back still has its first question in the URL, but
  // `last_event_id` counts, if it is not empty: InvalidArgument if it is none
  // of ours.
  static absl::StatusOr<std::unique_ptr<EventSource>> For(
      const google::protobuf::Message& request, std::string_view last_event_id);
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_EVENT_SOURCE_H_
