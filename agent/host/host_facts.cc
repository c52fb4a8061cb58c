#include "agent/host/host_facts.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/validation.h"

namespace muster::agent {
namespace {

constexpr size_t kFileBytesMax = 64 << 10;
constexpr size_t kFactBytesMax = 255;
constexpr size_t kContainerIdShown = 12;  // As `docker ps` shows it.
constexpr absl::Duration kShutdownNear = absl::Minutes(1);

// Drawn once at random; never change it: every machine would get another id.
constexpr unsigned char kApplicationId[16] = {
    0x5b, 0x1e, 0x93, 0xc4, 0x07, 0xaa, 0x4f, 0x62,
    0x9d, 0x38, 0xe1, 0x75, 0x2c, 0xf0, 0x86, 0x4b};

std::string Content(const std::string& path) {
  return ReadFile(path, kFileBytesMax).value_or("");
}

std::string Shown(std::string text, size_t bytes_max = kFactBytesMax) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  text.resize(std::min(text.size(), bytes_max));
  for (char& c : text) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text;
}

// What the gateway takes as a name, from whatever the kernel was told.
std::string HostnameFrom(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto odd = [](char c) { return !wire::IsHostnameCharacter(c); };
  std::replace_if(text.begin(), text.end(), odd, '-');
  text.erase(0, text.find_first_not_of(".-"));
  text.resize(std::min(text.size(), wire::kHostnameBytesMax));
  if (text.empty()) return "unnamed";
  if (wire::ValidateHostname("", text).ok()) return text;
  return "host-" + text;  // A UUID.
}

// The value of KEY=value or KEY="value" on a line of its own.
std::string ValueOf(std::string_view key, const std::string& content) {
  const std::vector<std::string> lines = absl::StrSplit(content, '\n');
  const std::string prefix = std::string(key) + "=";
  for (std::string_view line : lines) {
    if (!line.starts_with(prefix)) continue;
    line.remove_prefix(prefix.size());
    if (line.size() >= 2 && line.front() == line.back() &&
        (line.front() == '"' || line.front() == '\'')) {
      line = line.substr(1, line.size() - 2);
    }
    return std::string(line);
  }
  return "";
}

bool IsHex(std::string_view text, size_t size) {
  return text.size() == size &&
         text.find_first_not_of("0123456789abcdef") == text.npos;
}

// A container's id from a folder of its cgroup: ID, docker-ID.scope, …
std::optional<std::string> ContainerIdIn(const std::string& folder) {
  const std::vector<std::string> parts =
      absl::StrSplit(folder, absl::ByAnyChar("-.:"));
  for (const std::string& part : parts) {
    if (IsHex(part, 64)) return part.substr(0, kContainerIdShown);
  }
  return std::nullopt;
}

void DetectRuntime(const HostView& view, v1::AgentFacts& facts) {
  std::string unit, container;
  const std::vector<std::string> cgroups =
      absl::StrSplit(Content(view.host_root + "/proc/self/cgroup"), '\n');
  for (const std::string& line : cgroups) {
    const std::vector<std::string> folders = absl::StrSplit(line, '/');
    if (folders.back().ends_with(".service")) unit = folders.back();
    for (const std::string& folder : folders) {
      if (const auto id = ContainerIdIn(folder)) container = *id;
    }
  }
  const std::string podman = view.host_root + "/run/.containerenv";
  const bool contained = !container.empty() || FileExists(podman) ||
                         FileExists(view.host_root + "/.dockerenv");
  if (const std::string name = ValueOf("name", Content(podman));
      !name.empty()) {
    container = name;
  }
  if (!unit.empty()) {  // Also inside a container: the unit is what to restart.
    facts.set_runtime(v1::RUNTIME_KIND_SYSTEMD);
    facts.set_runtime_name(Shown(unit));
  } else if (contained) {
    facts.set_runtime(v1::RUNTIME_KIND_CONTAINER);
    facts.set_runtime_name(Shown(container));
  } else if (!view.invocation_id.empty()) {
    facts.set_runtime(v1::RUNTIME_KIND_SYSTEMD);
  } else {
    facts.set_runtime(v1::RUNTIME_KIND_PROCESS);
  }
}

}  // namespace

std::string AppSpecificMachineId(std::string_view machine_id) {
  while (machine_id.ends_with('\n')) machine_id.remove_suffix(1);
  if (!IsHex(machine_id, 32)) return "";
  const std::string key = absl::HexStringToBytes(ToAbsl(machine_id));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), kApplicationId,
       sizeof kApplicationId, digest.data(), &size);
  digest[6] = (digest[6] & 0x0f) | 0x40;  // The marks of a version 4 UUID.
  digest[8] = (digest[8] & 0x3f) | 0x80;
  return absl::BytesToHexString(
      {reinterpret_cast<const char*>(digest.data()), 16});
}

v1::AgentFacts ReadAgentFacts(const HostView& view,
                              std::string_view agent_version) {
  const std::string& root = view.host_root;
  v1::AgentFacts facts;
  facts.set_hostname(HostnameFrom(Content(root + "/proc/sys/kernel/hostname")));
  facts.set_machine_id(AppSpecificMachineId(Content(root + "/etc/machine-id")));
  std::string release = Content(root + "/etc/os-release");
  if (release.empty()) release = Content(root + "/usr/lib/os-release");
  facts.set_os(Shown(ValueOf("PRETTY_NAME", release)));
  facts.set_kernel(Shown(Content(root + "/proc/sys/kernel/osrelease")));
  utsname names;
  if (uname(&names) == 0) facts.set_architecture(Shown(names.machine));
  facts.set_agent_version(Shown(std::string(agent_version)));
  DetectRuntime(view, facts);
  return facts;
}

absl::StatusOr<std::string> ReadBootId(const std::string& host_root) {
  ASSIGN_OR_RETURN(
      std::string id,
      ReadFile(host_root + "/proc/sys/kernel/random/boot_id", kFileBytesMax));
  return Shown(std::move(id));
}

Shutdown ReadShutdown(const std::string& host_root, absl::Time wall) {
  // Written as soon as a shutdown is planned, be it for tomorrow.
  const std::string plan =
      Content(host_root + "/run/systemd/shutdown/scheduled");
  int64_t us = 0;
  if (absl::SimpleAtoi(ValueOf("USEC", plan), &us) &&
      absl::FromUnixMicros(us) <= wall + kShutdownNear) {
    const std::string mode = ValueOf("MODE", plan);
    return mode == "poweroff" || mode == "halt" ? Shutdown::kPowerOff
                                                : Shutdown::kReboot;
  }
  // The same file keeps users out while the machine comes up.
  const std::string nologin = host_root + "/run/nologin";
  const bool goes_down =
      FileExists(nologin) &&
      Content(nologin).find("booting up") == std::string::npos;
  return goes_down ? Shutdown::kReboot : Shutdown::kNone;
}

}  // namespace muster::agent
