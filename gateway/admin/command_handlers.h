// Operations on commands.

#ifndef MUSTER_GATEWAY_ADMIN_COMMAND_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_COMMAND_HANDLERS_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/long_poll.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/event_loop.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

struct CommandDefaults {
  absl::Duration timeout = absl::Hours(1);
  absl::Duration delivery_timeout = absl::Seconds(30);
  absl::Duration queue_ttl = absl::Hours(1);  // With if_offline queue.
  absl::Duration kill_grace = absl::Seconds(10);
  uint64_t output_bytes_max = 64 << 20;  // Per stream.
};

// What a valid request asks to run.
CommandSpec ToSpec(const v1::SubmitCommandRequest& request,
                   const CommandDefaults& defaults);

// Lives on the fleet loop; everything given must outlive it.
class CommandHandlers {
 public:
  CommandHandlers(EventLoop& loop, Fleet& fleet, StoreClient& store,
                  CommandDefaults defaults)
      : loop_(loop),
        fleet_(fleet),
        store_(store),
        defaults_(defaults),
        polls_(loop) {}
  void AddTo(HandlerTable& table);

  // The gateway stops: who waits for a command is answered as at the end of the
  // wait, and nobody waits any more.
  void EndWaits();

 private:
  using Found = absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)>;

  void Submit(const Caller&, const v1::SubmitCommandRequest&,
              Reply<v1::Command>);
  void SubmitNow(CommandRecord command, Reply<v1::Command> reply);
  void List(const Caller&, const v1::ListCommandsRequest&,
            Reply<v1::ListCommandsResponse>);
  void Get(const Caller&, const v1::GetCommandRequest&, Reply<v1::Command>);
  void Cancel(const Caller&, const v1::CancelCommandRequest&,
              Reply<v1::Command>);
  void Output(const Caller&, const v1::GetOutputRequest&,
              Reply<v1::GetOutputResponse>);
  void ReadOutput(const Caller&, const v1::ReadOutputRequest&,
                  Reply<v1::RawBody>);

  // The command as it is now, open or stored. NotFound also for another org's.
  void Find(const OrgId& org, const CommandId& id, Found found);

  // As LongPoll: with the record, or why there is none.
  using Attempt = std::function<void(absl::StatusOr<CommandRecord> command,
                                     bool last, LongPoll::Again again)>;
  void WaitFor(const OrgId& org, const CommandId& id, absl::Duration wait,
               Attempt attempt);

  v1::Command Render(const CommandRecord& command);

  EventLoop& loop_;
  Fleet& fleet_;
  StoreClient& store_;
  const CommandDefaults defaults_;
  LongPoll polls_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_COMMAND_HANDLERS_H_
