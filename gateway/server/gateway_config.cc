#include "gateway/server/gateway_config.h"

#include <algorithm>
#include <cmath>

#include "fmt/format.h"
#include "gateway/http/forwarded.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/host_port.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"

namespace muster::gateway {
namespace {

absl::Status Within(std::string_view field, absl::Duration value,
                    absl::Duration min, absl::Duration max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{} must be {} to {}, got {}", field, absl::FormatDuration(min),
      absl::FormatDuration(max), absl::FormatDuration(value)));
}

// A host that can stand in a URL and before a port; IPv6 without brackets.
absl::Status CheckPublicAddress(const std::string& host) {
  if (host.empty() || ValidateHost(host).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "public_address must be a host name or an address, without scheme, port "
      "or brackets, got \"{}\"",
      host));
}

absl::Status CheckListenAddress(std::string_view field,
                                const std::string& address) {
  const absl::Status status = ParseListenAddress(address).status();
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", field, ToStd(status.message())));
}

absl::Status CheckTogether(std::string_view field, const std::string& value,
                           std::string_view other,
                           const std::string& other_value) {
  if (value.empty() || !other_value.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} needs {} beside it, got only {:?}", field, other, value));
}

}  // namespace

absl::Status GatewayConfig::Validate() const {
  RETURN_IF_ERROR(CheckListenAddress("web_listen", web_listen));
  RETURN_IF_ERROR(CheckListenAddress("fleet_listen", fleet_listen));
  RETURN_IF_ERROR(fleet.presence.Validate());
  RETURN_IF_ERROR(Within("command_timeout", commands.timeout,
                         wire::kCommandTimeoutMin, wire::kCommandTimeoutMax));
  RETURN_IF_ERROR(Within("delivery_timeout", commands.delivery_timeout,
                         wire::kCommandTimeoutMin, wire::kCommandTimeoutMax));
  RETURN_IF_ERROR(
      Within("drain", drain, absl::ZeroDuration(), absl::Minutes(5)));
  RETURN_IF_ERROR(Within("mass_silence_window", fleet.mass_silence.window,
                         absl::Seconds(1), absl::Minutes(10)));
  RETURN_IF_ERROR(Within("mass_silence_hold", fleet.mass_silence.hold_max,
                         absl::ZeroDuration(), absl::Hours(1)));
  for (const auto& [name, kept] :
       {std::pair{"keep_history", retention.transitions},
        std::pair{"keep_commands", retention.commands},
        std::pair{"keep_output", retention.output}}) {
    RETURN_IF_ERROR(Within(name, kept, absl::Hours(1), absl::Hours(24 * 3650)));
  }
  RETURN_IF_ERROR(CheckPublicAddress(public_address));
  if (const auto proxies = TrustedProxies::Parse(trusted_proxies);
      !proxies.ok()) {
    return AtSetting("trusted_proxies", proxies.status());
  }
  if (data_dir.empty()) {
    return absl::InvalidArgumentError("data_dir must not be empty");
  }
  RETURN_IF_ERROR(
      CheckTogether("web_key", web_key, "web_certificate", web_certificate));
  return CheckTogether("web_certificate", web_certificate, "web_key", web_key);
}

absl::Status AtSetting(std::string_view setting, const absl::Status& status) {
  return {status.code(),
          fmt::format("{}: {}", setting, ToStd(status.message()))};
}

absl::Status AtOrigin(const absl::Status& status, const GatewayConfig& config) {
  if (status.ok()) return status;
  GatewayConfig same = config;
  return wire::AtOrigin(status, GatewaySettings(same), config.origins);
}

