#include "gateway/http/router.h"

#include <string>

#include "gateway/http/url.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Router& TheRouter() {
  static const auto* router = new Router(*Router::Build(
      {v1::RegisterRequest::descriptor()->file()->FindServiceByName(
           "Enrollment"),
       v1::Agent::descriptor()->file()->pool()->FindServiceByName(
           "muster.v1.FleetAdmin")}));
  return *router;
}

// "GetAgent(web-7)", "404 unknown_route", "options GET, …".
std::string Find(std::string_view verb, std::string_view path) {
  const Router::Result result = TheRouter().Find(verb, path);
  if (const auto* miss = std::get_if<Router::Miss>(&result)) {
    return fmt::format("{} {}{}{}", miss->status, miss->code,
                       miss->allow.empty() ? "" : " ", miss->allow);
  }
  if (const auto* options = std::get_if<Router::Options>(&result)) {
    return "options " + options->allow;
  }
  const auto& match = std::get<Router::Match>(result);
  std::string text = match.route->method->name() + "(";
  for (const std::string& v : match.values) {
    text += (text.ends_with('(') ? "" : ",") + v;
  }
  return text + ")";
}

TEST(RouterTest, EveryOperationOfTheContractIsFound) {
  EXPECT_EQ(Find("GET", "/api/agents"), "ListAgents()");
  EXPECT_EQ(Find("GET", "/api/agents/web-7"), "GetAgent(web-7)");
  EXPECT_EQ(Find("DELETE", "/api/agents/web-7"), "DeleteAgent(web-7)");
  EXPECT_EQ(Find("POST", "/api/agents/a/commands"), "SubmitCommand(a)");
  EXPECT_EQ(Find("GET", "/api/commands/c/output/stdout"),
            "ReadOutput(c,stdout)");
  EXPECT_EQ(Find("POST", "/api/agents/register"), "Register()");
  EXPECT_EQ(Find("PATCH", "/api/agents/a/labels"), "SetLabels(a)");
  EXPECT_GE(TheRouter().routes().size(), 17u);
}

TEST(RouterTest, TheVersionedPathIsAnAlias) {
  EXPECT_EQ(Find("GET", "/api/v1/agents/web-7"), "GetAgent(web-7)");
  EXPECT_EQ(Find("GET", "/api/v1/v1/agents"), "404 unknown_route");
  EXPECT_EQ(Find("GET", "/api/v2/agents"), "404 unknown_route");
}

TEST(RouterTest, OneOperationHasOneSpelling) {
  for (std::string_view path :
       {"/api/agents/", "/api//agents", "//api/agents", "/API/agents",
        "/api/Agents", "/", "/api", "/api/agents/a/commands/", "/api/v1/",
        "/api/agents/a//commands"}) {
    EXPECT_EQ(Find("GET", path), "404 unknown_route") << path;
  }
}

TEST(RouterTest, PathTricksAreRefused) {
  for (std::string_view path :
       {"/api/agents/..", "/api/../api/agents", "/api/agents/.",
        "/api/agents/%2e%2e", "/api/agents/%2E", "/api/agents/a%2fb",
        "/api/agents/a%2Fcommands", "/api/agents/a%00b", "/api/agents/a%0a",
        "/api/agents/%ff", "/api/agents/%", "/api/agents/%4", "/api/agents/%zz",
        "api/agents", "http://x/api/agents", "*", ""}) {
    EXPECT_EQ(Find("GET", path), "400 invalid_path") << path;
  }
}

TEST(RouterTest, SegmentsAreDecodedExactlyOnce) {
  EXPECT_EQ(Find("GET", "/api/agents/a%20b"), "GetAgent(a b)");
  EXPECT_EQ(Find("GET", "/api/agents/a%252fb"), "GetAgent(a%2fb)");
  EXPECT_EQ(Find("GET", "/api/agents/a+b"), "GetAgent(a+b)");
  EXPECT_EQ(Find("GET", "/api/agents/%c3%bc"), "GetAgent(ü)");
}

