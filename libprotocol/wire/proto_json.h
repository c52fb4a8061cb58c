// Messages of the contract ⇄ JSON and query parameters.
//
//   field names       as in the .proto (snake_case)
//   enums             lower case without the type's prefix: "online"
//   64-bit integers   numbers
//   Timestamp         RFC 3339, UTC, milliseconds: "2024-05-01T10:20:30.250Z"
//   Duration          see duration_text.h: "30s"
//   bytes             base64
//   map               object, keys sorted
//   absent            `optional` and message fields that are not set; scalars,
//                     lists and maps are always there
//
// Reading trusts nothing: unknown fields, wrong types, duplicate keys, bytes
// after the end, invalid UTF-8 and nesting beyond 16 are InvalidArgument whose
// text begins with the path, "labels.env: expected a string, got 3". `null` is
// accepted only where it means absent. All functions are thread-safe.

#ifndef MUSTER_LIBPROTOCOL_WIRE_PROTO_JSON_H_
#define MUSTER_LIBPROTOCOL_WIRE_PROTO_JSON_H_

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace muster::wire {

// Always valid UTF-8: bytes that are none become U+FFFD.
std::string ProtoToJson(const google::protobuf::Message& message);

// Appends `text` as a JSON string, quotes included. For the few answers that
// are not messages.
void AppendJsonString(std::string_view text, std::string& out);

struct ReadOptions {
  // For a client that reads the answer of a newer gateway: unknown fields are
  // skipped, unknown enum names become UNSPECIFIED.
  bool ignore_unknown = false;

  // Fields of the message that come from elsewhere (the path): naming one is an
  // error. Must outlive the call.
  std::span<const std::string> taken_fields = {};
};

// Merges the JSON object into `out`. After an error `out` is partly filled.
absl::Status JsonToProto(std::string_view json, google::protobuf::Message& out,
                         const ReadOptions& options = {});

using QueryPairs = std::vector<std::pair<std::string, std::string>>;

// Fills `out` from decoded (key, value) pairs. A repeated field takes every
// occurrence of its key, any other only one. An unknown key is an error that
// lists the known ones.
absl::Status QueryToProto(const QueryPairs& query,
                          google::protobuf::Message& out,
                          const ReadOptions& options = {});

// Sets the scalar `field` from text, as QueryToProto does for one pair.
// InvalidArgument also for a field that `out` does not have.
absl::Status SetFieldFromText(std::string_view field, std::string_view text,
                              google::protobuf::Message& out);

// STATUS_ONLINE → "online".
std::string EnumText(const google::protobuf::EnumValueDescriptor& value);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_PROTO_JSON_H_
