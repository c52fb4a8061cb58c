// A path that means an operation has a value for each of its fields, none of
// them empty, and means the same below /api/v1.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "gateway/http/router.h"
#include "libprotocol/base/check.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

const Router& TheRouter() {
  static const auto* router = new Router(*Router::Build(
      {v1::ListAgentsRequest::descriptor()->file()->service(0),
       v1::RegisterRequest::descriptor()->file()->FindServiceByName(
           "Enrollment")}));
  return *router;
}

void Check(std::string_view verb, std::string_view path) {
  const Router::Result result = TheRouter().Find(verb, path);
  const auto* match = std::get_if<Router::Match>(&result);
  if (match == nullptr) return;
  MUSTER_CHECK(match->values.size() == match->route->path_fields.size());
  for (const std::string& value : match->values) MUSTER_CHECK(!value.empty());

  constexpr std::string_view kApi = "/api/";
  constexpr std::string_view kVersioned = "/api/v1/";
  if (!path.starts_with(kApi) || path.starts_with(kVersioned)) return;
  const Router::Result alias = TheRouter().Find(
      verb, std::string(kVersioned) + std::string(path.substr(kApi.size())));
  const auto* same = std::get_if<Router::Match>(&alias);
  MUSTER_CHECK(same != nullptr && same->route == match->route &&
               same->values == match->values);
}

}  // namespace
}  // namespace muster::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view path(reinterpret_cast<const char*>(data), size);
  for (const char* verb : {"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"})
    muster::gateway::Check(verb, path);
  return 0;
}
