// Who the machines of the swarm are, over runs.
//
//   STATE/        0700
//     lock        held by the one swarm that runs from this folder
//     server      the URL that they are registered with
//     00042.key   0600  made before the call that registers it
//     00042.json  0600  what the gateway answered; exists = registered

#ifndef MUSTER_TOOLS_SWARM_IDENTITY_STORE_H_
#define MUSTER_TOOLS_SWARM_IDENTITY_STORE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/secret.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::swarm {

struct Identity {
  Secret key_pem;
  v1::RegisterResponse registration;
};

// IdentityStore is the folder, or nothing: without one every identity is new
// and forgotten. Blocks on the disk. Different numbers may be used from
// different threads.
class IdentityStore {
 public:
  // `folder` empty: nothing is kept. AlreadyExists if another swarm uses it,
  // FailedPrecondition if it belongs to another server.
  static absl::StatusOr<IdentityStore> Open(const std::string& folder,
                                            const std::string& server);

  // NotFound: not registered, or the certificate is over at `now`. DataLoss,
  // naming the file: not what Save() wrote.
  absl::StatusOr<Identity> Load(int number, absl::Time now) const;

  // The key to register with: that of an earlier attempt, or a new one.
  absl::StatusOr<Secret> KeyFor(int number) const;

  absl::Status Save(int number, const v1::RegisterResponse& answer) const;

 private:
  IdentityStore(std::string folder, Fd lock)
      : folder_(std::move(folder)), lock_(std::move(lock)) {}
  std::string File(int number, const char* ending) const;

  std::string folder_;
  Fd lock_;
};

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_IDENTITY_STORE_H_
