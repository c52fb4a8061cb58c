#include "agent/app/web_port.h"

#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/https_client.h"
#include "libprotocol/wire/json_tree.h"
#include "libprotocol/wire/proto_json.h"

namespace muster::agent {
namespace {

constexpr size_t kAnswerBytesMax = 256 * 1024;
constexpr char kCodePayload[] = "muster/code";
constexpr char kDetailPayload[] = "muster/detail";

std::string PayloadOf(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  return payload ? std::string(*payload) : "";
}

// The gateway's own words for an error, if it sent any.
absl::Status ErrorOf(const HttpResponse& response, const std::string& server,
                     const std::string& what) {
  std::string code;
  std::string detail;
  if (const auto tree = wire::ParseJsonTree(response.body);
      tree.ok() && tree->is_object()) {
    if (const auto it = tree->find("code");
        it != tree->end() && it->is_string()) {
      code = it->get<std::string>();
    }
    if (const auto it = tree->find("detail");
        it != tree->end() && it->is_string()) {
      detail = it->get<std::string>();
    }
  }
  const std::string text = fmt::format(
      "{} refused {}: {}{}{}", server, what,
      code.empty() ? fmt::format("HTTP status {}", response.status) : code,
      detail.empty() ? "" : ": ", detail);
  absl::Status status = response.status == 401 || response.status == 403
                            ? absl::UnauthenticatedError(text)
                        : response.status >= 500 || response.status == 429
                            ? absl::UnavailableError(text)
                            : absl::FailedPreconditionError(text);
  status.SetPayload(kCodePayload, absl::Cord(code));
  status.SetPayload(kDetailPayload, absl::Cord(detail));
  return status;
}

// A gateway's own authority is not among those that a machine believes.
absl::Status WithHint(const absl::Status& status, const WebPort& port) {
  if (!absl::IsUnauthenticated(status) || !port.pin.empty() ||
      !port.ca_pem.empty()) {
    return status;
  }
  return absl::UnauthenticatedError(
      fmt::format("{}; say whom to believe with --pin (musterctl tokens create "
                  "prints it) or --ca-file",
                  ToStd(status.message())));
}

}  // namespace

absl::Status Post(const WebPort& port, const std::string& path,
                  const std::string& what,
                  const google::protobuf::Message& request,
                  google::protobuf::Message& response) {
  HttpsClient::Options options;
  options.base_url = port.url;
  options.pin = port.pin;
  options.ca_pem = port.ca_pem;
  options.response_bytes_max = kAnswerBytesMax;
  ASSIGN_OR_RETURN(const auto client, HttpsClient::Create(std::move(options)));
  HttpRequest http;
  http.method = "POST";
  http.target = path;
  http.headers = {{"Content-Type", "application/json"}};
  http.body = wire::ProtoToJson(request);
  const absl::StatusOr<HttpResponse> fetched = client->Fetch(http);
  if (!fetched.ok()) return WithHint(fetched.status(), port);
  if (fetched->status / 100 != 2) return ErrorOf(*fetched, port.url, what);
  return wire::JsonToProto(fetched->body, response, {.ignore_unknown = true});
}

std::string RefusalCode(const absl::Status& status) {
  return PayloadOf(status, kCodePayload);
}

std::string RefusalDetail(const absl::Status& status) {
  return PayloadOf(status, kDetailPayload);
}

}  // namespace muster::agent
