#include "libprotocol/wire/validation.h"

#include <functional>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/protocol_version.h"

namespace muster::wire {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// "" when valid.
std::string Text(const absl::Status& status) {
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
  return std::string(ToStd(status.message()));
}

v1::SubmitCommandRequest Script(std::string text) {
  v1::SubmitCommandRequest request;
  request.set_command(std::move(text));
  return request;
}

v1::SubmitCommandRequest Exec(std::vector<std::string> argv) {
  v1::SubmitCommandRequest request;
  request.set_shell_type(v1::SHELL_TYPE_EXEC);
  for (std::string& a : argv) request.add_argv(std::move(a));
  return request;
}

TEST(ValidateCommandTest, TheTextHasBothBoundsAndNoNul) {
  const auto check = [](std::string text) {
    return Text(ValidateSubmitCommand(Script(std::move(text))));
  };
  EXPECT_EQ(check(""), "command: must be 1 to 262144 bytes, got 0");
  EXPECT_EQ(check("x"), "");
  EXPECT_EQ(check(std::string(262144, 'x')), "");
  EXPECT_EQ(check(std::string(262145, 'x')),
            "command: must be 1 to 262144 bytes, got 262145");
  EXPECT_EQ(check(std::string("ls\0x", 4)),
            "command: must not contain NUL, got one at byte 2");
  EXPECT_EQ(check("line\nline\t\x1b[0m"), "");
}

TEST(ValidateCommandTest, SurroundingsNameTheirFieldBoundAndValue) {
  const auto check = [](auto change) {
    v1::SubmitCommandRequest request = Script("x");
    change(*request.mutable_surroundings());
    return Text(ValidateSubmitCommand(request));
  };
  const auto env = [&](const std::string& name, const std::string& value) {
    return check(
        [&](v1::Surroundings& s) { (*s.mutable_environment())[name] = value; });
  };
  EXPECT_EQ(check([](v1::Surroundings& s) { s.set_user("deploy"); }), "");
  EXPECT_EQ(
      check([](v1::Surroundings& s) { s.set_user(std::string(33, 'u')); }),
      "surroundings.user: must be at most 32 bytes, got 33");
  EXPECT_EQ(check([](v1::Surroundings& s) { s.set_working_directory("srv"); }),
            "surroundings.working_directory: must be absolute, got \"srv\"");
  EXPECT_EQ(check([](v1::Surroundings& s) { s.set_umask(0777); }), "");
  EXPECT_EQ(check([](v1::Surroundings& s) { s.set_umask(01000); }),
            "surroundings.umask: must be 0 to 511 (octal 0777), got 512");
  EXPECT_EQ(check([](v1::Surroundings& s) {
              s.set_input(std::string(262145, '\0'));
            }),
            "surroundings.input: must be at most 262144 bytes, got 262145");
  EXPECT_EQ(env("PATH_2", "/opt/bin:\n"), "");
  EXPECT_EQ(env("2PATH", ""),
            "surroundings.environment: a name must be letters, digits and _, "
            "no digit first, got \"2PATH\"");
  EXPECT_EQ(env("MUSTER_COMMAND_ID", "x"),
            "surroundings.environment: a name must not begin with MUSTER_, got "
            "\"MUSTER_COMMAND_ID\"");
  EXPECT_EQ(env("A", std::string("s\0t", 3)),
            "surroundings.environment.A: must not contain NUL, got one at byte "
            "1");
  EXPECT_EQ(env("A", std::string(32768, 's')),
            "surroundings.environment: must be at most 32768 bytes in all, got "
            "32771");
}

TEST(ValidateCommandTest, HowMuchOutputIsKeptHasBothBounds) {
  v1::SubmitCommandRequest request = Script("x");
  request.set_output_bytes_max(64 << 20);
  EXPECT_EQ(Text(ValidateSubmitCommand(request)), "");
  request.set_output_bytes_max(0);
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "output_bytes_max: must be 1 to 67108864, got 0");
}

