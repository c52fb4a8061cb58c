// A request that is repeated has the answer that it had, whatever has changed.

#ifndef MUSTER_GATEWAY_ADMIN_KNOWN_REQUEST_H_
#define MUSTER_GATEWAY_ADMIN_KNOWN_REQUEST_H_

#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "gateway/store/store_client.h"

namespace muster::gateway {

// Calls `known` if this org has submitted a command with this idempotency key,
// else `unknown`, or if nobody can tell. On the fleet loop. `store` must
// outlive the call.
inline void IfKnown(StoreClient& store, OrgId org, std::string key,
                    absl::AnyInvocable<void()> known,
                    absl::AnyInvocable<void()> unknown) {
  if (key.empty()) {
    unknown();
    return;
  }
  store.Read([org = std::move(org), key = std::move(key)](
                 FleetStore& reads) { return reads.FindCommand(org, key); },
             [known = std::move(known), unknown = std::move(unknown)](
                 const absl::StatusOr<CommandRecord>& command) mutable {
               if (command.ok()) {
                 known();
               } else {
                 unknown();
               }
             });
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_KNOWN_REQUEST_H_
