#include "gateway/admin/command_lookup.h"

#include <utility>

#include "gateway/fleet/errors.h"

namespace muster::gateway {

void LookUp(const CommandDesk& commands, StoreClient& store, const OrgId& org,
            const CommandId& id, CommandKind kind,
            absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> found) {
  auto check = [org, id, kind](absl::StatusOr<CommandRecord> record)
      -> absl::StatusOr<CommandRecord> {
    if (!record.ok() && !absl::IsNotFound(record.status())) return record;
    const bool session = kind == CommandKind::kSession;
    if (record.ok() && record->org == org &&
        record->spec.terminal.has_value() == session) {
      return record;
    }
    return NotFound(session ? "session" : "command", id.str());
  };
  if (const CommandRecord* open = commands.Find(id)) {
    found(check(*open));
    return;
  }
  store.Read([id](FleetStore& reads) { return reads.GetCommand(id); },
             [check, found = std::move(found)](
                 absl::StatusOr<CommandRecord> record) mutable {
               found(check(std::move(record)));
             });
}

}  // namespace muster::gateway
