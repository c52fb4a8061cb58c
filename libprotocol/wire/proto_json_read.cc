#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/json_tree.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/utf8.h"

namespace muster::wire {
namespace {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;
using Json = nlohmann::json;

// How much of a value or a name an error quotes.
constexpr size_t kQuotedBytesMax = 64;

// What an error says about the value it refuses. Never a whole tree.
std::string Quoted(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (!value.is_string()) return value.dump();
  std::string out;
  AppendJsonString(
      ClipUtf8(value.get_ref<const std::string&>(), kQuotedBytesMax), out);
  return out;
}

std::string Joined(std::string_view path, std::string_view name) {
  const std::string_view shown = ClipUtf8(name, kQuotedBytesMax);
  return path.empty() ? std::string(shown) : fmt::format("{}.{}", path, shown);
}

absl::Status Expected(std::string_view path, std::string_view what,
                      const Json& got) {
  return absl::InvalidArgumentError(
      fmt::format("{}: expected {}, got {}", path, what, Quoted(got)));
}

// MessageReader fills messages from a JSON tree that ParseJsonTree() accepted,
// which bounds its recursion.
class MessageReader {
 public:
  explicit MessageReader(const ReadOptions& options) : options_(options) {}

  absl::Status Read(const Json& json, pb::Message& out,
                    const std::string& path);

  // One value into a singular field, or as the next element of a repeated one.
  absl::Status ReadValue(const Json& value, pb::Message& out,
                         const Field& field, const std::string& path);

 private:
  absl::Status ReadField(const Json& value, pb::Message& out,
                         const Field& field, const std::string& path);
  absl::Status ReadMap(const Json& value, pb::Message& out, const Field& field,
                       const std::string& path);
  absl::Status ReadEnum(const Json& value, pb::Message& out, const Field& field,
                        const std::string& path);
  absl::Status ReadText(const Json& value, pb::Message& out, const Field& field,
                        const std::string& path);

  const ReadOptions& options_;
};

// Sets or adds, whichever `field` needs.
template <typename T, typename Value>
void Put(pb::Message& m, const Field& field,
         void (pb::Reflection::*set)(pb::Message*, const Field*, T) const,
         void (pb::Reflection::*add)(pb::Message*, const Field*, T) const,
         Value value) {
  const pb::Reflection& r = *m.GetReflection();
  (r.*(field.is_repeated() ? add : set))(&m, &field,
                                         static_cast<T>(std::move(value)));
}

// The integer that `value` is, if it lies within T.
template <typename T>
std::optional<T> Integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t n = value.get<uint64_t>();
    if (n > static_cast<uint64_t>(std::numeric_limits<T>::max())) return {};
    return static_cast<T>(n);
  }
  if (!value.is_number_integer()) return {};
  const int64_t n = value.get<int64_t>();
  if constexpr (std::is_unsigned_v<T>) {
    return {};  // Negative: the tree keeps the others as unsigned.
  } else {
    if (n < std::numeric_limits<T>::min()) return {};
    return static_cast<T>(n);
  }
}

template <typename T>
absl::Status ReadInteger(const Json& value, pb::Message& out,
                         const Field& field, const std::string& path,
                         void (pb::Reflection::*set)(pb::Message*, const Field*,
                                                     T) const,
                         void (pb::Reflection::*add)(pb::Message*, const Field*,
                                                     T) const) {
  const std::optional<T> n = Integer<T>(value);
  if (!n) {
    return Expected(
        path,
        fmt::format("an integer from {} to {}", std::numeric_limits<T>::min(),
                    std::numeric_limits<T>::max()),
        value);
  }
  Put(out, field, set, add, *n);
  return absl::OkStatus();
}

absl::Status ReadTimestamp(const Json& value, pb::Timestamp& out,
                           const std::string& path) {
  absl::Time time;
  std::string ignored;
  // The leading digit keeps out the words "infinite-future" and alike.
  const bool good =
      value.is_string() && !value.get_ref<const std::string&>().empty() &&
      absl::ascii_isdigit(value.get_ref<const std::string&>()[0]) &&
      absl::ParseTime(absl::RFC3339_full, value.get_ref<const std::string&>(),
                      &time, &ignored) &&
      time >= absl::FromUnixSeconds(kTimestampSecondsMin) &&
      time < absl::FromUnixSeconds(kTimestampSecondsMax + 1);
  if (!good) {
    return Expected(path, "a time such as 2024-05-01T10:20:30Z", value);
  }
  out = ToProto(time);
  return absl::OkStatus();
}

