#include "gateway/admin/asciicast.h"

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'750'000'000);

CommandRecord Session() {
  CommandRecord session;
  session.started_at = kStart;
  session.spec.terminal =
      Terminal{.size = {24, 80}, .type = "xterm", .keep = {}};
  return session;
}

OutputRecord At(double seconds, uint64_t offset, std::string data) {
  return {.command = CommandId("s1"),
          .offset = offset,
          .data = std::move(data),
          .at = kStart + absl::Seconds(seconds)};
}

std::string EventsOf(const std::vector<OutputRecord>& output) {
  const std::string cast = ToAsciicast(Session(), output);
  return cast.substr(cast.find('\n') + 1);
}

TEST(AsciicastTest, TheHeaderTellsTheTerminal) {
  EXPECT_EQ(ToAsciicast(Session(), {}),
            R"({"version":2,"width":80,"height":24,"timestamp":1750000000,)"
            R"("env":{"TERM":"xterm"}})"
            "\n");
}

TEST(AsciicastTest, EachPieceComesAtItsTime) {
  EXPECT_EQ(EventsOf({At(0.5, 0, "a\r\n"), At(2, 3, "\x1b[1mb")}),
            "[0.5,\"o\",\"a\\r\\n\"]\n[2.0,\"o\",\"\\u001b[1mb\"]\n");
}

TEST(AsciicastTest, ACharacterThatIsSplitComesWhole) {
  EXPECT_EQ(EventsOf({At(1, 0, "a\xc3"), At(2, 2, "\xa4z")}),
            "[1.0,\"o\",\"a\"]\n[2.0,\"o\",\"\xc3\xa4z\"]\n");
  EXPECT_EQ(EventsOf({At(1, 0, "\xe2\x82")}), "[1.0,\"o\",\"\xef\xbf\xbd\"]\n")
      << "one that never ends is no text";
}

TEST(AsciicastTest, WhatWasNeverSeenIsCounted) {
  EXPECT_EQ(EventsOf({At(1, 0, "a"), At(2, 11, "b")}),
            "[1.0,\"o\",\"a\"]\n"
            "[2.0,\"o\",\"\\r\\n[10 bytes were never seen]\\r\\nb\"]\n");
}

TEST(AsciicastTest, WhatCameAfterItsBoundIsCounted) {
  CommandRecord session = Session();
  session.stdout_total = 101;
  const std::string cast = ToAsciicast(session, {At(1, 0, "a")});
  EXPECT_EQ(cast.substr(cast.find('\n') + 1),
            "[1.0,\"o\",\"a\"]\n"
            "[1.0,\"o\",\"\\r\\n[the recording ends here; 100 bytes followed]"
            "\\r\\n\"]\n");
}

TEST(AsciicastTest, TimeNeverGoesBack) {
  EXPECT_EQ(EventsOf({At(5, 0, "a"), At(3, 1, "b")}),
            "[5.0,\"o\",\"a\"]\n[5.0,\"o\",\"b\"]\n");
}

}  // namespace
}  // namespace muster::gateway
