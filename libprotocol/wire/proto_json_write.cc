#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <iterator>

#include "absl/strings/escaping.h"
#include "fmt/compile.h"
#include "fmt/format.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/utf8.h"

namespace muster::wire {
namespace {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

constexpr int kSingular = -1;

void WriteMessage(const pb::Message& message, std::string& out);

template <typename T>
void WriteNumber(T value, std::string& out) {
  fmt::format_to(std::back_inserter(out), FMT_COMPILE("{}"), value);
}

// JSON has no word for infinity or "not a number".
void WriteDouble(double value, std::string& out) {
  if (std::isfinite(value)) {
    WriteNumber(value, out);
  } else {
    out += "null";
  }
}

void WriteTimestamp(const pb::Timestamp& t, std::string& out) {
  const std::time_t seconds =
      std::clamp(t.seconds(), kTimestampSecondsMin, kTimestampSecondsMax);
  std::tm parts;
  gmtime_r(&seconds, &parts);
  fmt::format_to(std::back_inserter(out),
                 FMT_COMPILE("\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\""),
                 parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                 parts.tm_hour, parts.tm_min, parts.tm_sec,
                 std::clamp(t.nanos(), 0, 999'999'999) / 1'000'000);
}

void WriteEnum(const pb::EnumDescriptor& type, int number, std::string& out) {
  const pb::EnumValueDescriptor* value = type.FindValueByNumber(number);
  // A number of a newer peer has no name here; it still is an honest answer.
  AppendJsonString(value ? EnumText(*value) : std::to_string(number), out);
}

void WriteText(const Field& field, const std::string& value, std::string& out) {
  if (field.type() == Field::TYPE_BYTES) {
    out += '"';
    out += absl::Base64Escape(value);
    out += '"';
  } else {
    AppendJsonString(value, out);
  }
}

// The value of a singular field, or element `i` of a repeated one.
void WriteValue(const pb::Message& m, const Field& field, int i,
                std::string& out) {
  const pb::Reflection& r = *m.GetReflection();
  const Field* f = &field;
  const bool one = i == kSingular;
  std::string scratch;
  switch (field.cpp_type()) {
    case Field::CPPTYPE_INT32:
      return WriteNumber(one ? r.GetInt32(m, f) : r.GetRepeatedInt32(m, f, i),
                         out);
    case Field::CPPTYPE_UINT32:
      return WriteNumber(one ? r.GetUInt32(m, f) : r.GetRepeatedUInt32(m, f, i),
                         out);
    case Field::CPPTYPE_INT64:
      return WriteNumber(one ? r.GetInt64(m, f) : r.GetRepeatedInt64(m, f, i),
                         out);
    case Field::CPPTYPE_UINT64:
      return WriteNumber(one ? r.GetUInt64(m, f) : r.GetRepeatedUInt64(m, f, i),
                         out);
    case Field::CPPTYPE_DOUBLE:
      return WriteDouble(one ? r.GetDouble(m, f) : r.GetRepeatedDouble(m, f, i),
                         out);
    case Field::CPPTYPE_FLOAT:
      return WriteDouble(one ? r.GetFloat(m, f) : r.GetRepeatedFloat(m, f, i),
                         out);
    case Field::CPPTYPE_BOOL:
      out += (one ? r.GetBool(m, f) : r.GetRepeatedBool(m, f, i)) ? "true"
                                                                  : "false";
      return;
    case Field::CPPTYPE_ENUM:
      return WriteEnum(
          *field.enum_type(),
          one ? r.GetEnumValue(m, f) : r.GetRepeatedEnumValue(m, f, i), out);
    case Field::CPPTYPE_STRING:
      return WriteText(field,
                       one ? r.GetStringReference(m, f, &scratch)
                           : r.GetRepeatedStringReference(m, f, i, &scratch),
                       out);
    case Field::CPPTYPE_MESSAGE:
      return WriteMessage(
          one ? r.GetMessage(m, f) : r.GetRepeatedMessage(m, f, i), out);
  }
}

void WriteMap(const pb::Message& m, const Field& field, std::string& out) {
  const Field& key_field = *field.message_type()->map_key();
  const Field& value_field = *field.message_type()->map_value();
  const pb::Reflection& r = *m.GetReflection();
  std::vector<std::pair<std::string, const pb::Message*>> entries;
  for (int i = 0; i < r.FieldSize(m, &field); ++i) {
    const pb::Message& entry = r.GetRepeatedMessage(m, &field, i);
    std::string key;
    WriteValue(entry, key_field, kSingular, key);
    if (!key.starts_with('"')) key = '"' + key + '"';  // Object keys are text.
    entries.emplace_back(std::move(key), &entry);
  }
  std::ranges::sort(entries);
  out += '{';
  for (const auto& [key, entry] : entries) {
    if (!out.ends_with('{')) out += ',';
    out += key;
    out += ':';
    WriteValue(*entry, value_field, kSingular, out);
  }
  out += '}';
}

void WriteList(const pb::Message& m, const Field& field, std::string& out) {
  const int size = m.GetReflection()->FieldSize(m, &field);
  out += '[';
  for (int i = 0; i < size; ++i) {
    if (i > 0) out += ',';
    WriteValue(m, field, i, out);
  }
  out += ']';
}

void WriteMessage(const pb::Message& message, std::string& out) {
  const pb::Descriptor& type = *message.GetDescriptor();
  if (&type == pb::Timestamp::descriptor()) {
    return WriteTimestamp(static_cast<const pb::Timestamp&>(message), out);
  }
  if (&type == pb::Duration::descriptor()) {
    return AppendJsonString(DurationOrNeverText(FromProto(
                                static_cast<const pb::Duration&>(message))),
                            out);
  }
  out += '{';
  bool first = true;
  for (int i = 0; i < type.field_count(); ++i) {
    const Field& field = *type.field(i);
    if (field.has_presence() &&
        !message.GetReflection()->HasField(message, &field)) {
      continue;
    }
    if (!first) out += ',';
    first = false;
    out += '"';
    out += field.name();
    out += "\":";
    if (field.is_map()) {
      WriteMap(message, field, out);
    } else if (field.is_repeated()) {
      WriteList(message, field, out);
    } else {
      WriteValue(message, field, kSingular, out);
    }
  }
  out += '}';
}

void AppendEscaped(unsigned char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), FMT_COMPILE("\\u{:04x}"), c);
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    const size_t length = Utf8Length(text.substr(i));
    if (length == 0) {
      out += "\xEF\xBF\xBD";  // U+FFFD
    } else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) {
      AppendEscaped(c, out);
    } else {
      out.append(text, i, length);
    }
    i += std::max<size_t>(length, 1);
  }
  out += '"';
}

std::string EnumText(const pb::EnumValueDescriptor& value) {
  std::string prefix;  // CommandState → COMMAND_STATE_
  for (char c : value.type()->name()) {
    if (std::isupper(c) && !prefix.empty()) prefix += '_';
    prefix += static_cast<char>(std::toupper(c));
  }
  prefix += '_';
  std::string text = value.name();
  if (text.starts_with(prefix)) text.erase(0, prefix.size());
  for (char& c : text) c = static_cast<char>(std::tolower(c));
  return text;
}

std::string ProtoToJson(const pb::Message& message) {
  std::string out;
  WriteMessage(message, out);
  return out;
}

}  // namespace muster::wire
