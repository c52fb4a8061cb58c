#include "agent/app/agent_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <sstream>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/wire/toml_file.h"

namespace muster::agent {
namespace {

// Raised when an older agent could not read what a newer one writes.
constexpr int64_t kVersion = 1;

constexpr size_t kIdentityBytesMax = 256 * 1024;
constexpr size_t kOwnerBytesMax = 4096;
constexpr absl::Duration kPaceMax = absl::Hours(1);

// `what` begins with the file's path.
absl::Status Corrupt(std::string_view what) {
  return absl::DataLossError(
      fmt::format("{}. Restore the file, or start over with a fresh token: "
                  "muster-agent join --replace",
                  what));
}

struct Field {
  const char* key;
  std::string Identity::*member;
};
constexpr Field kFields[] = {
    {"agent_id", &Identity::agent_id},
    {"org_id", &Identity::org_id},
    {"certificate_pem", &Identity::certificate_pem},
    {"ca_pem", &Identity::ca_pem},
    {"endpoint", &Identity::endpoint},
    {"server", &Identity::server},
};
// Either may be empty.
constexpr Field kTrustFields[] = {
    {"server_pin", &Identity::server_pin},
    {"server_ca_pem", &Identity::server_ca_pem},
};

absl::StatusOr<Identity> ReadIdentity(const std::string& path) {
  const auto read = wire::ReadTomlFile(path, kIdentityBytesMax);
  if (absl::IsInvalidArgument(read.status())) {
    return Corrupt(ToStd(read.status().message()));
  }
  RETURN_IF_ERROR(read.status());
  const toml::table& table = *read;
  const std::optional<int64_t> version = table["version"].value<int64_t>();
  if (!version) return Corrupt(path + ": version is missing");
  if (*version != kVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: written by another muster-agent: version must be {}, got {}", path,
        kVersion, *version));
  }
  Identity identity;
  for (const Field& field : kFields) {
    const auto value = table[field.key].value<std::string>();
    if (!value || value->empty())
      return Corrupt(fmt::format("{}: {} is missing", path, field.key));
    identity.*field.member = *value;
  }
  for (const Field& field : kTrustFields) {
    identity.*field.member = table[field.key].value_or(std::string());
  }
  if (const toml::table* labels = table["labels"].as_table()) {
    for (const auto& [key, value] : *labels) {
      identity.labels[std::string(key.str())] = value.value_or(std::string());
    }
  }
  return identity;
}

// Whoever else could read it could speak for this machine.
absl::Status CheckPrivate(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return ErrnoStatus(errno, "reading", path);
  if ((st.st_mode & 0077) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("{0} is open to other users (mode {1:04o}): chmod go= {0}",
                  path, st.st_mode & 07777u));
}

absl::StatusOr<Secret> ReadKey(const std::string& path) {
  RETURN_IF_ERROR(CheckPrivate(path));
  ASSIGN_OR_RETURN(std::string pem, ReadFile(path, kKeyPemBytesMax));
  return Secret(std::move(pem));
}

absl::Status CheckKey(const absl::StatusOr<Secret>& key,
                      const Identity& identity) {
  if (!key.ok()) return key.status();
  return CheckKeyMatchesCertificate(*key, identity.certificate_pem);
}

}  // namespace

absl::Status AgentState::Create() const { return MakeFolder(folder_, 0700); }

absl::StatusOr<Identity> AgentState::LoadIdentity() const {
  const std::string path = File("identity.toml");
  ASSIGN_OR_RETURN(Identity identity, ReadIdentity(path));
  absl::Status match = CheckKey(LoadKey(), identity);
  if (!match.ok() && CheckKey(ReadKey(File("key.new.pem")), identity).ok()) {
    RETURN_IF_ERROR(PromotePendingKey());
    match = absl::OkStatus();
  }
  if (absl::IsPermissionDenied(match)) return match;
  if (!match.ok())
    return Corrupt(
        fmt::format("{}: {}", File("key.pem"), ToStd(match.message())));
  return identity;
}

absl::Status AgentState::SaveIdentity(const Identity& identity) const {
  RETURN_IF_ERROR(WriteIdentity(identity));
  return PromotePendingKey();
}

absl::Status AgentState::SaveRenewed(const Identity& identity) const {
  ASSIGN_OR_RETURN(const Fd lock, OpenLock("join.lock"));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::UnavailableError("this machine is joining anew");
  }
  ASSIGN_OR_RETURN(const Identity present, ReadIdentity(File("identity.toml")));
  if (present.agent_id != identity.agent_id) {
    return absl::FailedPreconditionError(
        fmt::format("this machine is {} by now", present.agent_id));
  }
  RETURN_IF_ERROR(CheckKey(LoadKey(), identity));
  return WriteIdentity(identity);
}