absl::Status ReadDuration(const Json& value, pb::Duration& out,
                          const std::string& path) {
  if (!value.is_string()) {
    return Expected(path, "a duration such as \"30s\"", value);
  }
  absl::StatusOr<absl::Duration> d =
      ParseDurationOrNever(value.get_ref<const std::string&>());
  if (!d.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}", path, ToStd(d.status().message())));
  }
  out = ToProto(*d);
  return absl::OkStatus();
}

absl::Status MessageReader::Read(const Json& json, pb::Message& out,
                                 const std::string& path) {
  if (out.GetDescriptor() == pb::Timestamp::descriptor()) {
    return ReadTimestamp(json, static_cast<pb::Timestamp&>(out), path);
  }
  if (out.GetDescriptor() == pb::Duration::descriptor()) {
    return ReadDuration(json, static_cast<pb::Duration&>(out), path);
  }
  if (!json.is_object()) {
    return Expected(path.empty() ? "body" : path, "an object", json);
  }
  for (const auto& [name, value] : json.items()) {
    const std::string field_path = Joined(path, name);
    const Field* field = out.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) {
      if (options_.ignore_unknown) continue;
      return absl::InvalidArgumentError(field_path + ": unknown field");
    }
    if (path.empty() && std::ranges::count(options_.taken_fields, name) > 0) {
      return absl::InvalidArgumentError(field_path +
                                        ": already given in the path");
    }
    RETURN_IF_ERROR(ReadField(value, out, *field, field_path));
  }
  return absl::OkStatus();
}

absl::Status MessageReader::ReadField(const Json& value, pb::Message& out,
                                      const Field& field,
                                      const std::string& path) {
  if (value.is_null() && field.has_presence()) return absl::OkStatus();
  if (field.is_map()) return ReadMap(value, out, field, path);
  if (!field.is_repeated()) return ReadValue(value, out, field, path);
  if (!value.is_array()) return Expected(path, "a list", value);
  for (size_t i = 0; i < value.size(); ++i) {
    RETURN_IF_ERROR(
        ReadValue(value[i], out, field, fmt::format("{}[{}]", path, i)));
  }
  return absl::OkStatus();
}

absl::Status MessageReader::ReadMap(const Json& value, pb::Message& out,
                                    const Field& field,
                                    const std::string& path) {
  if (!value.is_object()) return Expected(path, "an object", value);
  const Field& key_field = *field.message_type()->map_key();
  const Field& value_field = *field.message_type()->map_value();
  for (const auto& [key, item] : value.items()) {
    pb::Message& entry = *out.GetReflection()->AddMessage(&out, &field);
    // The contract has string keys only.
    entry.GetReflection()->SetString(&entry, &key_field, key);
    RETURN_IF_ERROR(ReadValue(item, entry, value_field, Joined(path, key)));
  }
  return absl::OkStatus();
}

absl::Status MessageReader::ReadEnum(const Json& value, pb::Message& out,
                                     const Field& field,
                                     const std::string& path) {
  const pb::EnumDescriptor& type = *field.enum_type();
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    names.push_back(EnumText(*type.value(i)));
    if (value.is_string() &&
        names.back() == value.get_ref<const std::string&>()) {
      Put(out, field, &pb::Reflection::SetEnumValue,
          &pb::Reflection::AddEnumValue, type.value(i)->number());
      return absl::OkStatus();
    }
  }
  if (options_.ignore_unknown && value.is_string()) return absl::OkStatus();
  std::erase(names, "unspecified");  // Nothing anybody should write.
  return absl::InvalidArgumentError(
      fmt::format("{}: expected one of {}; got {}", path,
                  fmt::join(names, ", "), Quoted(value)));
}

absl::Status MessageReader::ReadText(const Json& value, pb::Message& out,
                                     const Field& field,
                                     const std::string& path) {
  if (!value.is_string()) return Expected(path, "a string", value);
  std::string text = value.get_ref<const std::string&>();
  if (field.type() == Field::TYPE_BYTES) {
    std::string bytes;
    if (!absl::Base64Unescape(text, &bytes)) {
      return absl::InvalidArgumentError(path + ": expected base64");
    }
    text = std::move(bytes);
  }
  Put(out, field, &pb::Reflection::SetString, &pb::Reflection::AddString,
      std::move(text));
  return absl::OkStatus();
}