std::vector<wire::Setting> GatewaySettings(GatewayConfig& c) {
  using wire::DurationSetting;
  using wire::NumberSetting;
  using wire::TextSetting;
  PresencePolicy& presence = c.fleet.presence;
  MassSilencePolicy& silence = c.fleet.mass_silence;
  return {
      TextSetting("data_dir", "folder of database, CA and admin token",
                  c.data_dir),
      TextSetting("web_listen",
                  "host:port for operators; TLS unless it is loopback",
                  c.web_listen),
      TextSetting("fleet_listen", "host:port for agents, mutual TLS",
                  c.fleet_listen),
      TextSetting("public_address",
                  "host that machines dial; empty: where they registered",
                  c.public_address),
      TextSetting("trusted_proxies",
                  "addresses and networks whose X-Forwarded-For is believed",
                  c.trusted_proxies),
      TextSetting("web_certificate", "PEM chain for the web port",
                  c.web_certificate),
      TextSetting("web_key", "PEM key for the web port", c.web_key),
      NumberSetting("connections_per_source_max",
                    "to the fleet port, from one address, 1 to 1000000", 1,
                    1'000'000, c.connections_per_source_max),
      NumberSetting("connections_per_second_max",
                    "accepted on the fleet port, 1 to 100000", 1, 100'000,
                    c.connections_per_second_max),
      NumberSetting("links_per_second_max",
                    "machines let in; the others are told when to come back, "
                    "1 to 100000",
                    1, 100'000, c.fleet.admission.links_per_second_max),
      NumberSetting("heartbeats_per_second_max",
                    "of the whole fleet: a larger one speaks less often, 1 to "
                    "1000000",
                    1, 1'000'000, c.fleet.heartbeats_per_second_max),
      DurationSetting("heartbeat_interval", "100ms to 1h",
                      presence.heartbeat_interval),
      DurationSetting("stale_after",
                      "more than 2.2 heartbeat_interval, up to 7d",
                      presence.stale_after),
      DurationSetting("offline_after",
                      "more than stale_after, up to 7d, or never",
                      presence.offline_after),
      DurationSetting("reconnect_grace", "less than stale_after",
                      presence.reconnect_grace),
      DurationSetting(
          "blind_gap",
          "from 100ms, less than half of offline_after - stale_after",
          presence.blind_gap),
      NumberSetting("mass_silence_machines",
                    "of one group, silent together: an incident, 2 to 1000000",
                    2, 1'000'000, silence.machines_min),
      NumberSetting(
          "mass_silence_percent",
          "and at least so many of each hundred of the group, 1 to 100", 1, 100,
          [&silence](int64_t percent) {
            silence.share_min = static_cast<double>(percent) / 100;
          },
          [&silence] { return std::lround(silence.share_min * 100); }),
      DurationSetting("mass_silence_window", "within this time, 1s to 10m",
                      silence.window),
      DurationSetting("mass_silence_hold",
                      "how much later they may be offline, 0s to 1h",
                      silence.hold_max),
      DurationSetting("command_timeout", "default of a command, 1s to 7d",
                      c.commands.timeout),
      DurationSetting("delivery_timeout", "default of a command, 1s to 7d",
                      c.commands.delivery_timeout),
      DurationSetting("keep_history", "transitions and links, 1h to 10 years",
                      c.retention.transitions),
      DurationSetting("keep_commands", "1h to 10 years", c.retention.commands),
      DurationSetting("keep_output", "1h to 10 years", c.retention.output),
      DurationSetting("drain", "how long a stop waits, 0s to 5m", c.drain),
      wire::LogLevelSetting(c.log_level),
      wire::LogFormatSetting(c.log_format),
  };
}

absl::StatusOr<GatewayConfig> LoadGatewayConfig(
    const wire::SettingSources& sources) {
  GatewayConfig config;
  const auto complete = [&config] {
    config.retention.links = config.retention.transitions;
    config.fleet.admission.burst = config.fleet.admission.links_per_second_max;
    PresencePolicy& presence = config.fleet.presence;
    presence.blind_restart =
        std::max(presence.blind_restart, presence.blind_gap);
    return config.Validate();
  };
  ASSIGN_OR_RETURN(config.origins, wire::LoadSettings(GatewaySettings(config),
                                                      sources, complete));
  return config;
}

}  // namespace muster::gateway
