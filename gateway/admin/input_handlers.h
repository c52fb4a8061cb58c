// What callers pipe into commands, or type into sessions.

#ifndef MUSTER_GATEWAY_ADMIN_INPUT_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_INPUT_HANDLERS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/long_poll.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/event_loop.h"
#include "muster/v1/session.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class InputHandlers {
 public:
  InputHandlers(EventLoop& loop, Fleet& fleet, StoreClient& store)
      : fleet_(fleet), store_(store), polls_(loop) {}
  void AddTo(HandlerTable& table);

  // As those of CommandHandlers.
  void EndWaits();

  // A part of what a command reads.
  struct Part {
    CommandId id;
    uint64_t offset = 0;
    std::string data;
    bool end = false;
    std::optional<WindowSize> size;
  };
  // Absent: the command has ended, or it is not `wanted` any more.
  using Written =
      std::function<void(std::optional<InputDesk::Progress> progress)>;
  // Writes it, and waits until there was room for some of it, as long as it is
  // `wanted`.
  void Put(Part part, absl::Duration wait, std::function<bool()> wanted,
           Written written);

 private:
  using Found = absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)>;

  void WriteInput(const Caller&, const v1::WriteInputRequest&,
                  Reply<v1::WriteInputResponse>);
  // A command that reads. NotFound also for another org's.
  void Find(const OrgId& org, const CommandId& id, Found found);

  Fleet& fleet_;
  StoreClient& store_;
  LongPoll polls_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_INPUT_HANDLERS_H_
