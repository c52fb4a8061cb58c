#include "gateway/http/download.h"

#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/http/problem.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;

constexpr size_t kPieceMax = 4;

// Stored bytes, of which one answer has kPieceMax at most.
class DownloadTest : public testing::Test {
 protected:
  HttpResponse Ask(std::optional<ByteRange> range, uint64_t offset = 0) {
    HttpResponse answer;
    Download::Begin(
        range, offset,
        [this](uint64_t at, uint64_t bytes, Api::Reply reply) {
          asked_.push_back(
              fmt::format("{}+{}", at, std::min<uint64_t>(bytes, 99)));
          if (!error_.ok()) return reply({error_, "", {}}, nullptr);
          auto piece = std::make_unique<v1::RawBody>();
          piece->set_content_type("x/y");
          piece->mutable_part()->set_offset(at);
          piece->mutable_part()->set_size(stored_.size());
          piece->mutable_part()->set_may_grow(runs_);
          if (at < stored_.size()) {
            piece->set_data(
                stored_.substr(at, std::min<uint64_t>(bytes, kPieceMax)));
          }
          reply({}, std::move(piece));
        },
        [](const ApiError&) { return MakeProblem({.status = 404}); }, "id",
        Respond([&](HttpResponse response) { answer = std::move(response); }));
    return answer;
  }
  static std::string Header(const HttpResponse& response,
                            std::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }
  // All its parts; "…" where it was cut.
  static std::string Whole(HttpResponse response) {
    std::string body = response.body;
    while (response.more) {
      const auto more = std::move(response.more);
      more(Respond([&](HttpResponse part) { response = std::move(part); }));
      body += response.status == 200 ? response.body : "…";
    }
    return body;
  }

  std::string stored_ = "0123456789";
  bool runs_ = false;
  absl::Status error_;
  std::vector<std::string> asked_;
};

TEST_F(DownloadTest, WithoutARangeItIsAllThatIsThere) {
  const HttpResponse answer = Ask(std::nullopt);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.length, 10u);
  EXPECT_EQ(Header(answer, "Accept-Ranges"), "bytes");
  EXPECT_EQ(Header(answer, "Content-Range"), "");
  EXPECT_EQ(Header(answer, "Content-Type"), "x/y");
  EXPECT_EQ(Header(answer, "X-Request-Id"), "id");
  EXPECT_EQ(Whole(answer), "0123456789");
  EXPECT_THAT(asked_, ElementsAre("0+99", "4+6", "8+2"));
}

TEST_F(DownloadTest, ARangeIsAPartAndSaysOfHowMuch) {
  HttpResponse answer = Ask(ByteRange{.first = 2, .last = 7});
  EXPECT_EQ(answer.status, 206);
  EXPECT_EQ(answer.length, 6u);
  EXPECT_EQ(Header(answer, "Content-Range"), "bytes 2-7/10");
  EXPECT_EQ(Whole(std::move(answer)), "234567");
  answer = Ask(ByteRange{.first = 8});
  EXPECT_EQ(Header(answer, "Content-Range"), "bytes 8-9/10");
  EXPECT_EQ(answer.more, nullptr);
  EXPECT_EQ(answer.body, "89");
  answer = Ask(ByteRange{.suffix = 5});
  EXPECT_EQ(Header(answer, "Content-Range"), "bytes 5-9/10");
  EXPECT_EQ(answer.length, 5u);
  EXPECT_EQ(Whole(std::move(answer)), "56789");
  EXPECT_THAT(asked_, ElementsAre("2+6", "6+2", "8+99",
                                  "18446744073709551615+0", "5+5", "9+1"));
}

TEST_F(DownloadTest, WhileMoreMayComeTheSizeIsNotKnown) {
  runs_ = true;
  EXPECT_EQ(Header(Ask(ByteRange{.first = 0, .last = 1}), "Content-Range"),
            "bytes 0-1/*");
  HttpResponse answer = Ask(std::nullopt);
  stored_ += "later";
  EXPECT_EQ(answer.length, 10u);
  EXPECT_EQ(Whole(std::move(answer)), "0123456789");
}

TEST_F(DownloadTest, ARangeBeyondWhatIsThereIsRefusedAndSaysWhatIs) {
  for (const ByteRange range :
       {ByteRange{.first = 10}, ByteRange{.suffix = 0}}) {
    const HttpResponse answer = Ask(range);
    EXPECT_EQ(answer.status, 416);
    EXPECT_EQ(Header(answer, "Content-Range"), "bytes */10");
    EXPECT_EQ(Header(answer, "Content-Type"), "application/problem+json");
    EXPECT_EQ(answer.more, nullptr);
  }
}

TEST_F(DownloadTest, NothingIsAWholeAnswerToo) {
  stored_.clear();
  const HttpResponse answer = Ask(std::nullopt);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.length, 0u);
  EXPECT_EQ(answer.more, nullptr);
}

TEST_F(DownloadTest, WhatIsRefusedAtFirstIsAProblemAndLaterACut) {
  HttpResponse answer = Ask(std::nullopt);
  error_ = absl::NotFoundError("expired");
  EXPECT_EQ(Whole(std::move(answer)), "0123…");
  EXPECT_EQ(Ask(std::nullopt).status, 404);
}

// Or it would be asked for ever.
TEST_F(DownloadTest, BytesThatAreGoneMeanwhileCutTheAnswer) {
  HttpResponse answer = Ask(std::nullopt);
  stored_.resize(4);
  EXPECT_EQ(Whole(std::move(answer)), "0123…");
}

}  // namespace
}  // namespace muster::gateway
