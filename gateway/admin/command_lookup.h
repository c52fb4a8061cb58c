// Which command or session a request means.

#ifndef MUSTER_GATEWAY_ADMIN_COMMAND_LOOKUP_H_
#define MUSTER_GATEWAY_ADMIN_COMMAND_LOOKUP_H_

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/command_desk.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {

// A session is a command with a terminal; who asks for one does not find the
// other.
enum class CommandKind { kCommand, kSession };

// Hands the one with this id to `found`, as it is in memory if it is open, else
// as it is stored: NotFound, naming the kind, if this org has none; other
// errors are the store's. On the fleet loop, perhaps before it returns. All
// must outlive the call.
void LookUp(const CommandDesk& commands, StoreClient& store, const OrgId& org,
            const CommandId& id, CommandKind kind,
            absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> found);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_COMMAND_LOOKUP_H_
