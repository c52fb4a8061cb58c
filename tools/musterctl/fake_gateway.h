// A gateway that says what the test wants, and the rest of a fake world.

#ifndef MUSTER_TOOLS_MUSTERCTL_FAKE_GATEWAY_H_
#define MUSTER_TOOLS_MUSTERCTL_FAKE_GATEWAY_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "fmt/format.h"
#include "google/protobuf/message.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/wire/proto_json.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/command_line.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {

using Reply = absl::StatusOr<HttpResponse>;

inline Reply Json(int status, std::string body) {
  return HttpResponse{.status = status, .headers = {}, .body = std::move(body)};
}
inline Reply Ok(const google::protobuf::Message& message) {
  return Json(200, wire::ProtoToJson(message));
}
inline Reply Refused(int status, const std::string& code,
                     const std::string& detail) {
  return Json(status, fmt::format(R"({{"type":"about:blank","title":"No",)"
                                  R"("status":{},"detail":"{}","code":"{}",)"
                                  R"("request_id":"r-1"}})",
                                  status, detail, code));
}

// FakeGateway answers each route with its replies in order; the last one stays.
// A route that the test did not expect is 418.
class FakeGateway {
 public:
  // `route`: "GET /api/agents", without the query.
  void On(const std::string& route, Reply reply) {
    On(route, [reply = std::move(reply)](const HttpRequest&) { return reply; });
  }
  void On(const std::string& route,
          std::function<Reply(const HttpRequest&)> reply) {
    routes_[route].push_back(std::move(reply));
  }

  Reply Answer(const HttpRequest& request) { return Choose(request)(request); }

  // A call was given up.
  void Abort() {
    const MutexLock lock(mu_);
    if (!aborted.HasBeenNotified()) aborted.Notify();
  }

  // "GET /api/agents?limit=50" for each request, in order.
  std::vector<std::string> Targets() const {
    std::vector<std::string> targets;
    for (const HttpRequest& request : requests) {
      targets.push_back(request.method + " " + request.target);
    }
    return targets;
  }

  std::vector<HttpRequest> requests;
  absl::Notification aborted;

 private:
  // Some verbs speak on two lines at once.
  std::function<Reply(const HttpRequest&)> Choose(const HttpRequest& request) {
    const MutexLock lock(mu_);
    requests.push_back(request);
    const std::string path = request.target.substr(0, request.target.find('?'));
    auto& replies = routes_[request.method + " " + path];
    if (replies.empty()) {
      return [path](auto&) { return Refused(418, "unexpected", path); };
    }
    const auto reply = replies.front();
    if (replies.size() > 1) replies.pop_front();
    return reply;
  }

  Mutex mu_;
  std::map<std::string, std::deque<std::function<Reply(const HttpRequest&)>>>
      routes_;
};

class FakeTransport final : public Transport {
 public:
  explicit FakeTransport(FakeGateway& gateway) : gateway_(gateway) {}
  Reply Fetch(const HttpRequest& request) override {
    return gateway_.Answer(request);
  }
  void Abort() override { gateway_.Abort(); }

 private:
  FakeGateway& gateway_;
};

class FakeConsole final : public Console {
 public:
  void Out(std::string_view bytes) override { out += bytes; }
  void Err(std::string_view bytes) override { err += bytes; }
  void SurviveClosedOut() override {}
  std::string OutFailure() override { return out_failure; }
  bool OutIsTerminal() const override { return terminal; }
  bool InIsTerminal() const override { return terminal; }
  size_t Columns() const override { return terminal ? columns : 0; }
  absl::StatusOr<std::string> ReadInput(size_t bytes_max) override {
    if (input.size() > bytes_max) return absl::InvalidArgumentError("too long");
    return input;
  }
  absl::StatusOr<std::string> Ask(std::string_view prompt) override {
    err += prompt;
    return input;
  }
  absl::StatusOr<Secret> AskSecret(std::string_view prompt) override {
    err += prompt;
    return Secret(input);
  }

  bool terminal = false;
  size_t columns = 0;
  std::string input;
  std::string out, err;
  std::string out_failure;
};

// Time that passes only in Pause().
class FakeTime final : public Clock, public Patience {
 public:
  Instant Now() const override { return now_; }
  absl::Time Wall() const override { return wall; }
  void Pause(absl::Duration d) override { Pass(d); }
  void CatchInterrupts(std::string_view first,
                       std::string_view second) override {
    last_words = std::string(first) + std::string(second);
  }
  bool Interrupted() const override { return interrupted; }

  void Pass(absl::Duration d) {
    now_ += d;
    wall += d;
  }

  absl::Time wall = absl::FromUnixSeconds(1'750'000'000);
  bool interrupted = false;
  std::string last_words;

 private:
  Instant now_ = Instant::SinceBoot(absl::Hours(1));
};

// Gives these events, then none. Those after the first wait for `go_on`, if one
// is given.
class FakeInput final : public LiveInput {
 public:
  explicit FakeInput(std::vector<Event> events,
                     absl::Notification* go_on = nullptr)
      : events_(events.begin(), events.end()), go_on_(go_on) {}
  Event Wait(size_t) override {
    if (events_.empty()) {
      woken_.WaitForNotification();
      return {};
    }
    if (std::exchange(begun_, true) && go_on_ != nullptr) {
      go_on_->WaitForNotification();
    }
    Event event = events_.front();
    events_.pop_front();
    return event;
  }
  void Wake() override {
    if (!woken_.HasBeenNotified()) woken_.Notify();
  }
  Size WindowSize() const override { return {.rows = 50, .columns = 132}; }

 private:
  std::deque<Event> events_;
  absl::Notification* const go_on_;
  bool begun_ = false;
  absl::Notification woken_;
};

// Everything that one run of the program stands on.
struct FakeWorld {
  FakeGateway gateway;
  FakeConsole console;
  FakeTime time;
  std::map<std::string, std::string> environment = {
      {"MUSTER_TOKEN", "mst_secret"}, {"HOME", "/nonexistent"}};
  std::vector<Endpoint> endpoints;      // Connected to, in order.
  std::vector<LiveInput::Event> typed;  // Then nothing.

  // Runs `musterctl arguments…` and returns its exit code.
  int Run(std::vector<std::string> arguments) {
    auto parsed = ParseCommandLine(std::move(arguments));
    if (const auto* message = std::get_if<Message>(&parsed)) {
      (message->code == 0 ? console.out : console.err) += message->text;
      return message->code;
    }
    World world{
        .console = console,
        .patience = time,
        .clock = time,
        .environment =
            [this](std::string_view name) -> std::optional<std::string> {
          const auto it = environment.find(std::string(name));
          if (it == environment.end()) return std::nullopt;
          return it->second;
        },
        .connect = [this](const Endpoint& endpoint)
            -> absl::StatusOr<std::unique_ptr<Transport>> {
          endpoints.push_back(endpoint);
          return std::make_unique<FakeTransport>(gateway);
        },
        .open_input =
            [this](bool raw) -> absl::StatusOr<std::unique_ptr<LiveInput>> {
          if (raw && !console.terminal) {
            return absl::FailedPreconditionError(
                "standard input is no terminal");
          }
          return std::make_unique<FakeInput>(typed);
        }};
    return RunProgram(std::get<Invocation>(parsed), world);
  }
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_FAKE_GATEWAY_H_
