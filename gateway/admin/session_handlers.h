// Operations on sessions.

#ifndef MUSTER_GATEWAY_ADMIN_SESSION_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_SESSION_HANDLERS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/admin/command_handlers.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/input_handlers.h"
#include "gateway/admin/long_poll.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/event_loop.h"
#include "muster/v1/fleet_admin.pb.h"
#include "muster/v1/session.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class SessionHandlers {
 public:
  SessionHandlers(EventLoop& loop, Fleet& fleet, StoreClient& store,
                  InputHandlers& input, CommandDefaults defaults)
      : loop_(loop),
        fleet_(fleet),
        store_(store),
        input_(input),
        defaults_(defaults),
        polls_(loop) {}
  void AddTo(HandlerTable& table);

  // As those of CommandHandlers.
  void EndWaits();

 private:
  using Found = absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)>;

  void Open(const Caller&, const v1::OpenSessionRequest&, Reply<v1::Session>);
  void OpenNow(CommandRecord session, Reply<v1::Session> reply);
  void List(const Caller&, const v1::ListSessionsRequest&,
            Reply<v1::ListSessionsResponse>);
  void Get(const Caller&, const v1::GetSessionRequest&, Reply<v1::Session>);
  void Attach(const Caller&, const v1::AttachSessionRequest&,
              Reply<v1::AttachSessionResponse>);
  void Detach(const Caller&, const v1::DetachSessionRequest&,
              Reply<v1::Session>);
  void Read(const Caller&, const v1::ReadSessionRequest&,
            Reply<v1::ReadSessionResponse>);
  void Write(const Caller&, const v1::WriteSessionRequest&,
             Reply<v1::WriteSessionResponse>);
  void End(const Caller&, const v1::EndSessionRequest&, Reply<v1::Session>);
  void Recording(const Caller&, const v1::GetRecordingRequest&,
                 Reply<v1::RawBody>);

  // The session as it is now, open or stored. NotFound also for another org's.
  void Find(const OrgId& org, const CommandId& id, Found found);

  // Why this attachment does not type; OK if it does.
  absl::Status CheckTypes(const CommandId& id, const std::string& attachment);
  void AttachNow(const CommandRecord& session,
                 Reply<v1::AttachSessionResponse>& reply);
  v1::Session Render(const CommandRecord& session);

  EventLoop& loop_;
  Fleet& fleet_;
  StoreClient& store_;
  InputHandlers& input_;
  const CommandDefaults defaults_;
  LongPoll polls_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_SESSION_HANDLERS_H_
