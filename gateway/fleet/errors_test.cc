#include "gateway/fleet/errors.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

TEST(RefusalTest, EveryReasonHasANameOfItsOwnAndSurvivesTheStatus) {
  std::set<std::string_view> names;
  std::set<std::string> sentences;
  for (int i = 1; i <= 6; ++i) {
    const auto reason = static_cast<RefusalReason>(i);
    const absl::Status status = TokenRefused(reason);
    EXPECT_TRUE(absl::IsPermissionDenied(status));
    EXPECT_EQ(ErrorCode(status), "token_refused");
    EXPECT_EQ(RefusalReasonOf(status), reason);
    names.insert(NameOf(reason));
    sentences.insert(std::string(status.message()));
  }
  EXPECT_EQ(names.size(), 6u);
  EXPECT_EQ(sentences.size(), 6u);
}

TEST(RefusalTest, OtherErrorsHaveNone) {
  EXPECT_EQ(RefusalReasonOf(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(RefusalReasonOf(NotFound("token", "t1")), std::nullopt);
}

}  // namespace
}  // namespace muster::gateway
