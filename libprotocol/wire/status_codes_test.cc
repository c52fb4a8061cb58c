#include "libprotocol/wire/status_codes.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace muster::wire {
namespace {

struct CodeCase {
  absl::StatusCode code;
  int http;
  std::string_view name;
};

constexpr CodeCase kTable[] = {
    {absl::StatusCode::kOk, 200, "ok"},
    {absl::StatusCode::kCancelled, 499, "cancelled"},
    {absl::StatusCode::kUnknown, 500, "internal"},
    {absl::StatusCode::kInvalidArgument, 400, "invalid_argument"},
    {absl::StatusCode::kDeadlineExceeded, 504, "deadline_exceeded"},
    {absl::StatusCode::kNotFound, 404, "not_found"},
    {absl::StatusCode::kAlreadyExists, 409, "already_exists"},
    {absl::StatusCode::kPermissionDenied, 403, "permission_denied"},
    {absl::StatusCode::kResourceExhausted, 429, "resource_exhausted"},
    {absl::StatusCode::kFailedPrecondition, 400, "failed_precondition"},
    {absl::StatusCode::kAborted, 409, "aborted"},
    {absl::StatusCode::kOutOfRange, 400, "out_of_range"},
    {absl::StatusCode::kUnimplemented, 501, "unimplemented"},
    {absl::StatusCode::kInternal, 500, "internal"},
    {absl::StatusCode::kUnavailable, 503, "unavailable"},
    {absl::StatusCode::kDataLoss, 500, "data_loss"},
    {absl::StatusCode::kUnauthenticated, 401, "unauthenticated"},
};

TEST(StatusCodesTest, AllSeventeenCodesHaveTheirHttpStatusAndName) {
  std::set<int> seen;
  for (const CodeCase& c : kTable) {
    seen.insert(static_cast<int>(c.code));
    EXPECT_EQ(ToHttp(c.code), c.http) << c.name;
    EXPECT_EQ(CodeName(c.code), c.name);
  }
  EXPECT_EQ(seen.size(), 17u);
}

}  // namespace
}  // namespace muster::wire
