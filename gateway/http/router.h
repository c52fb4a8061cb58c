// Which operation does a verb and a path mean?
//
// The table is read from the `http` options of the contract; nothing is written
// down twice. Matching is strict, so that one operation has one spelling:
// case-sensitive, no empty segments ("//", a slash at the end), no "." or "..",
// no encoded slash. `/api/v1/…` is another name of `/api/…`.

#ifndef MUSTER_GATEWAY_HTTP_ROUTER_H_
#define MUSTER_GATEWAY_HTTP_ROUTER_H_

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"
#include "muster/v1/options.pb.h"

namespace muster::gateway {

// One operation that has a place in HTTP. Lives as long as its Router.
struct Route {
  const google::protobuf::MethodDescriptor* method = nullptr;
  std::string verb;                      // "GET"
  std::string pattern;                   // "/api/agents/{agent_id}"
  std::vector<std::string> path_fields;  // In order: {"agent_id"}
  v1::HttpRule rule;
};

// Router is immutable after Build(), hence thread-safe.
class Router {
 public:
  struct Match {
    const Route* route;
    std::vector<std::string> values;  // Decoded, one for each of path_fields.
  };
  // Why there is no match. `allow` is set for 405 only.
  struct Miss {
    int status;
    std::string code;
    std::string detail;
    std::string allow;  // "GET, HEAD, OPTIONS"
  };
  // The path exists and the verb was OPTIONS.
  struct Options {
    std::string allow;
  };
  using Result = std::variant<Match, Miss, Options>;

  // FailedPrecondition naming the method that lacks the `http` or `access`
  // option, has a malformed pattern, captures what is no string or enum field
  // of its request, or takes the place of another.
  static absl::StatusOr<Router> Build(
      const std::vector<const google::protobuf::ServiceDescriptor*>& services);

  // `path` as it was sent: still encoded, without query. Where a literal and a
  // capture both fit a segment the literal wins. HEAD finds what GET would.
  Result Find(std::string_view verb, std::string_view path) const;

  // Every route, ordered by path. For tests and documentation.
  std::vector<const Route*> routes() const;

 private:
  // Everything that lives at one path, by verb.
  struct Place {
    std::vector<std::string> segments;  // A capture is "".
    std::map<std::string, Route> routes;
  };

  absl::Status Add(const google::protobuf::MethodDescriptor& method);
  const Place* FindPlace(const std::vector<std::string>& segments) const;

  // By segments in descending order: "" sorts before every literal, so that of
  // two places that fit, the one with the earlier literal comes first.
  std::map<std::vector<std::string>, Place, std::greater<>> places_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_ROUTER_H_