TEST(RouterTest, AWrongVerbNamesThoseThatFit) {
  EXPECT_EQ(Find("PUT", "/api/agents/web-7"),
            "405 method_not_allowed DELETE, GET, HEAD, OPTIONS");
  EXPECT_EQ(Find("get", "/api/agents"),
            "405 method_not_allowed GET, HEAD, OPTIONS");
  EXPECT_EQ(Find("OPTIONS", "/api/agents/web-7"),
            "options DELETE, GET, HEAD, OPTIONS");
  EXPECT_EQ(Find("HEAD", "/api/agents"), "ListAgents()");
  EXPECT_EQ(Find("HEAD", "/api/agents/a/commands"),
            "405 method_not_allowed OPTIONS, POST");
}

TEST(RouterTest, ALiteralWinsOverACapture) {
  EXPECT_EQ(Find("GET", "/api/agents/register"),
            "405 method_not_allowed OPTIONS, POST");
}

// Builds a router for one method with these options.
std::string BuildError(std::string_view method_options, int copies = 1) {
  google::protobuf::FileDescriptorProto file;
  file.set_name("test.proto");
  file.set_package("test");
  file.set_syntax("proto3");
  file.add_dependency("muster/v1/options.proto");
  auto* message = file.add_message_type();
  message->set_name("Ask");
  auto* field = message->add_field();
  field->set_name("id");
  field->set_number(1);
  field->set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING);
  auto* number = message->add_field();
  number->set_name("n");
  number->set_number(2);
  number->set_type(google::protobuf::FieldDescriptorProto::TYPE_INT32);
  auto* service = file.add_service();
  service->set_name("Test");
  for (int i = 0; i < copies; ++i) {
    auto* method = service->add_method();
    method->set_name("Do" + std::to_string(i));
    method->set_input_type("test.Ask");
    method->set_output_type("test.Ask");
    auto& options = *method->mutable_options();
    if (method_options != "none") {
      options.MutableExtension(v1::http)->set_get(std::string(method_options));
      options.MutableExtension(v1::access)->set_role(v1::ROLE_VIEWER);
    }
  }
  google::protobuf::DescriptorPool pool(
      google::protobuf::DescriptorPool::generated_pool());
  const auto* built = pool.BuildFile(file);
  const auto router = Router::Build({built->service(0)});
  return std::string(ToStd(router.status().message()));
}

TEST(RouterTest, AMethodThatDoesNotSayWhereItLivesStopsTheStart) {
  EXPECT_EQ(BuildError("/api/x/{id}"), "");
  EXPECT_EQ(BuildError("none"),
            "test.Test.Do0: needs the options http and access");
  EXPECT_THAT(BuildError("api/x"), HasSubstr("needs a verb and a path"));
  EXPECT_THAT(BuildError("/api//x"), HasSubstr("empty part"));
  EXPECT_THAT(BuildError("/api/{other}"), HasSubstr("{other} is no text"));
  EXPECT_THAT(BuildError("/api/{n}"), HasSubstr("{n} is no text"));
  EXPECT_THAT(BuildError("/api/{id"), HasSubstr("is no text"));
  EXPECT_EQ(BuildError("/api/{id}", 2),
            "test.Test.Do1: GET /api/{id} is taken by test.Test.Do0");
}

TEST(UrlTest, AQueryIsDecodedOnce) {
  EXPECT_THAT(*ParseQuery("a=1&b=x+y&&c=%26%2525&d&e=f=g"),
              ElementsAre(testing::Pair("a", "1"), testing::Pair("b", "x y"),
                          testing::Pair("c", "&%25"), testing::Pair("d", ""),
                          testing::Pair("e", "f=g")));
  EXPECT_FALSE(ParseQuery("a=%").has_value());
  EXPECT_FALSE(ParseQuery("%g0=1").has_value());
  EXPECT_EQ(PercentEncode("a/b ü~"), "a%2Fb%20%C3%BC~");
}

}  // namespace
}  // namespace muster::gateway
