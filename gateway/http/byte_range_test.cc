#include "gateway/http/byte_range.h"

#include <string>

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(ByteRangeTest, OneRangeOfBytesIsRead) {
  EXPECT_EQ(ByteRange::Parse("bytes=0-0"), (ByteRange{.first = 0, .last = 0}));
  EXPECT_EQ(ByteRange::Parse("BYTES=7-9 "), (ByteRange{.first = 7, .last = 9}));
  EXPECT_EQ(ByteRange::Parse("bytes=7-"), (ByteRange{.first = 7}));
  EXPECT_EQ(ByteRange::Parse("bytes=-5"), (ByteRange{.suffix = 5}));
  EXPECT_EQ(ByteRange::Parse("bytes=0-99999999999999999999999"),
            (ByteRange{.first = 0, .last = kMax}));
}

TEST(ByteRangeTest, WhatIsNoSingleRangeIsIgnored) {
  for (const char* header :
       {"", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=9-7", "bytes=a-b",
        "bytes=1-2,4-5", "bytes=-1-2", "bytes=+1-2", "bytes= 1 - 2",
        "bytes=0x1-2", "lines=1-2", "bytes 1-2", "bytes=--5"}) {
    EXPECT_EQ(ByteRange::Parse(header), std::nullopt) << header;
  }
}

TEST(ByteRangeTest, WhatIsThereOfARangeEndsWithTheBytes) {
  const auto span = [](ByteRange range, uint64_t size) {
    const auto some = SpanOf(range, size);
    return some ? std::to_string(some->begin) + "-" + std::to_string(some->end)
                : "nothing";
  };
  EXPECT_EQ(span({.first = 2, .last = 3}, 10), "2-4");
  EXPECT_EQ(span({.first = 9}, 10), "9-10");
  EXPECT_EQ(span({.first = 10}, 10), "nothing");
  EXPECT_EQ(span({.first = 0, .last = kMax}, 10), "0-10");
  EXPECT_EQ(span({.first = kMax, .last = kMax}, 10), "nothing");
  EXPECT_EQ(span({.suffix = 3}, 10), "7-10");
  EXPECT_EQ(span({.suffix = 11}, 10), "0-10");
  EXPECT_EQ(span({.suffix = 0}, 10), "nothing");
  EXPECT_EQ(span({.first = 0}, 0), "nothing");
}

}  // namespace
}  // namespace muster::gateway
