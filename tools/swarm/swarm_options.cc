#include "tools/swarm/swarm_options.h"

#include <sys/resource.h>

#include <sstream>
#include <utility>

#include "CLI/CLI.hpp"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/duration_text.h"
#include "tools/swarm/loopback.h"

namespace muster::swarm {
namespace {

// For the loop, gRPC, files and standard streams.
constexpr uint64_t kOtherDescriptors = 64;
constexpr absl::Duration kEveryMin = absl::Milliseconds(100);
// "-00042" follows, and a hostname has at most 64 bytes.
constexpr size_t kNamePrefixMax = 50;

constexpr char kExamples[] = R"(Examples:
  MUSTER_TOKEN=mst_j_… muster-swarm --server http://127.0.0.1:7080 --agents 1000
  muster-swarm --server http://127.0.0.1:7080 --agents 5000 --duration 10m \
      --state ~/swarm --json < token       # a second run needs no token
  muster-swarm … --profile storm --every 30s             # all reconnect at once
  muster-swarm … --profile churn --every 5s --share 10   # a tenth comes and goes

The token needs as many uses as there are machines to register. It is never an
argument: MUSTER_TOKEN or standard input. Without --state the machines leave the
fleet at the end. A gateway elsewhere than on this host is refused unless
--i-own-this-gateway is given.
Exit codes: 0 done, 1 not done, 2 wrong usage.)";

struct Texts {
  std::string duration = "60s";
  std::string every;
  std::string profile = "steady";
  double share_percent = 0;
};

absl::StatusOr<absl::Duration> Bounded(const char* flag,
                                       const std::string& text,
                                       absl::Duration min, absl::Duration max) {
  const auto d = wire::ParseDurationText(text);
  if (d.ok() && *d >= min && *d <= max) return *d;
  return absl::InvalidArgumentError(
      fmt::format("{}: expected {} to {}, got \"{}\"", flag, min, max, text));
}

absl::Status FillPlan(const Texts& texts, SwarmPlan& plan) {
  if (texts.profile == "steady") {
    if (!texts.every.empty() || texts.share_percent != 0) {
      return absl::InvalidArgumentError(
          "--every and --share mean nothing to --profile steady");
    }
    return absl::OkStatus();
  }
  const bool storm = texts.profile == "storm";
  if (!storm && texts.profile != "churn") {
    return absl::InvalidArgumentError(
        fmt::format("--profile: expected steady, storm or churn, got \"{}\"",
                    texts.profile));
  }
  plan.profile = storm ? Profile::kStorm : Profile::kChurn;
  const std::string usual = storm ? "30s" : "5s";
  ASSIGN_OR_RETURN(plan.every,
                   Bounded("--every", texts.every.empty() ? usual : texts.every,
                           kEveryMin, absl::Hours(1)));
  const double usual_percent = storm ? 100 : 10;
  plan.share =
      (texts.share_percent == 0 ? usual_percent : texts.share_percent) / 100;
  return absl::OkStatus();
}

absl::Status CheckIsOurs(const char* flag, const std::string& address,
                         const SwarmOptions& options) {
  if (options.own_gateway || IsLoopback(address)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is not on this machine; if it is yours: "
                  "--i-own-this-gateway",
                  flag, address));
}

absl::Status Fill(const Texts& texts, SwarmOptions& options) {
  while (options.server.ends_with('/')) options.server.pop_back();
  RETURN_IF_ERROR(CheckIsOurs("--server", options.server, options));
  if (!options.endpoint.empty()) {
    RETURN_IF_ERROR(CheckIsOurs("--endpoint", options.endpoint, options));
  }
  if (options.server.starts_with("http://") && !IsLoopback(options.server)) {
    return absl::InvalidArgumentError(
        "--server: the token would cross the network readable; use https://");
  }
  if (options.plan.name_prefix.size() > kNamePrefixMax) {
    return absl::InvalidArgumentError(
        fmt::format("--name-prefix: at most {} bytes, got {}", kNamePrefixMax,
                    options.plan.name_prefix.size()));
  }
  ASSIGN_OR_RETURN(options.duration, Bounded("--duration", texts.duration,
                                             absl::Seconds(1), kDurationMax));
  options.plan.leave_fleet = options.state_dir.empty();
  return FillPlan(texts, options.plan);
}

void AddOptions(CLI::App& app, SwarmOptions& options, Texts& texts) {
  app.add_option("--server", options.server, "URL of the gateway's web port")
      ->required();
  app.add_option("--endpoint", options.endpoint,
                 "host:port to dial instead of the fleet port that the gateway "
                 "names");
  app.add_option("--agents", options.agents, "how many machines")
      ->required()
      ->check(CLI::Range(1, kAgentsMax));
  app.add_option("--duration", texts.duration,
                 "how long, counted from the first dial [60s]");
  app.add_option("--profile", texts.profile,
                 "steady, storm (links break) or churn (machines come and go) "
                 "[steady]");
  app.add_option("--every", texts.every, "how often [storm: 30s, churn: 5s]");
  app.add_option("--share", texts.share_percent,
                 "percent of the machines each time [storm: 100, churn: 10]")
      ->check(CLI::Range(0.1, 100.0));
  app.add_option("--state", options.state_dir,
                 "folder that keeps the identities for the next run");
  app.add_option("--name-prefix", options.plan.name_prefix,
                 "of the hostnames [swarm]");
  app.add_option("--pin", options.pin, "believe exactly this key: sha256//…");
  app.add_option("--ca-file", options.ca_file,
                 "believe these authorities (PEM)");
  app.add_flag("--json", options.json,
               "the summary as JSON, on standard output");
  app.add_flag("--i-own-this-gateway", options.own_gateway,
               "allow a gateway that is not on this machine");
  app.set_version_flag("--version", "muster-swarm " MUSTER_VERSION);
}

}  // namespace

std::variant<SwarmOptions, EarlyExit> ParseSwarmOptions(
    int argc, const char* const* argv) {
  CLI::App app{
      "muster-swarm: thousands of honest agents in one process, over the real "
      "protocol",
      "muster-swarm"};
  app.footer(kExamples);
  SwarmOptions options;
  options.plan.name_prefix = "swarm";
  Texts texts;
  AddOptions(app, options, texts);
  std::string error;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {
      std::ostringstream out, err;
      app.exit(e, out, err);
      return EarlyExit{0, out.str(), err.str()};
    }
    error = e.what();
  }
  if (error.empty()) {
    if (const absl::Status status = Fill(texts, options); !status.ok()) {
      error = std::string(ToStd(status.message()));
    }
  }
  if (error.empty()) return options;
  return EarlyExit{2, "",
                   fmt::format("error: {}\nTry: muster-swarm --help\n", error)};
}

absl::Status CheckDescriptors(int agents, uint64_t limit) {
  const uint64_t needed = static_cast<uint64_t>(agents) + kOtherDescriptors;
  if (needed <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "--agents: {} links need {} file descriptors and this process may have "
      "{}; start several swarms of at most {} machines, or raise the limit "
      "(ulimit -n)",
      agents, needed, limit,
      limit > kOtherDescriptors ? limit - kOtherDescriptors : 0));
}

absl::Status ReserveDescriptors(int agents) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return CheckDescriptors(agents, limit.rlim_cur);
}

}  // namespace muster::swarm
