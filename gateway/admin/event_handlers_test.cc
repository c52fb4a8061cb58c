#include "gateway/admin/event_handlers.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {
namespace {

using absl::Seconds;

class EventHandlersTest : public FleetTest {
 protected:
  using Response = v1::WatchEventsResponse;
  using Answer = std::shared_ptr<std::optional<absl::StatusOr<Response>>>;

  EventHandlersTest() { handlers_->AddTo(table_); }

  // The answer, once there is one.
  Answer Watch(const std::string& after, absl::Duration wait,
               const OrgId& org = kOrg) {
    v1::WatchEventsRequest request;
    request.set_after(after);
    *request.mutable_wait() = wire::ToProto(wait);
    const auto* method = v1::WatchEventsRequest::descriptor()
                             ->file()
                             ->FindServiceByName("FleetAdmin")
                             ->FindMethodByName("WatchEvents");
    auto answer = std::make_shared<std::optional<absl::StatusOr<Response>>>();
    Caller caller;
    caller.org = org;
    (*table_.Find(*method))(
        caller, request,
        [answer](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> m) {
          EXPECT_FALSE(answer->has_value()) << "answered twice";
          if (m.ok()) {
            *answer = static_cast<const Response&>(**m);
          } else {
            *answer = m.status();
          }
        });
    return answer;
  }
  // What there is at once.
  Response Poll(const std::string& after) {
    const Answer answer = Watch(after, absl::ZeroDuration());
    EXPECT_TRUE(answer->has_value() && (*answer)->ok());
    return ***answer;
  }

  std::unique_ptr<EventHandlers> handlers_ = std::make_unique<EventHandlers>(
      loop_, *fleet_, EventHandlers::Options{.waiting_max = 2});
  HandlerTable table_;
};

TEST_F(EventHandlersTest, WhoAsksForTheFirstTimeIsToldWhereToBegin) {
  const AgentId a = Admit("a");
  const Response start = Poll("");
  EXPECT_EQ(start.reset(), v1::EVENT_RESET_START);
  Connect(a, link_);
  const Response answer = Poll(start.next());
  EXPECT_FALSE(answer.has_reset());
  ASSERT_EQ(answer.events_size(), 1);
  const v1::Event& event = answer.events(0);
  EXPECT_EQ(event.version(), answer.next());
  EXPECT_EQ(event.kind(), v1::EVENT_KIND_TRANSITION);
  EXPECT_EQ(event.agent_id(), "a");
  EXPECT_EQ(event.hostname(), "a");
  EXPECT_EQ(event.transition().from(), v1::STATUS_STALE);
  EXPECT_EQ(event.transition().to(), v1::STATUS_ONLINE);
  EXPECT_FALSE(event.has_late());
}

TEST_F(EventHandlersTest, AWaitIsOverInTheTurnInWhichSomethingIsDecided) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(60));
  const std::string now = Poll("").next();
  const Answer one = Watch(now, Seconds(60));
  const Answer two = Watch(now, Seconds(60));
  const Answer foreign = Watch(Poll("").next(), Seconds(1), OrgId("other"));
  loop_.Advance(Seconds(15) - kTick);
  EXPECT_FALSE(one->has_value());
  journal_.Hold();  // The store has nothing to do with it.
  loop_.Advance(kTick);
  for (const Answer& answer : {one, two}) {
    ASSERT_TRUE(answer->has_value());
    ASSERT_EQ((**answer)->events_size(), 1);
    const v1::Event& event = (**answer)->events(0);
    EXPECT_EQ(event.transition().to(), v1::STATUS_STALE);
    EXPECT_EQ(event.transition().summary(), "silent, link not closed");
    EXPECT_FALSE(event.transition().durable());
    EXPECT_TRUE(event.has_late());
  }
  journal_.Release();
  loop_.RunReady();
  EXPECT_TRUE(Poll(now).events(0).transition().durable());
  EXPECT_EQ(handlers_->waiting(), 0u);
}

TEST_F(EventHandlersTest, AWaitInVainIsAnsweredWithNothing) {
  const std::string now = Poll("").next();
  const Answer answer = Watch(now, Seconds(15));
  loop_.Advance(Seconds(15) - kTick);
  EXPECT_FALSE(answer->has_value());
  loop_.Advance(kTick);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((**answer)->events_size(), 0);
  EXPECT_EQ((**answer)->next(), now);
  EXPECT_FALSE((**answer)->has_reset());
}

TEST_F(EventHandlersTest, TooManyWaitsAreRefusedAndMalformedOnesToo) {
  const std::string now = Poll("").next();
  const Answer one = Watch(now, Seconds(15));
  const Answer two = Watch(now, Seconds(15));
  const Answer three = Watch(now, Seconds(15));
  ASSERT_TRUE(three->has_value());
  EXPECT_EQ(ErrorCode((*three)->status()), "too_many_watchers");
  EXPECT_TRUE(absl::IsInvalidArgument((*Watch("7", Seconds(1)))->status()));
  EXPECT_TRUE(absl::IsInvalidArgument((*Watch(now, Seconds(61)))->status()));
  EXPECT_FALSE(one->has_value());
  EXPECT_FALSE(two->has_value());
}

TEST_F(EventHandlersTest, AGatewayThatStopsKeepsNobodyWaiting) {
  const std::string now = Poll("").next();
  const Answer before = Watch(now, Seconds(15));
  handlers_->EndWaits();
  EXPECT_TRUE(before->has_value() && (*before)->ok());
  const Answer after = Watch(now, Seconds(15));
  EXPECT_TRUE(after->has_value() && (*after)->ok());
}

TEST_F(EventHandlersTest, AnswersThatNobodyWaitsForAnyMoreAreDropped) {
  const Answer answer = Watch(Poll("").next(), Seconds(15));
  handlers_.reset();
  Connect(Admit("a"), link_);
  loop_.Advance(Seconds(60));
  EXPECT_FALSE(answer->has_value());
}

}  // namespace
}  // namespace muster::gateway
