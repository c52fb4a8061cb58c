#include "gateway/admin/admin_api.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/admin/addresses.h"
#include "gateway/admin/audited.h"
#include "gateway/admin/page_token.h"
#include "gateway/fleet/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;

// Answers every method of the contract with `result`.
HandlerTable AnswerAll(const absl::Status* result, std::string except = "") {
  HandlerTable table;
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      if (service->method(i)->name() == except) continue;
      table.Add<google::protobuf::Message, v1::WhoAmIResponse>(
          service->method(i)->full_name(),
          [result](const Caller& caller, const google::protobuf::Message&,
                   Reply<v1::WhoAmIResponse> reply) {
            if (!result->ok()) {
              reply(*result);
              return;
            }
            v1::WhoAmIResponse response;
            response.set_principal(caller.principal);
            reply(std::move(response));
          });
    }
  }
  return table;
}

class AdminApiTest : public testing::Test {
 protected:
  AdminApiTest() {
    api_ = *AdminApi::Create(
        loop_,
        [](const CallContext& context) -> absl::StatusOr<Caller> {
          const Secret& bearer = context.bearer;
          Caller caller;
          caller.principal = bearer.Reveal();
          if (bearer.Reveal() == "admin") {
            caller.role = v1::ROLE_PLATFORM_ADMIN;
          } else if (bearer.Reveal() == "viewer") {
            caller.role = v1::ROLE_VIEWER;
          } else if (bearer.Reveal() == "scraper") {
            caller.role = v1::ROLE_PLATFORM_ADMIN;
            caller.scopes = {"metrics:read"};
          } else {
            return absl::UnauthenticatedError("the token is not valid");
          }
          return caller;
        },
        [this](AuditEntry entry, absl::AnyInvocable<void(absl::Status)> done) {
          kept_.push_back(std::move(entry));
          keeps_.push_back(std::move(done));
        },
        AnswerAll(&result_));
  }

  // The error of the call; `principal_` is what the handler saw.
  ApiError Call(const google::protobuf::MethodDescriptor& method,
                const std::string& bearer) {
    ApiError seen{absl::InternalError("no reply"), "", {}};
    CallContext context;
    context.bearer = Secret(bearer);
    context.request_id = "r1";
    api_->Call(method, std::move(context),
               std::make_unique<v1::WhoAmIRequest>(),
               [&](ApiError error,
                   std::unique_ptr<google::protobuf::Message> response) {
                 seen = std::move(error);
                 EXPECT_EQ(response == nullptr, !seen.status.ok());
                 if (response) {
                   principal_ =
                       static_cast<v1::WhoAmIResponse&>(*response).principal();
                 }
               });
    loop_.RunReady();
    answered_before_kept_ = seen.status.message() != "no reply";
    for (auto& done : std::exchange(keeps_, {})) done(keep_result_);
    return seen;
  }
  const google::protobuf::MethodDescriptor& Method(const char* name) {
    return *OperatorServices()[0]->FindMethodByName(name);
  }

  FakeEventLoop loop_;
  absl::Status result_;
  std::string principal_;
  std::vector<AuditEntry> kept_;
  std::vector<absl::AnyInvocable<void(absl::Status)>> keeps_;
  absl::Status keep_result_;
  bool answered_before_kept_ = false;
  std::unique_ptr<AdminApi> api_;
};

TEST_F(AdminApiTest, EveryMethodButThePublicOnesNeedsACredential) {
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      const bool open =
          method.options().GetExtension(v1::access).role() == v1::ROLE_PUBLIC;
      EXPECT_EQ(Call(method, "").status.ok(), open) << method.full_name();
      EXPECT_EQ(Call(method, "forged").status.ok(), open) << method.full_name();
      EXPECT_TRUE(Call(method, "admin").status.ok()) << method.full_name();
    }
  }
}

