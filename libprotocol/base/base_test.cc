#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/log_limit.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster {
namespace {

using testing::HasSubstr;

TEST(IdsTest, AUuidIsCanonicalUniqueAndSortsByTheMillisecondItWasMade) {
  const absl::Time t = absl::FromUnixMillis(1'700'000'000'000);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = NewUuid(t);
    EXPECT_TRUE(IsUuid(id)) << id;
    EXPECT_EQ(id[14], '7') << id;
    EXPECT_THAT("89ab", HasSubstr(id.substr(19, 1)));
    EXPECT_LT(id, NewUuid(t + absl::Milliseconds(1)));
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(IdsTest, OnlyTheCanonicalFormIsAUuid) {
  EXPECT_TRUE(IsUuid("0190163d-8694-739b-aea5-966c26f8ad91"));
  EXPECT_FALSE(IsUuid("0190163D-8694-739b-aea5-966c26f8ad91"));
  EXPECT_FALSE(IsUuid("0190163d-8694-739b-aea5-966c26f8ad9"));
  EXPECT_FALSE(IsUuid("0190163d-8694-739b-aea5-966c26f8ad9g"));
  EXPECT_FALSE(IsUuid("0190163d08694-739b-aea5-966c26f8ad91"));
}

TEST(FilesTest, ADurableWriteReplacesTheContentAndSetsTheModeWhateverTheUmask) {
  TempDir dir;
  const std::string path = dir.File("key");
  const mode_t before = umask(0);
  ASSERT_TRUE(WriteFileDurably(path, "one", 0600).ok());
  ASSERT_TRUE(WriteFileDurably(path, "two", 0600).ok());
  umask(before);
  EXPECT_EQ(*ReadFile(path, 100), "two");
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_FALSE(FileExists(path + ".new"));
}

TEST(FilesTest, AFailedReplacementLeavesTheOldContent) {
  TempDir dir;
  ASSERT_TRUE(MakeFolder(dir.File("target"), 0700).ok());
  EXPECT_FALSE(WriteFileDurably(dir.File("target"), "x", 0600).ok());
  EXPECT_FALSE(FileExists(dir.File("target.new")));
}

TEST(FilesTest, CreatingAnExistingFileIsAlreadyExists) {
  TempDir dir;
  ASSERT_TRUE(CreateFileDurably(dir.File("started"), "", 0600).ok());
  EXPECT_EQ(CreateFileDurably(dir.File("started"), "", 0600).code(),
            absl::StatusCode::kAlreadyExists);
}

TEST(FilesTest, OfManyThatCreateAFileOneSucceedsAndItsContentIsWhole) {
  TempDir dir;
  const std::string path = dir.File("started");
  std::atomic<int> created = 0, whole = 0;
  {
    std::vector<std::jthread> creators;
    for (int i = 0; i < 8; ++i) {
      creators.emplace_back([&, i] {
        const std::string mine(1000, static_cast<char>('a' + i));
        if (CreateFileDurably(path, mine, 0600).ok()) ++created;
        // Whoever failed can read what the other wrote.
        if (const auto text = ReadFile(path, 1000);
            text.ok() && *text == std::string(1000, text->front())) {
          ++whole;
        }
      });
    }
  }
  EXPECT_EQ(created, 1);
  EXPECT_EQ(whole, 8);
  const std::filesystem::directory_iterator files(
      std::filesystem::path(path).parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(FilesTest, ReadingHasABound) {
  TempDir dir;
  ASSERT_TRUE(WriteFileDurably(dir.File("f"), "12345", 0600).ok());
  EXPECT_EQ(*ReadFile(dir.File("f"), 5), "12345");
  EXPECT_EQ(ReadFile(dir.File("f"), 4).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReadFile(dir.File("none"), 4).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(LogTest, ValuesAreFieldsAndCannotForgeALine) {
  std::vector<std::string> lines;
  TapLog([&lines](std::string_view line) { lines.emplace_back(line); });
  Log(kInfo, "machine offline",
      {{"hostname", "a b\nlevel=error"}, {"count", 3}, {"ok", true}});
  Log(kDebug, "below the level");
  TapLog(nullptr);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0],
              HasSubstr(R"(level=info msg="machine offline" )"
                        R"(hostname="a b\nlevel=error" count=3 ok=true)"));
}

TEST(SecretTest, MovingLeavesNothingBehind) {
  Secret a("hunter2");
  const Secret b = std::move(a);
  EXPECT_EQ(b.Reveal(), "hunter2");
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): the point.
}

TEST(LogLimitTest, OnePassesInEachPeriodAndTheRestIsCounted) {
  LogLimit limit(absl::Seconds(10));
  const auto at = [](int s) { return Instant::SinceBoot(absl::Seconds(s)); };
  EXPECT_EQ(limit.Pass(at(0)), 0u);
  EXPECT_EQ(limit.Pass(at(0)), std::nullopt);
  EXPECT_EQ(limit.Pass(at(9)), std::nullopt);
  EXPECT_EQ(limit.Pass(at(10)), 2u);
  EXPECT_EQ(limit.Pass(at(19)), std::nullopt);
  EXPECT_EQ(limit.Pass(at(100)), 1u);
  EXPECT_EQ(limit.Pass(at(200)), 0u);
}

}  // namespace
}  // namespace muster