TEST(ValidateCommandTest, ArgvBelongsToExecAndExecToArgv) {
  v1::SubmitCommandRequest both = Script("ls");
  both.add_argv("x");
  EXPECT_THAT(Text(ValidateSubmitCommand(both)),
              HasSubstr("argv: only for shell_type exec, got bash"));
  both.set_shell_type(v1::SHELL_TYPE_EXEC);
  EXPECT_EQ(Text(ValidateSubmitCommand(both)),
            "command: must be empty for shell_type exec, got 2 bytes");
  EXPECT_EQ(Text(ValidateSubmitCommand(Exec({}))),
            "argv: must have 1 to 1024 arguments, got 0");
  EXPECT_EQ(Text(ValidateSubmitCommand(Exec({"", "x"}))),
            "argv[0]: must name a program, got \"\"");
  EXPECT_EQ(Text(ValidateSubmitCommand(Exec({"a", std::string("b\0", 2)}))),
            "argv[1]: must not contain NUL, got one at byte 1");
  EXPECT_EQ(Text(ValidateSubmitCommand(Exec({"/bin/echo", ""}))), "");
  EXPECT_EQ(Text(ValidateSubmitCommand(Exec({std::string(262143, 'x')}))), "");
  EXPECT_EQ(Text(ValidateSubmitCommand(Exec({std::string(262144, 'x')}))),
            "argv: must be at most 262144 bytes in all, got 262145");
  EXPECT_EQ(
      Text(ValidateSubmitCommand(Exec(std::vector<std::string>(1025, "x")))),
      "argv: must have 1 to 1024 arguments, got 1025");
}

TEST(ValidateCommandTest, EnumNumbersOfAnotherVersionAreRefused) {
  v1::SubmitCommandRequest request = Script("ls");
  request.set_shell_type(static_cast<v1::ShellType>(99));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "shell_type: unknown value 99");
  request = Script("ls");
  request.set_if_offline(static_cast<v1::IfOffline>(9));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "if_offline: unknown value 9");
}

TEST(ValidateCommandTest, HowLongItWaitsHasOneNameInEachCase) {
  v1::SubmitCommandRequest request = Script("ls");
  *request.mutable_queue_ttl() = ToProto(absl::Hours(2));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "queue_ttl: only with if_offline queue");
  request.set_if_offline(v1::IF_OFFLINE_QUEUE);
  EXPECT_EQ(Text(ValidateSubmitCommand(request)), "");
  *request.mutable_delivery_timeout() = ToProto(absl::Hours(2));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "delivery_timeout: with if_offline queue give queue_ttl");
}

TEST(ValidateCommandTest, DurationsHaveInclusiveBounds) {
  const auto with_timeout = [](absl::Duration d) {
    v1::SubmitCommandRequest request = Script("ls");
    *request.mutable_timeout() = ToProto(d);
    return Text(ValidateSubmitCommand(request));
  };
  EXPECT_EQ(with_timeout(absl::Seconds(1)), "");
  EXPECT_EQ(with_timeout(absl::Hours(168)), "");
  EXPECT_EQ(with_timeout(absl::Milliseconds(999)),
            "timeout: must be 1s to 168h, got 999ms");
  EXPECT_THAT(with_timeout(absl::Hours(168) + absl::Nanoseconds(1)),
              HasSubstr("timeout: must be 1s to 168h"));
  v1::SubmitCommandRequest request = Script("ls");
  *request.mutable_delivery_timeout() = ToProto(absl::ZeroDuration());
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "delivery_timeout: must be 1s to 168h, got 0");
  request = Script("ls");
  request.set_if_offline(v1::IF_OFFLINE_QUEUE);
  *request.mutable_queue_ttl() = ToProto(absl::Hours(168));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)), "");
  *request.mutable_queue_ttl() = ToProto(absl::Hours(169));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "queue_ttl: must be 1s to 168h, got 169h");
  request = Script("ls");
  *request.mutable_kill_grace() = ToProto(absl::ZeroDuration());
  EXPECT_EQ(Text(ValidateSubmitCommand(request)), "");
  *request.mutable_kill_grace() = ToProto(absl::Seconds(601));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "kill_grace: must be 0 to 10m, got 10m1s");
  EXPECT_EQ(Text(ValidateWait(ToProto(absl::Seconds(60)))), "");
  EXPECT_EQ(Text(ValidateWait(ToProto(absl::Seconds(61)))),
            "wait: must be 0 to 1m, got 1m1s");
  EXPECT_EQ(Text(ValidateWait(ToProto(-absl::Seconds(1)))),
            "wait: must be 0 to 1m, got -1s");
}

