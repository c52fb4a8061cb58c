#include "tests/integration/rest_client.h"

namespace muster::integration {

absl::StatusOr<HttpResponse> RestClient::Get(const std::string& target) const {
  HttpsClient::Options options;
  options.base_url = url_;
  ASSIGN_OR_RETURN(const auto client, HttpsClient::Create(std::move(options)));
  HttpRequest request;
  request.target = target;
  request.headers = {{"Authorization", "Bearer " + token_.Reveal()}};
  return client->Fetch(request);
}

std::string ProblemCode(const absl::Status& status) {
  const auto problem = ctl::ProblemOf(status);
  return problem ? problem->code : "";
}

}  // namespace muster::integration