TEST_F(AdminApiTest, OnlyWhoProvesHimselfInTheRequestNeedsNoCredential) {
  std::vector<std::string> open;
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      if (Call(*service->method(i), "").status.ok()) {
        open.push_back(service->method(i)->name());
      }
    }
  }
  EXPECT_EQ(open, (std::vector<std::string>{"SignIn", "Register", "Renew"}));
}

TEST_F(AdminApiTest, ARoleBelowTheNeededOneIsRefusedByName) {
  const ApiError error = Call(Method("DeleteAgent"), "viewer");
  EXPECT_EQ(error.status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(error.status.ToString(), HasSubstr("viewer has ROLE_VIEWER"));
  EXPECT_TRUE(Call(Method("ListAgents"), "viewer").status.ok());
  EXPECT_EQ(principal_, "viewer");
}

TEST_F(AdminApiTest, ATokenThatIsBoundMayNothingElse) {
  std::vector<std::string> allowed;
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      const bool open =
          method.options().GetExtension(v1::access).role() == v1::ROLE_PUBLIC;
      if (!open && Call(method, "scraper").status.ok()) {
        allowed.push_back(method.name());
      }
    }
  }
  EXPECT_EQ(allowed, std::vector<std::string>{"GetMetrics"});
  EXPECT_THAT(Call(Method("ListAgents"), "scraper").status.ToString(),
              HasSubstr("may metrics:read only"));
}

// Calls that have no answer yet.
class CutOffTest : public testing::Test {
 protected:
  CutOffTest() {
    HandlerTable table;
    for (const auto* service : OperatorServices()) {
      for (int i = 0; i < service->method_count(); ++i) {
        table.Add<google::protobuf::Message, v1::WhoAmIResponse>(
            service->method(i)->full_name(),
            [this](const Caller&, const google::protobuf::Message&,
                   Reply<v1::WhoAmIResponse> reply) {
              waiting_.push_back(std::move(reply));
            });
      }
    }
    api_ = *AdminApi::Create(
        loop_,
        [](const CallContext& context) -> absl::StatusOr<Caller> {
          const Secret& bearer = context.bearer;
          Caller caller;
          caller.principal = bearer.Reveal();
          caller.role = v1::ROLE_PLATFORM_ADMIN;
          return caller;
        },
        [](const AuditEntry&, absl::AnyInvocable<void(absl::Status)> done) {
          done(absl::OkStatus());
        },
        std::move(table));
  }
  void Call(const char* method, const std::string& bearer) {
    CallContext context;
    context.bearer = Secret(bearer);
    api_->Call(*OperatorServices()[0]->FindMethodByName(method),
               std::move(context), std::make_unique<v1::WhoAmIRequest>(),
               [this, bearer](const ApiError& error, const auto&) {
                 answers_.push_back(fmt::format(
                     "{}: {}", bearer, ToStd(error.status.ToString())));
               });
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  std::vector<Reply<v1::WhoAmIResponse>> waiting_;
  std::vector<std::string> answers_;
  std::unique_ptr<AdminApi> api_;
};

TEST_F(CutOffTest, WhoMayNotAnyMoreIsAnsweredOnceAndAtOnce) {
  Call("WatchEvents", "bob");
  Call("WatchEvents", "alice");
  api_->CutOff([](const Caller& of) { return of.principal == "bob"; });
  EXPECT_EQ(answers_, std::vector<std::string>{
                          "bob: UNAUTHENTICATED: the right was withdrawn"});
  for (auto& reply : waiting_) reply(v1::WhoAmIResponse());
  EXPECT_EQ(answers_.size(), 2u) << "his own answer is not told any more";
  EXPECT_EQ(answers_.back(), "alice: OK");
}

TEST_F(CutOffTest, WhatChangesStateIsToldAllTheSame) {
  Call("SubmitCommand", "bob");
  api_->CutOff([](const Caller&) { return true; });
  EXPECT_TRUE(answers_.empty());
  waiting_[0](v1::WhoAmIResponse());
  EXPECT_EQ(answers_, std::vector<std::string>{"bob: OK"});
}

TEST_F(AdminApiTest, WhatChangesStateIsRecordedWithItsResultAndNoSecret) {
  std::vector<std::string> lines;
  TapLog([&lines](std::string_view line) { lines.emplace_back(line); });
  Call(Method("ListAgents"), "admin");
  EXPECT_TRUE(lines.empty());
  result_ = absl::NotFoundError("agent \"x\" not found");
  Call(Method("DeleteAgent"), "admin");
  TapLog(nullptr);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0],
              HasSubstr("msg=audit principal=admin org=\"\" from=\"\" "
                        "method=DeleteAgent result=not_found request_id=r1"));
}

