#include "tools/musterctl/transport.h"

#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/failure_class.h"

namespace muster::ctl {
namespace {

constexpr size_t kCaFileBytesMax = 1 << 20;

class HttpsTransport final : public Transport {
 public:
  explicit HttpsTransport(std::unique_ptr<HttpsClient> client)
      : client_(std::move(client)) {}

  absl::StatusOr<HttpResponse> Fetch(const HttpRequest& request) override {
    return client_->Fetch(request);
  }
  void Abort() override { client_->Abort(); }

 private:
  const std::unique_ptr<HttpsClient> client_;
};

}  // namespace

bool NeverSent(const absl::Status& error) {
  if (absl::IsInvalidArgument(error)) return true;  // It could not be.
  switch (FailureClassOf(error).value_or(FailureClass::kEof)) {
    case FailureClass::kDialTimeout:
    case FailureClass::kRefused:
    case FailureClass::kDnsFailure:
      return true;
    case FailureClass::kTlsFailure:  // The key was wrong: nothing was sent.
      return absl::IsUnauthenticated(error);
    case FailureClass::kConnectionReset:
    case FailureClass::kEof:
    case FailureClass::kRefusedByGateway:
      return false;
  }
  return false;
}

absl::StatusOr<std::unique_ptr<Transport>> ConnectTo(const Endpoint& endpoint) {
  HttpsClient::Options options;
  options.base_url = endpoint.server;
  options.pin = endpoint.pin;
  if (!endpoint.ca_file.empty()) {
    auto pem = ReadFile(endpoint.ca_file, kCaFileBytesMax);
    if (!pem.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("CA file: {}", ToStd(pem.status().message())));
    }
    options.ca_pem = *std::move(pem);
  }
  ASSIGN_OR_RETURN(auto client, HttpsClient::Create(std::move(options)));
  return std::make_unique<HttpsTransport>(std::move(client));
}

}  // namespace muster::ctl
