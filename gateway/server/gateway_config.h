// The gateway's settings.

#ifndef MUSTER_GATEWAY_SERVER_GATEWAY_CONFIG_H_
#define MUSTER_GATEWAY_SERVER_GATEWAY_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/admin/command_handlers.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/fleet_store.h"
#include "libprotocol/base/log.h"
#include "libprotocol/wire/settings.h"

namespace muster::gateway {

inline constexpr char kDefaultConfigFile[] = "/etc/muster/gateway.toml";

// Plain data: tests build one by hand, main() fills one from its sources.
struct GatewayConfig {
  // Database, CA, admin token. Made with mode 0700 if it is not there.
  std::string data_dir = "/var/lib/muster";

  // Operators, and machines that join. Plain HTTP on a loopback address, TLS on
  // any other.
  std::string web_listen = "127.0.0.1:7080";
  // Machines that have joined, with mutual TLS.
  std::string fleet_listen = "0.0.0.0:7443";
  // Host that machines dial. Empty: the one they used to register.
  std::string public_address;
  // Proxies before the web port, whose word on who asks is believed
  // (http/forwarded.h).
  std::string trusted_proxies;
  // PEM files for the web port instead of a certificate of the own CA.
  std::string web_certificate;
  std::string web_key;

  // Open connections to the fleet port from one address: a NAT may hide a whole
  // site.
  size_t connections_per_source_max = 4096;
  // New connections to the fleet port in a second; the others wait their turn.
  double connections_per_second_max = 1000;

  FleetOptions fleet;
  CommandDefaults commands;
  Retention retention;

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kLogfmt;

  // How long a stop waits for agents to take their leave.
  absl::Duration drain = absl::Seconds(5);

  // Where the settings were set, to name it in errors; empty if by hand.
  wire::Origins origins;

  // Not settings; tests shorten them. How long a connected agent may take to
  // say hello, and a closing link to take what is being written.
  absl::Duration hello_timeout = absl::Seconds(10);
  absl::Duration close_grace = absl::Seconds(5);
  // What one agent may say in a second, and at once (rpc/agent_link.h).
  double agent_messages_max = 1000;

  // InvalidArgument that begins with the first field that is out of bounds, and
  // says why.
  absl::Status Validate() const;
};

// `status`, beginning with the setting that it is about.
absl::Status AtSetting(std::string_view setting, const absl::Status& status);

// An error about `config` that begins with a setting, with the place where that
// was set before it.
absl::Status AtOrigin(const absl::Status& status, const GatewayConfig& config);

// The settings, bound to `config`, which must outlive them.
std::vector<wire::Setting> GatewaySettings(GatewayConfig& config);

// Default < file < environment < flags, validated.
absl::StatusOr<GatewayConfig> LoadGatewayConfig(
    const wire::SettingSources& sources);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_SERVER_GATEWAY_CONFIG_H_
