#include "gateway/admin/input_handlers.h"
#include "gateway/admin/command_lookup.h"

#include <memory>
#include <utility>

#include "gateway/fleet/command_rules.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {

void InputHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.WriteInput", this,
            &InputHandlers::WriteInput);
}

void InputHandlers::EndWaits() {
  polls_.End();
  fleet_.input().WakeWatchers();
}

void InputHandlers::Put(Part part, absl::Duration wait,
                        std::function<bool()> wanted, Written written) {
  auto shared = std::make_shared<Part>(std::move(part));
  polls_.Run(
      wait,
      [this, shared](LongPoll::Again changed) {
        return fleet_.input().Watch(shared->id, std::move(changed));
      },
      [this, shared, wanted = std::move(wanted), written = std::move(written)](
          bool last, LongPoll::Again again) {
        const CommandRecord* open = fleet_.commands().Find(shared->id);
        if (open == nullptr || IsTerminal(open->state) || !wanted()) {
          written(std::nullopt);
          return;
        }
        const auto progress =
            fleet_.input().Write(shared->id, shared->offset, shared->data,
                                 shared->end, shared->size);
        const bool waits = !progress || (progress->accepted == shared->offset &&
                                         !shared->data.empty());
        if (waits && !last) {
          again();
        } else {
          // Nothing is known of it yet: the caller may come again.
          written(progress.value_or(InputDesk::Progress{shared->offset, 0}));
        }
      });
}

void InputHandlers::WriteInput(const Caller& caller,
                               const v1::WriteInputRequest& request,
                               Reply<v1::WriteInputResponse> reply) {
  absl::Status valid = wire::ValidateInputData(request.data());
  if (valid.ok()) valid = wire::ValidateWait(request.wait());
  if (!valid.ok()) {
    reply(valid);
    return;
  }
  const CommandId id(request.command_id());
  Find(caller.org, id,
       [this, id, request, reply = std::move(reply)](
           absl::StatusOr<CommandRecord> command) mutable {
         if (!command.ok()) {
           reply(command.status());
           return;
         }
         auto shared =
             std::make_shared<Reply<v1::WriteInputResponse>>(std::move(reply));
         Put(
             {.id = id,
              .offset = request.offset(),
              .data = request.data(),
              .end = request.end(),
              .size = std::nullopt},
             wire::FromProto(request.wait()), [] { return true; },
             [shared, offset = request.offset() + request.data().size()](
                 std::optional<InputDesk::Progress> progress) {
               v1::WriteInputResponse response;
               response.set_accepted(progress ? progress->accepted : offset);
               response.set_taken(progress ? progress->taken : 0);
               response.set_closed(!progress || progress->closed);
               (*shared)(std::move(response));
             });
       });
}

void InputHandlers::Find(const OrgId& org, const CommandId& id, Found found) {
  LookUp(fleet_.commands(), store_, org, id, CommandKind::kCommand,
         [found =
              std::move(found)](absl::StatusOr<CommandRecord> command) mutable {
           if (command.ok() && !command->spec.input_streamed) {
             command = WithCode(absl::FailedPreconditionError(
                                    "input_streamed: this command was "
                                    "submitted without it, and reads nothing"),
                                "input_not_streamed");
           }
           found(std::move(command));
         });
}

}  // namespace muster::gateway
