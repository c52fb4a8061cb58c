#include "tools/musterctl/gateway_api.h"

#include <vector>

#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/check.h"
#include "libprotocol/wire/http_rule.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/utf8.h"
#include "muster/v1/fleet_admin.pb.h"
#include "muster/v1/options.pb.h"
#include "nlohmann/json.hpp"
#include "tools/musterctl/problem.h"

namespace muster::ctl {
namespace {

namespace pb = google::protobuf;
using Json = nlohmann::ordered_json;

const pb::MethodDescriptor& FindMethod(std::string_view name) {
  const pb::ServiceDescriptor* service =
      v1::ListAgentsRequest::descriptor()->file()->FindServiceByName(
          "FleetAdmin");
  const pb::MethodDescriptor* method =
      service->FindMethodByName(std::string(name));
  MUSTER_CHECK(method != nullptr);
  return *method;
}

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

std::string PlainText(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// InvalidArgument naming the first text in `message` that is not UTF-8: JSON
// could only carry another one in its place.
absl::Status CheckTexts(const pb::Message& message, const std::string& path) {
  std::vector<const pb::FieldDescriptor*> set;
  const pb::Reflection& reflection = *message.GetReflection();
  reflection.ListFields(message, &set);
  for (const pb::FieldDescriptor* field : set) {
    const std::string name = path + field->name();
    const int size =
        field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE) {
        RETURN_IF_ERROR(
            CheckTexts(field->is_repeated()
                           ? reflection.GetRepeatedMessage(message, field, i)
                           : reflection.GetMessage(message, field),
                       name + "."));
      } else if (field->type() == pb::FieldDescriptor::TYPE_STRING) {
        const std::string text =
            field->is_repeated()
                ? reflection.GetRepeatedString(message, field, i)
                : reflection.GetString(message, field);
        const size_t bad = wire::Utf8Prefix(text);
        if (bad < text.size()) {
          return absl::InvalidArgumentError(fmt::format(
              "{}: must be UTF-8, and is not at byte {} (0x{:02x}); a shell "
              "can make any byte: printf '\\{:03o}'",
              name, bad, static_cast<unsigned char>(text[bad]),
              static_cast<unsigned char>(text[bad])));
        }
      }
    }
  }
  return absl::OkStatus();
}

// The fields that the caller has set, by name. Unset scalars are left out: an
// older gateway is not bothered with fields that it does not know.
Json SetFields(const pb::Message& request) {
  const Json all = Json::parse(wire::ProtoToJson(request));
  std::vector<const pb::FieldDescriptor*> set;
  request.GetReflection()->ListFields(request, &set);
  Json out = Json::object();
  for (const pb::FieldDescriptor* field : set) {
    out[field->name()] = all[field->name()];
  }
  return out;
}

// Fills the braces of `pattern` and takes those fields out of `fields`.
absl::StatusOr<std::string> FillPath(std::string_view pattern, Json& fields) {
  std::string path;
  while (!pattern.empty()) {
    const size_t open = pattern.find('{');
    path += pattern.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = pattern.find('}', open);
    const std::string name(pattern.substr(open + 1, close - open - 1));
    if (!fields.contains(name)) {
      return absl::InvalidArgumentError(fmt::format("{} is empty", name));
    }
    path += PercentEncode(PlainText(fields[name]));
    fields.erase(name);
    pattern.remove_prefix(close + 1);
  }
  return path;
}

std::string QueryOf(const Json& fields) {
  std::string query;
  const auto append = [&](const std::string& key, const Json& value) {
    query += query.empty() ? '?' : '&';
    query += key + "=" + PercentEncode(PlainText(value));
  };
  for (const auto& [key, value] : fields.items()) {
    if (value.is_array()) {
      for (const Json& element : value) append(key, element);
    } else {
      append(key, value);
    }
  }
  return query;
}

}  // namespace

absl::StatusOr<HttpResponse> GatewayApi::Exchange(std::string_view method_name,
                                                  const pb::Message& request,
                                                  pb::Message* response,
                                                  const CallOptions& options) {
  const pb::MethodDescriptor& method = FindMethod(method_name);
  MUSTER_CHECK(method.input_type() == request.GetDescriptor());
  MUSTER_CHECK(response == nullptr ||
               method.output_type() == response->GetDescriptor());
  RETURN_IF_ERROR(CheckTexts(request, ""));
  const v1::HttpRule& rule = method.options().GetExtension(v1::http);

  HttpRequest http;
  auto [verb, pattern] = wire::VerbAndPattern(rule);
  http.method = std::move(verb);
  Json fields = SetFields(request);
  ASSIGN_OR_RETURN(http.target, FillPath(pattern, fields));
  if (rule.body()) {
    http.body = fields.dump();
    http.headers.push_back({"Content-Type", "application/json"});
  } else {
    http.target += QueryOf(fields);
  }
  const std::string accepted(options.as_protobuf ? wire::kProtobufType
                                                 : "application/json");
  http.headers.push_back({"Accept", accepted});
  if (!options.idempotency_key.empty()) {
    http.headers.push_back({"Idempotency-Key", options.idempotency_key});
  }
  if (!token_.empty()) {
    http.headers.push_back({"Authorization", "Bearer " + token_.Reveal()});
  }
  if (!org_.empty()) http.headers.push_back({"Muster-Org", org_});
  http.timeout = options.timeout.value_or(timeout_) + options.wait;

  ASSIGN_OR_RETURN(HttpResponse answer, transport_.Fetch(http));
  if (answer.status < 200 || answer.status > 299) {
    return ProblemStatus(answer.status, answer.body);
  }
  if (response == nullptr) return answer;
  // A gateway that is older answers in JSON all the same.
  const bool is_json = answer.Header("Content-Type") != wire::kProtobufType;
  absl::Status read;
  if (is_json) {
    read = wire::JsonToProto(answer.body, *response, {.ignore_unknown = true});
  } else if (!response->ParseFromString(answer.body)) {
    read = absl::DataLossError("no such message");
  }
  if (!read.ok()) {
    return absl::DataLossError(
        fmt::format("the gateway's answer to {} {} is not understood: {}",
                    http.method, http.target, ToStd(read.message())));
  }
  return answer;
}

std::optional<absl::Time> GatewayApi::ParseDate(std::string_view text) {
  absl::Time time;
  std::string ignored;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", std::string(text), &time,
                       &ignored)) {
    return std::nullopt;
  }
  return time;
}

}  // namespace muster::ctl