absl::Status AgentState::WriteIdentity(const Identity& identity) const {
  toml::table table{{"version", kVersion}};
  for (const Field& field : kFields)
    table.insert(field.key, identity.*field.member);
  for (const Field& field : kTrustFields)
    table.insert(field.key, identity.*field.member);
  toml::table labels;
  for (const auto& [key, value] : identity.labels) labels.insert(key, value);
  table.insert("labels", std::move(labels));
  std::ostringstream text;
  text << "# Written by muster-agent.\n" << table << "\n";
  return WriteFileDurably(File("identity.toml"), text.str(), 0600);
}

absl::Status AgentState::SavePace(const Pace& pace) const {
  const std::string path = File("pace.toml");
  const std::string text =
      fmt::format("heartbeat_interval_ms = {}\nreconnect_max_ms = {}\n",
                  absl::ToInt64Milliseconds(pace.heartbeat_interval),
                  absl::ToInt64Milliseconds(pace.reconnect_max));
  const Fd fd(
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  const ssize_t n = write(fd.get(), text.data(), text.size());
  if (n == static_cast<ssize_t>(text.size())) return absl::OkStatus();
  return ErrnoStatus(n < 0 ? errno : ENOSPC, "writing", path);
}

std::optional<Pace> AgentState::LoadPace() const {
  const auto table = wire::ReadTomlFile(File("pace.toml"), kOwnerBytesMax);
  if (!table.ok()) return std::nullopt;
  const auto interval = (*table)["heartbeat_interval_ms"].value<int64_t>();
  const auto reconnect = (*table)["reconnect_max_ms"].value<int64_t>();
  if (!interval || !reconnect || *interval <= 0 || *reconnect < 0) {
    return std::nullopt;
  }
  return Pace{std::min(absl::Milliseconds(*interval), kPaceMax),
              std::min(absl::Milliseconds(*reconnect), kPaceMax)};
}

absl::Status AgentState::PromotePendingKey() const {
  const std::string from = File("key.new.pem");
  if (rename(from.c_str(), File("key.pem").c_str()) != 0) {
    return ErrnoStatus(errno, "renaming", from);
  }
  return SyncFolder(folder_);
}

absl::StatusOr<Secret> AgentState::LoadKey() const {
  return ReadKey(File("key.pem"));
}

absl::StatusOr<Secret> AgentState::PendingKey() const {
  const std::string path = File("key.new.pem");
  absl::StatusOr<Secret> key = ReadKey(path);
  if (key.ok() && PinOfKey(*key).ok()) return key;
  ASSIGN_OR_RETURN(Secret fresh, GenerateKey());
  RETURN_IF_ERROR(WriteFileDurably(path, fresh.Reveal(), 0600));
  return fresh;
}

absl::Status AgentState::RetireIdentity() const {
  const std::string from = File("identity.toml");
  if (rename(from.c_str(), File("former.toml").c_str()) != 0 &&
      errno != ENOENT) {
    return ErrnoStatus(errno, "renaming", from);
  }
  RETURN_IF_ERROR(RemoveTree(File("key.pem")));
  return SyncFolder(folder_);
}

std::optional<std::string> AgentState::FormerAgentId() const {
  const absl::StatusOr<Identity> former = ReadIdentity(File("former.toml"));
  if (!former.ok()) return std::nullopt;
  return former->agent_id;
}

absl::Status AgentState::ClaimCommands(const std::string& agent_id) const {
  const std::string path = File("commands.agent");
  const absl::StatusOr<std::string> owner = ReadFile(path, kOwnerBytesMax);
  if (owner.ok() && *owner == agent_id) return absl::OkStatus();
  RETURN_IF_ERROR(RemoveTree(commands_folder()));
  return WriteFileDurably(path, agent_id, 0600);
}

absl::Status AgentState::Wipe() const {
  // The identity first: without it nothing else is believed.
  for (const char* name :
       {"identity.toml", "former.toml", "key.pem", "key.new.pem", "pace.toml",
        "commands", "commands.agent"}) {
    RETURN_IF_ERROR(RemoveTree(File(name)));
  }
  return FileExists(folder_) ? SyncFolder(folder_) : absl::OkStatus();
}

absl::StatusOr<Fd> AgentState::OpenLock(const char* name) const {
  const std::string path = File(name);
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  return fd;
}

absl::StatusOr<Fd> AgentState::LockForJoin() const {
  ASSIGN_OR_RETURN(Fd fd, OpenLock("join.lock"));
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "locking", File("join.lock"));
  }
  return fd;
}

absl::StatusOr<Fd> AgentState::Lock() const {
  ASSIGN_OR_RETURN(Fd fd, OpenLock("agent.lock"));
  // A record lock, for flock() is inherited: a shim that a killed agent was
  // just starting would keep the next agent away.
  struct flock whole {};
  whole.l_type = F_WRLCK;
  if (fcntl(fd.get(), F_SETLK, &whole) == 0) return fd;
  if (errno != EACCES && errno != EAGAIN) {
    return ErrnoStatus(errno, "locking", File("agent.lock"));
  }
  return absl::AlreadyExistsError(
      fmt::format("another muster-agent runs from {}", folder_));
}

}  // namespace muster::agent
