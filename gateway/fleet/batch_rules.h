// How a batch goes on: whose turn it is, and when it is over.
//
//   running ──▶ finished                    every machine had its turn
//      ├──▶ stopping ──▶ stopped            too many failed, or a canary
//      └──▶ cancelling ──▶ cancelled        somebody asked
//
// Pure functions over records; told nothing else.

#ifndef MUSTER_GATEWAY_FLEET_BATCH_RULES_H_
#define MUSTER_GATEWAY_FLEET_BATCH_RULES_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// Where a machine counts whose command is this one.
uint32_t BatchCounts::*BatchCountOf(const CommandRecord& command);

bool HasEnded(BatchState state);

// How many machines may have their turn now. Until `canary` of them have
// succeeded, only so many as could still make that number; a machine where the
// command did not run proves nothing, and another one takes its place.
uint32_t TurnsFree(const BatchRecord& batch);

// A machine came out, or somebody asked to stop: changes the state of `batch`
// and says why. A canary that failed, or of which nobody knows, stops it; so do
// `failures_max` machines that failed or of which nobody knows.
void Advance(BatchRecord& batch);

// Nothing more is started in it, and why.
void StopBatch(BatchRecord& batch, std::string reason);

// Asks it to end. False if it has ended, or is asked already.
bool CancelBatch(BatchRecord& batch);

// "50" or "10%" of `targets`, rounded up: 1 … targets. InvalidArgument, naming
// `field`, for anything else than a whole number of at least 1 or a percentage
// of 1 … 100.
absl::StatusOr<uint32_t> CountOf(std::string_view field, std::string_view text,
                                 uint32_t targets);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_BATCH_RULES_H_