TEST(ValidateCommandTest, TheIdempotencyKeyIsShortText) {
  v1::SubmitCommandRequest request = Script("ls");
  request.set_idempotency_key(std::string(128, 'k'));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)), "");
  request.set_idempotency_key(std::string(129, 'k'));
  EXPECT_EQ(Text(ValidateSubmitCommand(request)),
            "idempotency_key: must be at most 128 bytes, got 129");
}

TEST(ValidateLabelsTest, KeysFollowTheirPattern) {
  for (const std::string& key :
       {std::string("a"), std::string("env"), std::string("muster.group"),
        std::string("a/b-c_d.9"), std::string(63, 'k')}) {
    EXPECT_EQ(Text(ValidateLabelKey(key)), "") << key;
  }
  for (const std::string& key :
       {std::string(""), std::string("-a"), std::string("a-"),
        std::string("Env"), std::string("a b"), std::string("a=b"),
        std::string("ü"), std::string(64, 'k')}) {
    EXPECT_THAT(Text(ValidateLabelKey(key)), HasSubstr("must be 1 to 63"))
        << key;
  }
}

TEST(ValidateLabelsTest, ValuesAndTheirNumberAreBounded) {
  LabelMap labels;
  labels["env"] = std::string(255, 'v');
  EXPECT_EQ(Text(ValidateLabels("labels", labels)), "");
  labels["env"] += 'v';
  EXPECT_EQ(Text(ValidateLabels("labels", labels)),
            "labels.env: must be at most 255 bytes, got 256");
  labels["env"] = "a\nb";
  EXPECT_EQ(Text(ValidateLabels("labels", labels)),
            "labels.env: must not contain control characters");
  labels.clear();
  for (int i = 0; i < 64; ++i) labels["k" + std::to_string(i)] = "";
  EXPECT_EQ(Text(ValidateLabels("labels", labels)), "");
  labels["one.more"] = "";
  EXPECT_EQ(Text(ValidateLabels("labels", labels)),
            "labels: at most 64 labels, got 65");
}

TEST(ValidateLabelsTest, ARequestSetsOrRemovesButNotBoth) {
  v1::SetLabelsRequest request;
  EXPECT_THAT(Text(ValidateSetLabels(request)), HasSubstr("at least one"));
  (*request.mutable_set())["env"] = "prod";
  EXPECT_EQ(Text(ValidateSetLabels(request)), "");
  request.add_remove("env");
  EXPECT_EQ(Text(ValidateSetLabels(request)), "remove: \"env\" is also in set");
}

TEST(ValidateFactsTest, TheHostnameIsNeededAndEverythingIsPlainText) {
  v1::AgentFacts facts;
  EXPECT_EQ(Text(ValidateFacts(facts)),
            "facts.hostname: must be 1 to 64 bytes, got 0");
  facts.set_hostname(std::string(64, 'h'));
  EXPECT_EQ(Text(ValidateFacts(facts)), "");
  facts.set_hostname(std::string(65, 'h'));
  EXPECT_EQ(Text(ValidateFacts(facts)),
            "facts.hostname: must be 1 to 64 bytes, got 65");
  facts.set_hostname("web-7");
  facts.set_os("\x1b[31mDebian");
  EXPECT_EQ(Text(ValidateFacts(facts)),
            "facts.os: must not contain control characters");
  facts.set_os(
      "\xc2\x9b"
      "31m");  // CSI as one C1 character.
  EXPECT_EQ(Text(ValidateFacts(facts)),
            "facts.os: must not contain control characters");
  facts.set_os("\xff");
  EXPECT_EQ(Text(ValidateFacts(facts)), "facts.os: must be valid UTF-8");
  facts.set_os("Debian GNU/Linux 12 – ü");
  facts.set_kernel(std::string(256, 'k'));
  EXPECT_EQ(Text(ValidateFacts(facts)),
            "facts.kernel: must be at most 255 bytes, got 256");
}

