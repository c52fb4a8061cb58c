#include "agent/exec/run_log.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const absl::Time kAt = absl::FromUnixMillis(1'800'000'000'123);

class RunLogTest : public testing::Test {
 protected:
  static RunOrder Order(int number) {
    RunOrder order{.command_id = CommandId(fmt::format("c{}", number)),
                   .at = kAt,
                   .issued_by = "alice",
                   .purpose = "disk full",
                   .user = "root",
                   .shell = "sh"};
    SetText("echo \x1b[2J \xff", {}, order);
    return order;
  }
  std::vector<RunEntry> Read(size_t limit = 100) {
    const auto entries = log_.Read(limit);
    EXPECT_TRUE(entries.ok()) << entries.status();
    return entries.value_or(std::vector<RunEntry>());
  }
  std::string File(const std::string& name) { return folder_ + "/" + name; }

  TempDir dir_;
  std::string folder_ = dir_.File("ran");
  RunLog log_{folder_};
};

TEST_F(RunLogTest, OrderAndEndAreReadBackTogether) {
  RunOrder order = Order(1);
  order.text = "true";
  order.text_bytes = 4;
  ASSERT_TRUE(log_.Ordered(order).ok());
  ASSERT_TRUE(log_.Ordered(Order(2)).ok());
  const RunEnd end{.at = kAt + absl::Seconds(1),
                   .state = "failed",
                   .exit_code = 3,
                   .signal = std::nullopt,
                   .reason = "why"};
  ASSERT_TRUE(log_.Ended(order.command_id, end).ok());
  const auto entries = Read();
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0].order, order);
  EXPECT_EQ(entries[0].end, end);
  EXPECT_EQ(entries[1].order.command_id, CommandId("c2"));
  EXPECT_EQ(entries[1].end, std::nullopt);
  const auto last = Read(1);
  ASSERT_THAT(last, SizeIs(1));
  EXPECT_EQ(last[0].order.command_id, CommandId("c2"));
}

TEST_F(RunLogTest, OnlyItsOwnerCanReadIt) {
  EXPECT_THAT(Read(), IsEmpty()) << "nothing was run";
  ASSERT_TRUE(log_.Ordered(Order(1)).ok());
  struct stat st;
  ASSERT_EQ(stat(File("log").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777u, 0600u);
  ASSERT_EQ(stat(folder_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777u, 0700u);
}

// Bytes of a command may be anything; a line stays a line.
TEST_F(RunLogTest, ATextCannotForgeALineNorSpeakToATerminal) {
  RunOrder order = Order(1);
  order.issued_by = "eve\n{\"event\":\"ended\"}";
  ASSERT_TRUE(log_.Ordered(order).ok());
  const std::string text = *ReadFile(File("log"), 1 << 20);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_EQ(Read().at(0).order.issued_by, order.issued_by);
}

TEST_F(RunLogTest, ItIsBoundedAndTheOldestGoes) {
  RunOrder order = Order(0);
  SetText(std::string(4096, '\x01'), {}, order);  // Six bytes each in JSON.
  constexpr int kMany = 8000;
  for (int i = 0; i < kMany; ++i) {
    order.command_id = CommandId(fmt::format("c{}", i));
    ASSERT_TRUE(log_.Ordered(order).ok());
  }
  size_t files = 0, bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_)) {
    ++files;
    bytes += file.file_size();
    EXPECT_LE(file.file_size(), RunLog::kFileBytesMax) << file.path();
  }
  EXPECT_EQ(files, size_t{RunLog::kFilesMax});
  const auto entries = Read(kMany);
  EXPECT_LT(entries.size(), size_t{kMany});
  EXPECT_GT(entries.size(), size_t{RunLog::kFilesMax - 1} * 500);
  EXPECT_EQ(entries.back().order.command_id,
            CommandId(fmt::format("c{}", kMany - 1)));
  // An end without its order tells nobody anything.
  ASSERT_TRUE(log_.Ended(CommandId("c0"), {.at = kAt, .state = "failed"}).ok());
  EXPECT_EQ(Read(kMany).size(), entries.size());
}

TEST_F(RunLogTest, ALineThatACrashHasCutIsPassedOver) {
  ASSERT_TRUE(log_.Ordered(Order(1)).ok());
  std::ofstream(File("log"), std::ios::app)
      << R"({"event":"ordered","command_id":"c2)"
      << "\n";
  ASSERT_TRUE(log_.Ordered(Order(3)).ok());
  const auto entries = Read();
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[1].order.command_id, CommandId("c3"));
}

TEST_F(RunLogTest, TheFirstBytesOfATextAreKept) {
  RunOrder order;
  SetText(std::string(255, 'x') + "é and more", {}, order);
  EXPECT_EQ(order.text, std::string(255, 'x'));
  EXPECT_EQ(order.text_bytes, 266u);
  SetText("", {"/bin/echo", "two words", "it's", ""}, order);
  EXPECT_EQ(order.text, R"(/bin/echo 'two words' 'it'\''s' '')");
  SetText("", std::vector<std::string>(1000, "word"), order);
  EXPECT_EQ(order.text.size(), RunLog::kTextBytesMax);
  EXPECT_EQ(order.text_bytes, 4999u);
}

TEST_F(RunLogTest, WhatCannotBeWrittenOrReadIsAnError) {
  ASSERT_TRUE(MakeFolder(File("log"), 0700).ok());
  EXPECT_FALSE(log_.Ordered(Order(1)).ok());
  EXPECT_FALSE(log_.Read(1).ok());
}

}  // namespace
}  // namespace muster::agent
