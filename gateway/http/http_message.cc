#include "gateway/http/http_message.h"

#include <algorithm>

#include "gateway/http/problem.h"
#include "libprotocol/base/check.h"

namespace muster::gateway {

std::string_view HttpRequest::Header(std::string_view name) const {
  const auto it =
      std::ranges::find(headers, name, &HttpHeaders::value_type::first);
  return it == headers.end() ? std::string_view() : it->second;
}

size_t HttpRequest::HeaderCount(std::string_view name) const {
  return static_cast<size_t>(
      std::ranges::count(headers, name, &HttpHeaders::value_type::first));
}

Respond::~Respond() {
  if (sink_ == nullptr) return;
  (*this)(MakeProblem({.status = 500,
                       .code = "internal",
                       .detail = "the request was dropped unanswered"}));
}

void Respond::operator()(HttpResponse response) {
  MUSTER_CHECK(sink_ != nullptr);
  const std::unique_ptr<Sink> sink = std::move(sink_);
  (*sink)(std::move(response));
}

}  // namespace muster::gateway