// A name that could be read as another machine's is no name.
TEST(ValidateFactsTest, AHostnameIsOneAndNothingElse) {
  v1::AgentFacts facts;
  for (const char* good :
       {"vm", "VM-1", "web_7.example.org", "_x", "7", "a..b", "vm."}) {
    facts.set_hostname(good);
    EXPECT_EQ(Text(ValidateFacts(facts)), "") << good;
  }
  for (const char* bad :
       {"a~b", "vm~c3d06e", " vm", "vm ", "..", ".vm", "-x", "vm/..", "$(id)",
        "a\nb", "a:b", "vm\xc3\xbc", "\xff", "*", "vm\x7f"}) {
    facts.set_hostname(bad);
    const std::string text = Text(ValidateFacts(facts));
    EXPECT_THAT(text, StartsWith("facts.hostname: must be letters, digits, "
                                 "dots, hyphens and underscores, the first "
                                 "none of . and -, got "))
        << bad;
  }
  facts.set_hostname("a~b");
  EXPECT_THAT(Text(ValidateFacts(facts)), EndsWith("got \"a~b\""));
  for (const char* id : {"0193f0a2-7c11-7abc-8def-0123456789ab",
                         "0193F0A2-7C11-7ABC-8DEF-0123456789AB"}) {
    facts.set_hostname(id);
    EXPECT_EQ(
        Text(ValidateFacts(facts)),
        fmt::format("facts.hostname: must not be a UUID, got \"{}\"", id));
  }
}

TEST(ValidateRenewTest, BothPartsAreThereAndBounded) {
  v1::RenewRequest request;
  EXPECT_EQ(Text(ValidateRenew(request)),
            "certificate_pem: must be 1 to 8192 bytes, got 0");
  request.set_certificate_pem(std::string(8193, 'c'));
  EXPECT_EQ(Text(ValidateRenew(request)),
            "certificate_pem: must be 1 to 8192 bytes, got 8193");
  request.set_certificate_pem("c");
  EXPECT_EQ(Text(ValidateRenew(request)),
            "csr_pem: must be 1 to 8192 bytes, got 0");
  request.set_csr_pem("c");
  EXPECT_EQ(Text(ValidateRenew(request)), "");
}

TEST(ValidateRegisterTest, TheTokenIsNeverQuoted) {
  v1::RegisterRequest request;
  EXPECT_EQ(Text(ValidateRegister(request)),
            "token: must be 1 to 256 bytes, got 0");
  request.set_token(std::string(257, 's'));
  EXPECT_EQ(Text(ValidateRegister(request)),
            "token: must be 1 to 256 bytes, got 257");
  request.set_token("secret");
  EXPECT_EQ(Text(ValidateRegister(request)),
            "csr_pem: must be 1 to 8192 bytes, got 0");
  request.set_csr_pem("-----BEGIN");
  request.mutable_facts()->set_hostname("h");
  EXPECT_EQ(Text(ValidateRegister(request)), "");
}

TEST(ValidateCreateTokenTest, TtlUsesAndDescriptionAreBounded) {
  v1::CreateTokenRequest request;
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  request.set_uses_max(0);
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "uses_max: must be 1 to 10000, got 0");
  request.set_uses_max(10'000);
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  request.set_uses_max(10'001);
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "uses_max: must be 1 to 10000, got 10001");
  request.clear_uses_max();
  *request.mutable_ttl() = ToProto(absl::Seconds(59));
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "ttl: must be 1m to 2160h, got 59s");
  request.clear_ttl();
  request.set_description(std::string(201, 'd'));
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "description: must be at most 200 bytes, got 201");
}

