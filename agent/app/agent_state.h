// Who this machine is to its fleet, over restarts.
//
//   STATE_DIR/        0700
//     key.new.pem     0600  of a registration under way; made before the call
//     key.pem         0600  of the identity
//     identity.toml   0600  what the gateway answered; exists = joined
//     former.toml     0600  the identity that the gateway deleted, if any
//     pace.toml       0600  how often the gateway wants to hear of it
//     agent.sock      0600  control socket of the running agent
//     agent.lock      0600  locked by the running agent
//     commands/       0700  agent/exec
//     commands.agent  0600  the agent_id that the commands belong to
//     ran/            0700  what was run, for the machine's owner: run_log.h

#ifndef MUSTER_AGENT_APP_AGENT_STATE_H_
#define MUSTER_AGENT_APP_AGENT_STATE_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/secret.h"

namespace muster::agent {

// The answer to a registration, and what was asked.
struct Identity {
  std::string agent_id;
  std::string org_id;
  std::string certificate_pem;
  std::string ca_pem;
  std::string endpoint;         // host:port of the fleet port.
  std::string server;           // The URL that was joined, and whom to believe
  std::string server_pin = {};  // there: as in WebPort.
  std::string server_ca_pem = {};
  std::map<std::string, std::string> labels;
};

// What the gateway told last. A start that finds it away paces itself by that.
struct Pace {
  absl::Duration heartbeat_interval;
  absl::Duration reconnect_max;

  friend bool operator==(const Pace&, const Pace&) = default;
};

// AgentState is the folder. Stateless apart from its path; blocks on the disk.
class AgentState {
 public:
  explicit AgentState(std::string folder) : folder_(std::move(folder)) {}

  // Makes the folder, 0700.
  absl::Status Create() const;

  // NotFound: not joined. DataLoss, naming the file and what is wrong with it:
  // not what SaveIdentity() wrote. FailedPrecondition: another version did.
  absl::StatusOr<Identity> LoadIdentity() const;

  // Key of the identity; NotFound if there is none.
  absl::StatusOr<Secret> LoadKey() const;

  // The key to register with: the one of an earlier attempt, so that the same
  // token answers again, or a new one, durably written.
  absl::StatusOr<Secret> PendingKey() const;

  // The registration with the pending key succeeded: both become the identity.
  // A crash in between is mended by the next LoadIdentity().
  absl::Status SaveIdentity(const Identity& identity) const;

  // The identity has another certificate, for the same key. Unavailable while a
  // join is under way, FailedPrecondition if the key is another one by now.
  absl::Status SaveRenewed(const Identity& identity) const;

  // Not durable: what a crash takes away the gateway tells again.
  absl::Status SavePace(const Pace& pace) const;
  // Absent if there is none that can be read.
  std::optional<Pace> LoadPace() const;

  // The identity is no longer one: kept as the former, so that the next join
  // can name it. The key goes.
  absl::Status RetireIdentity() const;
  std::optional<std::string> FormerAgentId() const;

  // Removes the commands of any other identity: they are not its business, and
  // their numbers would hide its own. Call before they are recovered.
  absl::Status ClaimCommands(const std::string& agent_id) const;

  // Removes identity, former identity, key and commands. What was run here
  // stays told.
  absl::Status Wipe() const;

  // Held by the one agent that runs from this folder; released with the Fd.
  // AlreadyExists while another process has it.
  absl::StatusOr<Fd> Lock() const;

  // Held while joining; waits until no other process does.
  absl::StatusOr<Fd> LockForJoin() const;

  std::string socket_path() const { return folder_ + "/agent.sock"; }
  std::string commands_folder() const { return folder_ + "/commands"; }
  std::string run_log_folder() const { return folder_ + "/ran"; }
  const std::string& folder() const { return folder_; }

 private:
  std::string File(const char* name) const { return folder_ + "/" + name; }
  absl::Status WriteIdentity(const Identity& identity) const;
  absl::Status PromotePendingKey() const;
  absl::StatusOr<Fd> OpenLock(const char* name) const;

  const std::string folder_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_AGENT_STATE_H_
