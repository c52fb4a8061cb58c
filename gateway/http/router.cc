#include "gateway/http/router.h"

#include <algorithm>
#include <optional>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gateway/http/url.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/http_rule.h"
#include "libprotocol/wire/utf8.h"

namespace muster::gateway {
namespace {

namespace pb = google::protobuf;

constexpr std::string_view kVersionedPrefix = "/api/v1/";

template <typename... Args>
absl::Status Broken(const pb::MethodDescriptor& method,
                    fmt::format_string<Args...> text, Args&&... args) {
  return absl::FailedPreconditionError(
      fmt::format("{}: {}", method.full_name(),
                  fmt::format(text, std::forward<Args>(args)...)));
}

// "/a//b/" → "a", "", "b", "". `path` begins with a slash.
std::vector<std::string_view> Segments(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    path.remove_prefix(1);
    segments.push_back(path.substr(0, path.find('/')));
    path.remove_prefix(segments.back().size());
  }
  return segments;
}

bool CanFillPath(const pb::FieldDescriptor* field) {
  return field != nullptr && !field->is_repeated() &&
         (field->type() == pb::FieldDescriptor::TYPE_STRING ||
          field->type() == pb::FieldDescriptor::TYPE_ENUM);
}

// A decoded segment that can only be a trick or a mistake.
bool IsHostile(std::string_view segment) {
  return segment == "." || segment == ".." ||
         segment.find('/') != segment.npos ||
         std::ranges::any_of(segment,
                             [](char c) {
                               return static_cast<unsigned char>(c) < 0x20 ||
                                      c == 0x7f;
                             }) ||
         !wire::IsUtf8(segment);
}

Router::Miss UnknownRoute(std::string_view verb, std::string_view path) {
  return {.status = 404,
          .code = "unknown_route",
          .detail = fmt::format("nothing is at {} {}", wire::ClipUtf8(verb, 16),
                                wire::ClipUtf8(path, 256)),
          .allow = ""};
}

Router::Miss BadPath(std::string_view what) {
  return {.status = 400,
          .code = "invalid_path",
          .detail = fmt::format("path: {}", what),
          .allow = ""};
}

template <typename Routes>
std::string Allow(const Routes& routes) {
  std::vector<std::string> verbs = {"OPTIONS"};
  for (const auto& [verb, route] : routes) verbs.push_back(verb);
  if (routes.contains("GET")) verbs.push_back("HEAD");
  std::ranges::sort(verbs);
  return fmt::format("{}", fmt::join(verbs, ", "));
}

}  // namespace

absl::StatusOr<Router> Router::Build(
    const std::vector<const pb::ServiceDescriptor*>& services) {
  Router router;
  for (const pb::ServiceDescriptor* service : services) {
    for (int i = 0; i < service->method_count(); ++i) {
      RETURN_IF_ERROR(router.Add(*service->method(i)));
    }
  }
  return router;
}

absl::Status Router::Add(const pb::MethodDescriptor& method) {
  if (!method.options().HasExtension(v1::http) ||
      !method.options().HasExtension(v1::access)) {
    return Broken(method, "needs the options http and access");
  }
  if (method.options().GetExtension(v1::access).role() ==
      v1::ROLE_UNSPECIFIED) {
    return Broken(method, "the option access names no role");
  }
  Route route;
  route.method = &method;
  route.rule = method.options().GetExtension(v1::http);
  std::tie(route.verb, route.pattern) = wire::VerbAndPattern(route.rule);
  if (!route.pattern.starts_with('/')) {
    return Broken(method, "the option http needs a verb and a path");
  }
  Place place;
  for (std::string_view segment : Segments(route.pattern)) {
    if (segment.empty()) return Broken(method, "empty part in the path");
    if (!segment.starts_with('{')) {
      place.segments.emplace_back(segment);
      continue;
    }
    const std::string field(segment.substr(1, segment.size() - 2));
    if (!segment.ends_with('}') ||
        !CanFillPath(method.input_type()->FindFieldByName(field))) {
      return Broken(method, "{} is no text or enum field of {}", segment,
                    method.input_type()->full_name());
    }
    place.segments.emplace_back();
    route.path_fields.push_back(field);
  }
  const std::string verb = route.verb;
  Place& kept = places_.try_emplace(place.segments, place).first->second;
  const auto [it, added] = kept.routes.try_emplace(verb, std::move(route));
  if (!added) {
    return Broken(method, "{} {} is taken by {}", verb, it->second.pattern,
                  it->second.method->full_name());
  }
  return absl::OkStatus();
}

const Router::Place* Router::FindPlace(
    const std::vector<std::string>& segments) const {
  for (const auto& [pattern, place] : places_) {
    const bool fits = std::ranges::equal(
        pattern, segments, [](std::string_view p, std::string_view s) {
          return p.empty() || p == s;
        });
    if (fits) return &place;
  }
  return nullptr;
}

Router::Result Router::Find(std::string_view verb,
                            std::string_view path) const {
  std::string spelled(path);
  if (path.starts_with(kVersionedPrefix)) {
    spelled = fmt::format("/api/{}", path.substr(kVersionedPrefix.size()));
  }
  if (!spelled.starts_with('/')) return BadPath("must begin with /");
  std::vector<std::string> segments;
  for (std::string_view encoded : Segments(spelled)) {
    std::optional<std::string> segment = PercentDecode(encoded);
    if (!segment) return BadPath("broken percent-encoding");
    if (segment->empty()) return UnknownRoute(verb, path);
    if (IsHostile(*segment)) {
      return BadPath(
          "a part is \".\" or \"..\", holds a slash or control character, or "
          "is "
          "not UTF-8");
    }
    segments.push_back(*std::move(segment));
  }
  const Place* place = FindPlace(segments);
  if (place == nullptr) return UnknownRoute(verb, path);
  if (verb == "OPTIONS") return Options{Allow(place->routes)};
  const auto it =
      place->routes.find(verb == "HEAD" ? "GET" : std::string(verb));
  if (it == place->routes.end()) {
    return Miss{
        .status = 405,
        .code = "method_not_allowed",
        .detail = fmt::format("{} is not possible here; allowed: {}",
                              wire::ClipUtf8(verb, 16), Allow(place->routes)),
        .allow = Allow(place->routes)};
  }
  Match match{.route = &it->second, .values = {}};
  for (size_t i = 0; i < segments.size(); ++i) {
    if (place->segments[i].empty()) match.values.push_back(segments[i]);
  }
  return match;
}

std::vector<const Route*> Router::routes() const {
  std::vector<const Route*> all;
  for (const auto& [pattern, place] : places_) {
    for (const auto& [verb, route] : place.routes) all.push_back(&route);
  }
  std::ranges::sort(
      all, {}, [](const Route* r) { return std::pair(r->pattern, r->verb); });
  return all;
}

}  // namespace muster::gateway