TEST(ValidateCreateTokenTest, WhereItsHolderMayComeFromIsBounded) {
  v1::CreateTokenRequest request;
  request.add_allowed_from("10.0.0.0/8");
  request.add_allowed_from("2001:db8::/32");
  request.add_allowed_from("192.0.2.7");
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  request.set_allowed_from(1, "10.1.2.3/8");
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "allowed_from[1]: must have no bits behind its prefix; its network "
            "is 10.0.0.0/8, got \"10.1.2.3/8\"");
  request.set_allowed_from(1, "web-1");
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "allowed_from[1]: must be an address or a network such as "
            "10.0.0.0/8, got \"web-1\"");
  request.clear_allowed_from();
  for (int i = 0; i < 16; ++i) request.add_allowed_from("::1");
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  request.add_allowed_from("::1");
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "allowed_from: at most 16 addresses and networks, got 17");
}

TEST(ValidateCreateTokenTest, TheHostnamePatternIsOne) {
  v1::CreateTokenRequest request;
  for (const char* good : {"web-*", "*", "db-??.example", "Web_1"}) {
    request.set_hostname(good);
    EXPECT_EQ(Text(ValidateCreateToken(request)), "") << good;
  }
  for (const char* bad : {"web-[12]", "web 1", "web\n", "größe"}) {
    request.set_hostname(bad);
    EXPECT_THAT(Text(ValidateCreateToken(request)),
                StartsWith("hostname: must be at most 64 letters"))
        << bad;
  }
  request.set_hostname(std::string(64, '*'));
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  request.set_hostname(std::string(65, '*'));
  EXPECT_NE(Text(ValidateCreateToken(request)), "");
}

TEST(ValidateCreateTokenTest, ExpireIsBoundedAndOfEphemeralMachinesOnly) {
  v1::CreateTokenRequest request;
  *request.mutable_expire() = ToProto(absl::Hours(1));
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "expire: only of ephemeral machines, and ephemeral is false");
  request.set_ephemeral(true);
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  *request.mutable_expire() = ToProto(absl::Minutes(59));
  EXPECT_EQ(Text(ValidateCreateToken(request)),
            "expire: must be 1h to 2160h, got 59m");
  *request.mutable_expire() = ToProto(absl::Hours(90 * 24));
  EXPECT_EQ(Text(ValidateCreateToken(request)), "");
  *request.mutable_expire() = ToProto(absl::Hours(90 * 24 + 1));
  EXPECT_NE(Text(ValidateCreateToken(request)), "");
}

TEST(ValidatePageSizeTest, ZeroMeansTheDefault) {
  EXPECT_EQ(Text(ValidatePageSize(0)), "");
  EXPECT_EQ(Text(ValidatePageSize(1000)), "");
  EXPECT_EQ(Text(ValidatePageSize(1001)),
            "limit: must be 1 to 1000, or 0 for 100, got 1001");
}

TEST(ProtocolVersionTest, TheHighestCommonVersionIsSpoken) {
  EXPECT_EQ(NegotiateProtocol({1, 3}, {2, 5}).value_or(0), 3u);
  EXPECT_EQ(NegotiateProtocol({2, 5}, {1, 3}).value_or(0), 3u);
  EXPECT_EQ(NegotiateProtocol({1, 1}, kOurProtocol).value_or(0), 1u);
}

TEST(ProtocolVersionTest, ARefusalNamesBothRanges) {
  EXPECT_EQ(ToStd(NegotiateProtocol({2, 3}, {1, 1}).status().message()),
            "protocol versions do not meet: the agent speaks 2 to 3, the "
            "gateway 1 to 1; upgrade the gateway");
  EXPECT_THAT(
      std::string(ToStd(NegotiateProtocol({1, 1}, {2, 3}).status().message())),
      HasSubstr("upgrade the agent"));
  EXPECT_EQ(NegotiateProtocol({0, 0}, {1, 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(NegotiateProtocol({3, 2}, {1, 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace muster::wire
