// Gets every machine of the swarm its identity.

#ifndef MUSTER_TOOLS_SWARM_REGISTRAR_H_
#define MUSTER_TOOLS_SWARM_REGISTRAR_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/base/thread_event_loop.h"
#include "libprotocol/net/https_client.h"
#include "tools/swarm/identity_store.h"

namespace muster::swarm {

// Registrar loads what is kept and registers the rest, a few at a time on loops
// of its own: a gateway must not be flooded by those who want to join it. A
// registration that was not answered is repeated; with the same key that is not
// a second use of the token.
//
// Thread-safe. The destructor waits for the requests under way.
class Registrar {
 public:
  struct Options {
    HttpsClient::Options gateway;
    Secret token;  // May be empty if every machine is kept.
    int machines = 0;
    std::string name_prefix;
    // Accept an endpoint that is not on this machine.
    bool any_endpoint = false;
    int workers = 4;
  };

  struct Progress {
    int loaded = 0;
    int registered = 0;
    // Set once nothing more will happen: OK if every machine has an identity.
    std::optional<absl::Status> ended;
  };

  // `clock` and `store` must outlive it.
  Registrar(const Clock& clock, const IdentityStore& store, Options options);
  ~Registrar();

  Progress progress() const ABSL_LOCKS_EXCLUDED(mu_);

  // Every identity, in order. Once, after an `ended` that is OK.
  std::vector<Identity> TakeIdentities() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Worker;

  void Next(Worker& worker);
  void Try(Worker& worker, int number, int attempt);
  absl::StatusOr<Identity> Register(Worker& worker, int number);
  void Got(int number, Identity identity, bool loaded) ABSL_LOCKS_EXCLUDED(mu_);
  void Fail(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const Clock& clock_;
  const IdentityStore& store_;
  const Options options_;

  mutable Mutex mu_;
  int next_ ABSL_GUARDED_BY(mu_) = 0;
  Progress progress_ ABSL_GUARDED_BY(mu_);
  std::vector<Identity> identities_ ABSL_GUARDED_BY(mu_);

  std::vector<std::unique_ptr<Worker>> workers_;  // Last: they use the rest.
};

// What a machine of the swarm says of itself.
v1::AgentFacts FactsOf(const std::string& name_prefix, int number);

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_REGISTRAR_H_