// What leaves a record when it goes well and its caller is known.
bool IsRecorded(const google::protobuf::MethodDescriptor& method) {
  const auto& access = method.options().GetExtension(v1::access);
  return access.changes_state() && !access.part_of_recorded() &&
         access.role() != v1::ROLE_PUBLIC;
}

TEST_F(AdminApiTest,
       EveryMethodThatChangesStateIsRecordedOnceAndBeforeTheAnswer) {
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      kept_.clear();
      Call(method, "admin");
      ASSERT_EQ(kept_.size(), IsRecorded(method) ? 1u : 0u) << method.name();
      EXPECT_EQ(answered_before_kept_, kept_.empty()) << method.name();
      if (kept_.empty()) continue;
      EXPECT_EQ(kept_[0].method, method.name());
      EXPECT_EQ(kept_[0].principal, "admin");
      EXPECT_EQ(kept_[0].result, "ok");
      EXPECT_EQ(kept_[0].request_id, "r1");
    }
  }
}

TEST_F(AdminApiTest, WhatIsRefusedToAKnownCallerIsRecordedAndToAStrangerNot) {
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      const auto& access = method.options().GetExtension(v1::access);
      kept_.clear();
      Call(method, "forged");
      Call(method, "");
      EXPECT_TRUE(kept_.empty()) << method.name();
      if (access.role() <= v1::ROLE_VIEWER) continue;
      // Also what would be a part of something that is recorded.
      Call(method, "viewer");
      ASSERT_EQ(kept_.size(), access.changes_state() ? 1u : 0u)
          << method.name();
      for (const AuditEntry& entry : kept_) {
        EXPECT_EQ(entry.result, "permission_denied");
      }
    }
  }
}

TEST_F(AdminApiTest, WhatIsTypedIsAPartOfWhatWasRecorded) {
  std::vector<std::string> parts;
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& access =
          service->method(i)->options().GetExtension(v1::access);
      if (!access.part_of_recorded()) continue;
      EXPECT_TRUE(access.changes_state());
      parts.push_back(service->method(i)->name());
    }
  }
  EXPECT_EQ(parts, (std::vector<std::string>{"WriteInput", "DetachSession",
                                             "WriteSession"}));
}

