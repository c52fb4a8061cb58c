#include "gateway/http/event_source.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_json.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;

v1::OutputChunk Chunk(v1::OutputStream stream, uint64_t offset,
                      std::string data) {
  v1::OutputChunk chunk;
  chunk.set_stream(stream);
  chunk.set_offset(offset);
  chunk.set_data(std::move(data));
  return chunk;
}

std::unique_ptr<EventSource> OutputAfter(std::string_view last_event_id) {
  v1::GetOutputRequest request;
  request.set_command_id("c");
  request.set_stdout_offset(7);
  return *EventSource::For(request, last_event_id);
}

std::string Question(EventSource& source) {
  return wire::ProtoToJson(*source.Question(absl::Seconds(15)));
}

TEST(EventSourceTest, OutputIsToldPieceByPieceWithItsPlace) {
  const auto source = OutputAfter("");
  EXPECT_THAT(Question(*source),
              HasSubstr(R"("stdout_offset":7,"stderr_offset":0,"wait":"15s")"));
  v1::GetOutputResponse answer;
  *answer.add_chunks() = Chunk(v1::OUTPUT_STREAM_STDOUT, 7, "a\n");
  *answer.add_chunks() =
      Chunk(v1::OUTPUT_STREAM_STDERR, 0, std::string("\0\xff", 2));
  const EventSource::Frames frames = source->Take(answer);
  EXPECT_EQ(frames.text,
            "id: 9-0\nevent: output\n"
            "data: {\"stream\":\"stdout\",\"offset\":7,\"data\":\"YQo=\"}\n\n"
            "id: 9-2\nevent: output\n"
            "data: {\"stream\":\"stderr\",\"offset\":0,\"data\":\"AP8=\"}\n\n");
  EXPECT_FALSE(frames.last);
  EXPECT_THAT(Question(*source),
              HasSubstr(R"("stdout_offset":9,"stderr_offset":2)"));
}

TEST(EventSourceTest, TheEndOfTheCommandIsTheLastEvent) {
  const auto source = OutputAfter("");
  v1::GetOutputResponse answer;
  EXPECT_EQ(source->Take(answer).text, "") << "nothing has happened";
  *answer.add_chunks() = Chunk(v1::OUTPUT_STREAM_STDOUT, 7, "a");
  answer.set_end(true);
  answer.mutable_command()->set_state(v1::COMMAND_STATE_FAILED);
  answer.mutable_command()->set_exit_code(3);
  const EventSource::Frames frames = source->Take(answer);
  EXPECT_TRUE(frames.last);
  const size_t end = frames.text.find("id: 8-0\nevent: end\ndata: {");
  ASSERT_NE(end, std::string::npos) << frames.text;
  EXPECT_THAT(frames.text.substr(end), HasSubstr(R"("state":"failed")"));
  EXPECT_THAT(frames.text.substr(end), HasSubstr(R"("exit_code":3)"));
}

TEST(EventSourceTest, AReaderThatComesBackGoesOnWhereItWas) {
  EXPECT_THAT(Question(*OutputAfter("120-45")),
              HasSubstr(R"("stdout_offset":120,"stderr_offset":45)"));
  for (const char* wrong : {"7", "a-b", "7-", "-7", "7-8-9", "7-8 ", "7_8"}) {
    v1::GetOutputRequest request;
    EXPECT_EQ(EventSource::For(request, wrong).status().code(),
              absl::StatusCode::kInvalidArgument)
        << wrong;
  }
}

TEST(EventSourceTest, OtherOperationsHaveOneAnswer) {
  EXPECT_EQ(*EventSource::For(v1::GetCommandRequest(), ""), nullptr);
}

}  // namespace
}  // namespace muster::gateway
