#include "tests/robustness/recorded_history.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "muster/v1/presence.pb.h"
#include "muster/v1/verdict.pb.h"
#include "nlohmann/json.hpp"

namespace muster::robustness {
namespace {

using nlohmann::json;
using simulation::Event;
using simulation::Nanos;
using simulation::Promises;
using simulation::What;

const std::map<std::string_view, What>& Whats() {
  static const auto& whats = *new std::map<std::string_view, What>{
      {"arrived", What::kArrived},
      {"arrived_other", What::kArrivedOther},
      {"link_broke", What::kLinkBroke},
      {"stalled", What::kStalled},
      {"crashed", What::kCrashed},
      {"rolled_back", What::kRolledBack},
      {"store_lost", What::kStoreLost},
      {"store_found", What::kStoreFound},
      {"dialled", What::kDialled},
      {"healthy", What::kHealthy},
      {"healed", What::kHealed},
      {"tick", What::kTick},
      {"opened", What::kOpened},
      {"restored", What::kRestored},
      {"admitted", What::kAdmitted},
      {"deleted", What::kDeleted},
      {"accepted", What::kAccepted},
      {"refused", What::kRefused},
      {"hindered", What::kHindered},
      {"handled", What::kHandled},
      {"goodbye", What::kGoodbye},
      {"decided", What::kDecided},
      {"stored", What::kStored},
      {"command_accepted", What::kCommandAccepted},
      {"command_refused", What::kCommandRefused},
      {"command_ended", What::kCommandEnded},
      {"command_asked", What::kCommandAsked},
  };
  return whats;
}

const std::map<std::string_view, Nanos Promises::*>& PromiseNames() {
  static const auto& names = *new std::map<std::string_view, Nanos Promises::*>{
      {"heartbeat_interval", &Promises::heartbeat_interval},
      {"stale_after", &Promises::stale_after},
      {"offline_after", &Promises::offline_after},
      {"reconnect_grace", &Promises::reconnect_grace},
      {"promise_max", &Promises::promise_max},
      {"blind_gap", &Promises::blind_gap},
      {"blind_restart", &Promises::blind_restart},
      {"hold_max", &Promises::hold_max},
      {"slack", &Promises::slack},
      {"settle", &Promises::settle},
      {"catch_up", &Promises::catch_up},
  };
  return names;
}

absl::StatusOr<Nanos> ToNanos(const json& value, std::string_view name) {
  if (!value.is_number()) {
    return absl::InvalidArgumentError(fmt::format("{}: not a number", name));
  }
  return std::llround(value.get<double>() * 1e9);
}

// The enum value that REST calls `name`: "network_one_way" of CAUSE_….
template <typename Enum, typename Wire>
absl::StatusOr<Enum> ToEnum(std::string_view prefix, const json& value,
                            bool (*parse)(const std::string&, Wire*)) {
  std::string name(prefix);
  if (value.is_string()) {
    for (const char c : value.get<std::string>()) {
      name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
  }
  Wire wire{};
  if (!parse(name, &wire) || static_cast<int>(wire) == 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} is no {}…", value.dump(), prefix));
  }
  return static_cast<Enum>(wire);
}

bool Parse(const std::string& name, v1::Status* out) {
  return v1::Status_Parse(name, out);
}
bool Parse(const std::string& name, v1::Domain* out) {
  return v1::Domain_Parse(name, out);
}
bool Parse(const std::string& name, v1::Cause* out) {
  return v1::Cause_Parse(name, out);
}
bool Parse(const std::string& name, v1::Confidence* out) {
  return v1::Confidence_Parse(name, out);
}

absl::Status ReadVerdict(const std::string& key, const json& value, Event& e) {
  if (key == "domain") {
    ASSIGN_OR_RETURN(e.domain, (ToEnum<gateway::Domain, v1::Domain>(
                                   "DOMAIN_", value, Parse)));
  } else if (key == "cause") {
    ASSIGN_OR_RETURN(
        e.cause, (ToEnum<gateway::Cause, v1::Cause>("CAUSE_", value, Parse)));
    e.verdict = true;
  } else if (key == "confidence") {
    ASSIGN_OR_RETURN(e.confidence, (ToEnum<gateway::Confidence, v1::Confidence>(
                                       "CONFIDENCE_", value, Parse)));
  } else {
    return absl::InvalidArgumentError(fmt::format("unknown key {}", key));
  }
  return absl::OkStatus();
}

absl::Status ReadField(const std::string& key, const json& value, Event& e) {
  if (key == "what") {
    const auto found =
        Whats().find(value.is_string() ? value.get<std::string>() : "");
    if (found == Whats().end()) {
      return absl::InvalidArgumentError(
          fmt::format("{} is no event", value.dump()));
    }
    e.what = found->second;
  } else if (key == "at" || key == "length") {
    ASSIGN_OR_RETURN((key == "at" ? e.at : e.length), ToNanos(value, key));
  } else if (key == "machine" || key == "epoch" || key == "number") {
    if (!value.is_number_unsigned()) {
      return absl::InvalidArgumentError(fmt::format("{}: not a count", key));
    }
    if (key == "machine") e.machine = value.get<uint32_t>();
    if (key == "epoch") e.epoch = value.get<uint64_t>();
    if (key == "number") e.number = value.get<uint64_t>();
  } else if (key == "flag") {
    e.flag = value == true;
  } else if (key == "from" || key == "to") {
    ASSIGN_OR_RETURN(
        (key == "from" ? e.from : e.to),
        (ToEnum<gateway::Status, v1::Status>("STATUS_", value, Parse)));
  } else {
    return ReadVerdict(key, value, e);
  }
  return absl::OkStatus();
}

absl::StatusOr<Event> ReadEvent(const json& line) {
  if (!line.is_object() || !line.contains("at") || !line.contains("what")) {
    return absl::InvalidArgumentError("no event: it has no `at` or no `what`");
  }
  Event event;
  for (const auto& [key, value] : line.items()) {
    RETURN_IF_ERROR(ReadField(key, value, event));
  }
  return event;
}

absl::Status ReadHead(const json& line, RecordedHistory& history) {
  if (!line.is_object() || !line.contains("promises")) {
    return absl::InvalidArgumentError("no promises");
  }
  for (const auto& [key, value] : line["promises"].items()) {
    const auto found = PromiseNames().find(key);
    if (found == PromiseNames().end()) {
      return absl::InvalidArgumentError(fmt::format("no promise: {}", key));
    }
    ASSIGN_OR_RETURN(history.promises.*found->second, ToNanos(value, key));
  }
  history.promises.tells_ended_links = true;
  for (const json& id : line.value("judge", json::array())) {
    history.judge.push_back(id.is_string() ? id.get<std::string>() : id.dump());
  }
  return absl::OkStatus();
}

// Whether `event` could show that the invariant `id` is broken.
bool Tries(std::string_view id, const Event& e) {
  const bool worse = e.what == What::kDecided && e.to > e.from;
  if (id == "P1" || id == "P4" || id == "P7") return worse;
  if (id == "P2" || id == "P3") return e.what == What::kTick;
  if (id == "P6") return e.what == What::kDecided;
  if (id == "P8") return e.what == What::kDecided || e.what == What::kStored;
  if (id == "P9") return e.what == What::kAccepted || e.what == What::kStored;
  if (id == "P10") return e.what == What::kHandled;
  if (id == "P12" || id == "D1") return e.what == What::kRestored;
  if (id == "P14") {
    return e.what == What::kHandled ||
           (e.what == What::kDecided && e.to == gateway::Status::kOnline);
  }
  if (id == "R1") return e.what == What::kHealthy || e.what == What::kDialled;
  if (id == "R2") return e.what == What::kAccepted || worse;
  if (id == "D2") {
    return e.what == What::kCommandAccepted || e.what == What::kCommandRefused;
  }
  return false;
}

}  // namespace

absl::StatusOr<RecordedHistory> ReadHistory(std::istream& in) {
  RecordedHistory history;
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    const json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
    absl::Status status;
    if (number == 1) {
      status = ReadHead(line, history);
    } else if (absl::StatusOr<Event> event = ReadEvent(line); !event.ok()) {
      status = event.status();
    } else if (!history.events.empty() &&
               event->at < history.events.back().at) {
      status = absl::InvalidArgumentError("it goes back in time");
    } else {
      history.events.push_back(*event);
    }
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("line {}: {}", number, std::string(status.message())));
    }
  }
  if (history.events.empty()) {
    return absl::InvalidArgumentError("a history without events");
  }
  return history;
}

Judgement Judge(const RecordedHistory& history) {
  simulation::Invariants invariants(history.promises);
  Judgement judgement;
  for (const std::string_view id : invariants.ids()) {
    judgement.judged.emplace(id, 0);
  }
  for (const Event& event : history.events) {
    for (auto& [id, count] : judgement.judged) count += Tries(id, event);
    invariants.On(event);
  }
  judgement.violations = invariants.violations();
  for (const std::string& id : history.judge) {
    const auto found = judgement.judged.find(id);
    if (found == judgement.judged.end() || found->second == 0) {
      judgement.idle.push_back(id);
    }
  }
  return judgement;
}

}  // namespace muster::robustness