TEST_F(AdminApiTest, WhoseCallIsNotRecordedIsNotToldThatAllIsWell) {
  keep_result_ = absl::ResourceExhaustedError("/data/muster.db: full");
  const ApiError done = Call(Method("SilenceAgent"), "admin");
  EXPECT_EQ(done.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(done.code, "storage_full");
  EXPECT_THAT(done.status.ToString(), HasSubstr("could not be recorded"));
  result_ = absl::NotFoundError("agent \"x\" not found");
  EXPECT_EQ(Call(Method("SilenceAgent"), "admin").status, result_)
      << "nothing was done";
}

TEST_F(AdminApiTest, TheTargetIsWhatThePathNamesAndWhatWasMade) {
  HandlerTable table = AnswerAll(&result_);
  table.Add<v1::SubmitCommandRequest, v1::Command>(
      "muster.v1.FleetAdmin.SubmitCommand",
      [](const Caller&, const v1::SubmitCommandRequest&,
         Reply<v1::Command> reply) {
        v1::Command made;
        made.set_command_id("c-1");
        reply(std::move(made));
      });
  api_ = *AdminApi::Create(
      loop_,
      [](const CallContext&) -> absl::StatusOr<Caller> {
        Caller caller;
        caller.principal = "admin";
        caller.role = v1::ROLE_PLATFORM_ADMIN;
        return caller;
      },
      [this](AuditEntry entry, absl::AnyInvocable<void(absl::Status)> done) {
        kept_.push_back(std::move(entry));
        done(absl::OkStatus());
      },
      std::move(table));
  const auto call = [&](const char* method, auto request) {
    CallContext context;
    context.bearer = Secret("admin");
    api_->Call(Method(method), std::move(context),
               std::make_unique<decltype(request)>(std::move(request)),
               [](const ApiError&, const auto&) {});
    loop_.RunReady();
    return kept_.back().target;
  };
  v1::SubmitCommandRequest command;
  command.set_agent_id("m-1");
  command.set_command("mysql -psecret");
  EXPECT_EQ(call("SubmitCommand", command), "m-1/c-1");
  v1::RevokeAccessTokenRequest token;
  token.set_name("alice");
  token.set_token_id(std::string(1000, 'x'));
  EXPECT_EQ(call("RevokeAccessToken", token), "alice/" + std::string(128, 'x'));
  EXPECT_EQ(call("SetPresence", v1::SetPresenceRequest()), "");
}

TEST_F(AdminApiTest, AHandlerThatHasStoredTheRecordIsTheOnlyOne) {
  HandlerTable table = AnswerAll(&result_);
  table.Add<google::protobuf::Message, v1::WhoAmIResponse>(
      "muster.v1.FleetAdmin.DeleteAgent",
      [this](const Caller& caller, const google::protobuf::Message&,
             Reply<v1::WhoAmIResponse> reply) {
        caller.audit->kept = true;
        if (result_.ok()) {
          reply(v1::WhoAmIResponse());
        } else {
          reply(result_);
        }
      });
  api_ = *AdminApi::Create(
      loop_,
      [](const CallContext&) -> absl::StatusOr<Caller> {
        Caller caller;
        caller.role = v1::ROLE_PLATFORM_ADMIN;
        return caller;
      },
      [this](AuditEntry entry, absl::AnyInvocable<void(absl::Status)> done) {
        kept_.push_back(std::move(entry));
        done(absl::OkStatus());
      },
      std::move(table));
  EXPECT_TRUE(Call(Method("DeleteAgent"), "admin").status.ok());
  EXPECT_TRUE(kept_.empty());
  result_ = absl::UnavailableError("the commit failed");
  Call(Method("DeleteAgent"), "admin");
  ASSERT_EQ(kept_.size(), 1u) << "it went with the change";
  EXPECT_EQ(kept_[0].result, "unavailable");
}

TEST_F(AdminApiTest, ErrorsKeepTheirCodeAndSayWhenToTryAgain) {
  result_ = AgentUnreachable("web-1 is offline");
  EXPECT_EQ(Call(Method("SubmitCommand"), "admin").code, "agent_unreachable");
  EXPECT_EQ(Call(Method("SubmitCommand"), "admin").retry_after,
            absl::ZeroDuration());
  result_ = absl::UnavailableError("queue full");
  EXPECT_EQ(Call(Method("ListAgents"), "admin").code, "");
  EXPECT_GT(Call(Method("ListAgents"), "admin").retry_after,
            absl::ZeroDuration());
}

TEST_F(AdminApiTest, AFullDiskIsOursToSolveAndItsPathStaysHere) {
  result_ = absl::ResourceExhaustedError("/data/muster.db: full");
  const auto full = Call(Method("SubmitCommand"), "admin");
  EXPECT_EQ(full.status, absl::UnavailableError("the gateway's disk is full: "
                                                "nothing was stored or done"));
  EXPECT_EQ(full.code, "storage_full");
  EXPECT_GT(full.retry_after, absl::ZeroDuration());
  result_ = TooManyCommands("web-1", 1000, 1000);
  EXPECT_EQ(Call(Method("SubmitCommand"), "admin").code, "too_many_commands");
}

TEST(AdminApiCreateTest, AMethodWithoutAHandlerStopsTheGateway) {
  FakeEventLoop loop;
  const absl::Status ok;
  const auto api =
      AdminApi::Create(loop, nullptr, nullptr, AnswerAll(&ok, "CancelCommand"));
  EXPECT_EQ(api.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(api.status().ToString(),
              HasSubstr("muster.v1.FleetAdmin.CancelCommand lacks a handler"));
}

TEST(PageTokenTest, ComesBackAsItWas) {
  const ListPosition position{1, "web-1", AgentId("a-b-c")};
  EXPECT_EQ(*DecodePageToken(EncodePageToken(position)), position);
}

TEST(PageTokenTest, AnythingElseIsRefused) {
  for (const char* token : {"x", "", "AAAA", "MQo", "OjEKYQpi"}) {
    const absl::Status refused = absl::InvalidArgumentError(fmt::format(
        "page_token: expected the next_page_token of an earlier answer, got "
        "\"{}\"",
        token));
    EXPECT_EQ(DecodePageToken(token).status(), refused);
    EXPECT_EQ(DecodeHistoryToken("links", token).status(), refused);
    EXPECT_EQ(DecodeIdToken(token).status(), refused);
  }
}

TEST(PageTokenTest, OfALongOneOnlyTheBeginningIsShown) {
  EXPECT_THAT(DecodePageToken(std::string(65, 'x')).status().ToString(),
              HasSubstr("got \"" + std::string(64, 'x') + "\""));
  EXPECT_THAT(DecodeIdToken("\n\"").status().ToString(),
              HasSubstr(R"(got "\n\"")"));
}

TEST(PageTokenTest, OfCommandsItIsTheIdOfTheLastOne) {
  const std::string id = "8f1a2c00-0000-4000-8000-000000000001";
  EXPECT_EQ(*DecodeIdToken(id), id);
}

TEST(AddressesTest, APublicAddressWinsOverTheOneThatWasUsed) {
  Addresses addresses;
  addresses.fleet_port = 7443;
  addresses.web_port = 7080;
  EXPECT_EQ(addresses.FleetEndpoint("gw:7080"), "gw:7443");
  EXPECT_EQ(addresses.FleetEndpoint("[::1]:7080"), "[::1]:7443");
  EXPECT_EQ(addresses.FleetEndpoint("10.0.0.1"), "10.0.0.1:7443");
  EXPECT_EQ(addresses.FleetEndpoint(""), "127.0.0.1:7443");
  EXPECT_EQ(addresses.WebUrlForOthers("gw:1"), "http://gw:7080");
  addresses.public_address = "fd00::1";
  addresses.web_tls = true;
  EXPECT_EQ(addresses.FleetEndpoint("gw:7080"), "[fd00::1]:7443");
  EXPECT_EQ(addresses.WebUrlForOthers("gw:7080"), "https://[fd00::1]:7080");
}

TEST(AddressesTest, AnotherMachineIsNotSentToItsOwnLoopback) {
  Addresses addresses;
  addresses.web_port = 7080;
  addresses.web_tls = true;
  addresses.own_name = "gw-1";
  EXPECT_EQ(addresses.WebUrlForOthers("localhost:7080"), "https://gw-1:7080");
  EXPECT_EQ(addresses.WebUrlForOthers("127.0.0.1:7080"), "https://gw-1:7080");
  EXPECT_EQ(addresses.WebUrlForOthers("10.0.0.1"), "https://10.0.0.1:7080");
  addresses.web_loopback = true;  // They cannot get there by any name.
  EXPECT_EQ(addresses.WebUrlForOthers("localhost"), "https://localhost:7080");
}

}  // namespace
}  // namespace muster::gateway