absl::Status MessageReader::ReadValue(const Json& value, pb::Message& out,
                                      const Field& field,
                                      const std::string& path) {
  using R = pb::Reflection;
  switch (field.cpp_type()) {
    case Field::CPPTYPE_INT32:
      return ReadInteger(value, out, field, path, &R::SetInt32, &R::AddInt32);
    case Field::CPPTYPE_UINT32:
      return ReadInteger(value, out, field, path, &R::SetUInt32, &R::AddUInt32);
    case Field::CPPTYPE_INT64:
      return ReadInteger(value, out, field, path, &R::SetInt64, &R::AddInt64);
    case Field::CPPTYPE_UINT64:
      return ReadInteger(value, out, field, path, &R::SetUInt64, &R::AddUInt64);
    case Field::CPPTYPE_DOUBLE:
    case Field::CPPTYPE_FLOAT:
      if (!value.is_number()) return Expected(path, "a number", value);
      if (field.cpp_type() == Field::CPPTYPE_DOUBLE) {
        Put(out, field, &R::SetDouble, &R::AddDouble, value.get<double>());
      } else {
        Put(out, field, &R::SetFloat, &R::AddFloat, value.get<float>());
      }
      return absl::OkStatus();
    case Field::CPPTYPE_BOOL:
      if (!value.is_boolean()) return Expected(path, "true or false", value);
      Put(out, field, &R::SetBool, &R::AddBool, value.get<bool>());
      return absl::OkStatus();
    case Field::CPPTYPE_ENUM:
      return ReadEnum(value, out, field, path);
    case Field::CPPTYPE_STRING:
      return ReadText(value, out, field, path);
    case Field::CPPTYPE_MESSAGE: {
      const R& r = *out.GetReflection();
      return Read(value,
                  *(field.is_repeated() ? r.AddMessage(&out, &field)
                                        : r.MutableMessage(&out, &field)),
                  path);
    }
  }
  return absl::InternalError(path + ": a field of unknown type");
}

// The JSON value that `text` would be in a body, judged by the field's type.
// What does not fit stays a string, so that the reader can complain.
Json FromText(const Field& field, std::string_view text) {
  if (field.cpp_type() == Field::CPPTYPE_BOOL) {
    if (text == "true") return true;
    if (text == "false") return false;
  }
  const bool digits =
      !text.empty() && std::ranges::all_of(text, absl::ascii_isdigit);
  if (field.cpp_type() != Field::CPPTYPE_STRING && digits) {
    uint64_t n;
    if (absl::SimpleAtoi(ToAbsl(text), &n)) return n;
  }
  return Json(std::string(text));
}

// Query parameters can carry scalars and the two kinds of time.
bool FitsText(const Field& field) {
  return field.cpp_type() != Field::CPPTYPE_MESSAGE ||
         field.message_type() == pb::Timestamp::descriptor() ||
         field.message_type() == pb::Duration::descriptor();
}

absl::Status UnknownParameter(std::string_view name, const pb::Message& message,
                              const ReadOptions& options) {
  std::vector<std::string> known;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const Field& field = *message.GetDescriptor()->field(i);
    if (FitsText(field) &&
        std::ranges::count(options.taken_fields, field.name()) == 0) {
      known.push_back(field.name());
    }
  }
  return absl::InvalidArgumentError(fmt::format(
      "{}: unknown parameter; {}", ClipUtf8(name, kQuotedBytesMax),
      known.empty() ? "none is known here"
                    : fmt::format("known: {}", fmt::join(known, ", "))));
}

}  // namespace

absl::Status JsonToProto(std::string_view json, pb::Message& out,
                         const ReadOptions& options) {
  ASSIGN_OR_RETURN(Json tree, ParseJsonTree(json));
  return MessageReader(options).Read(tree, out, "");
}

absl::Status SetFieldFromText(std::string_view field, std::string_view text,
                              pb::Message& out) {
  const std::string name(field);
  const Field* f = out.GetDescriptor()->FindFieldByName(name);
  if (f == nullptr || !FitsText(*f)) return UnknownParameter(name, out, {});
  if (!IsUtf8(text)) {
    return absl::InvalidArgumentError(name + ": not valid UTF-8");
  }
  return MessageReader({}).ReadValue(FromText(*f, text), out, *f, name);
}

absl::Status QueryToProto(const QueryPairs& query, pb::Message& out,
                          const ReadOptions& options) {
  std::vector<std::string_view> seen;
  for (const auto& [name, value] : query) {
    const Field* field = out.GetDescriptor()->FindFieldByName(name);
    const bool taken = std::ranges::count(options.taken_fields, name) > 0;
    if (field == nullptr || taken || !FitsText(*field)) {
      if (taken) {
        return absl::InvalidArgumentError(name + ": already given in the path");
      }
      return UnknownParameter(name, out, options);
    }
    if (!field->is_repeated() && std::ranges::count(seen, name) > 0) {
      return absl::InvalidArgumentError(name + ": given more than once");
    }
    seen.push_back(name);
    RETURN_IF_ERROR(SetFieldFromText(name, value, out));
  }
  return absl::OkStatus();
}

}  // namespace muster::wire
