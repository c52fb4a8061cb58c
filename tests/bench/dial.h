// A connection to a fleet port, as an agent of a swarm makes it.

#ifndef MUSTER_TESTS_BENCH_DIAL_H_
#define MUSTER_TESTS_BENCH_DIAL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"
#include "tools/swarm/identity_store.h"

namespace muster::bench {

// The identities that a swarm keeps in the folder `state`.
absl::StatusOr<swarm::IdentityStore> IdentitiesIn(const std::string& state);

// A channel of its own; with mutual TLS as machine `number`, or, without
// `identities`, in plain text. nullptr if there is no such machine.
std::shared_ptr<grpc::Channel> Dial(const std::string& endpoint,
                                    const swarm::IdentityStore* identities,
                                    int number);

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_DIAL_H_
