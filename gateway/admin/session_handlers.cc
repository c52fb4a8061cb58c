#include "gateway/admin/session_handlers.h"

#include <algorithm>
#include <utility>

#include "gateway/admin/asciicast.h"
#include "gateway/admin/command_lookup.h"
#include "gateway/admin/convert.h"
#include "gateway/admin/known_request.h"
#include "gateway/admin/page_token.h"
#include "gateway/fleet/command_rules.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

constexpr absl::Duration kTimeoutDefault = absl::Hours(24);
constexpr absl::Duration kKeepDefault = absl::Minutes(10);
constexpr char kTerminalTypeDefault[] = "xterm-256color";
constexpr absl::Duration kAttachWait = absl::Seconds(10);
constexpr size_t kPieceBytesMax = 64 << 10;
// A recording as it is stored, which is bounded when it is made.
constexpr size_t kRecordingBytesMax = 64 << 20;

CommandSpec ToSpec(const v1::OpenSessionRequest& request,
                   const CommandDefaults& defaults) {
  CommandSpec spec{.shell = Shell::kExec,
                   .text = "",
                   .argv = {request.argv().begin(), request.argv().end()},
                   .timeout = request.has_timeout()
                                  ? wire::FromProto(request.timeout())
                                  : kTimeoutDefault,
                   .delivery_timeout = defaults.delivery_timeout,
                   .kill_grace = defaults.kill_grace,
                   .output_bytes_max = 0,
                   .surroundings = ToSurroundings(request.surroundings())};
  Terminal& terminal = spec.terminal.emplace();
  if (request.has_size()) terminal.size = ToWindowSize(request.size());
  terminal.type = request.terminal_type().empty() ? kTerminalTypeDefault
                                                  : request.terminal_type();
  terminal.keep =
      request.has_keep() ? wire::FromProto(request.keep()) : kKeepDefault;
  terminal.recorded = request.record();
  return spec;
}

}  // namespace

void SessionHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.OpenSession", this, &SessionHandlers::Open);
  table.Add("muster.v1.FleetAdmin.ListSessions", this, &SessionHandlers::List);
  table.Add("muster.v1.FleetAdmin.GetSession", this, &SessionHandlers::Get);
  table.Add("muster.v1.FleetAdmin.AttachSession", this,
            &SessionHandlers::Attach);
  table.Add("muster.v1.FleetAdmin.DetachSession", this,
            &SessionHandlers::Detach);
  table.Add("muster.v1.FleetAdmin.ReadSession", this, &SessionHandlers::Read);
  table.Add("muster.v1.FleetAdmin.WriteSession", this, &SessionHandlers::Write);
  table.Add("muster.v1.FleetAdmin.EndSession", this, &SessionHandlers::End);
  table.Add("muster.v1.FleetAdmin.GetRecording", this,
            &SessionHandlers::Recording);
}

void SessionHandlers::EndWaits() {
  polls_.End();
  fleet_.sessions().WakeWatchers();
}

v1::Session SessionHandlers::Render(const CommandRecord& session) {
  const Machine* machine = fleet_.machines().Find(session.agent);
  return ToSession(session,
                   machine == nullptr ? "" : machine->record.facts.hostname,
                   fleet_.sessions().IsAttached(session.id));
}

void SessionHandlers::Open(const Caller& caller,
                           const v1::OpenSessionRequest& request,
                           Reply<v1::Session> reply) {
  if (auto s = wire::ValidateOpenSession(request); !s.ok()) {
    reply(s);
    return;
  }
  const Machine* machine =
      fleet_.machines().FindLiving(caller.org, AgentId(request.agent_id()));
  if (machine == nullptr) {
    reply(NotFound("agent", request.agent_id()));
    return;
  }
  if (!fleet_.sessions().HasRoom()) {
    reply(TooManySessions(fleet_.options().sessions.open_max));
    return;
  }
  CommandRecord session;
  session.id = CommandId(NewUuid(loop_.clock().Wall()));
  session.agent = machine->record.id;
  session.org = caller.org;
  session.spec = ToSpec(request, defaults_);
  session.issued_by = caller.principal;
  session.idempotency_key = request.idempotency_key();
  session.purpose = request.purpose();
  session.created_at = loop_.clock().Wall();
  if (machine->record.status == Status::kOnline) {
    OpenNow(std::move(session), std::move(reply));
    return;
  }
  const absl::Status unreachable = AgentUnreachable(fleet_.Why(*machine));
  auto shared = std::make_shared<Reply<v1::Session>>(std::move(reply));
  IfKnown(
      store_, caller.org, request.idempotency_key(),
      [this, session = std::move(session), shared]() mutable {
        OpenNow(std::move(session), std::move(*shared));
      },
      [unreachable, shared] { (*shared)(unreachable); });
}

void SessionHandlers::OpenNow(CommandRecord session, Reply<v1::Session> reply) {
  fleet_.commands().Submit(std::move(session),
                           [this, reply = std::move(reply)](
                               absl::StatusOr<CommandRecord> stored) mutable {
                             if (!stored.ok()) {
                               reply(stored.status());
                               return;
                             }
                             fleet_.sessions().Opened(*stored);
                             reply(Render(*stored));
                           });
}

void SessionHandlers::List(const Caller& caller,
                           const v1::ListSessionsRequest& request,
                           Reply<v1::ListSessionsResponse> reply) {
  if (auto s = wire::ValidatePageSize(request.limit()); !s.ok()) {
    reply(s);
    return;
  }
  CommandFilter filter{.org = caller.org};
  filter.sessions = true;
  if (!request.agent_id().empty()) filter.agent = AgentId(request.agent_id());
  if (!request.ended()) {
    filter.states = {CommandState::kQueued, CommandState::kDispatched,
                     CommandState::kReceived, CommandState::kRunning};
  }
  if (!request.page_token().empty()) {
    auto before = DecodeIdToken(request.page_token());
    if (!before.ok()) {
      reply(before.status());
      return;
    }
    filter.before = CommandId(*std::move(before));
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  store_.Read(
      [filter = std::move(filter), limit](FleetStore& store) {
        return store.ListCommands(filter, limit + 1);
      },
      [this, limit, reply = std::move(reply)](
          absl::StatusOr<std::vector<CommandRecord>> sessions) mutable {
        if (!sessions.ok()) {
          reply(sessions.status());
          return;
        }
        v1::ListSessionsResponse response;
        if (sessions->size() > limit) {
          sessions->resize(limit);
          response.set_next_page_token(sessions->back().id.str());
        }
        for (const CommandRecord& session : *sessions) {
          *response.add_sessions() = Render(session);
        }
        reply(std::move(response));
      });
}

void SessionHandlers::Get(const Caller& caller,
                          const v1::GetSessionRequest& request,
                          Reply<v1::Session> reply) {
  if (auto s = wire::ValidateWait(request.wait()); !s.ok()) {
    reply(s);
    return;
  }
  const CommandId id(request.session_id());
  auto shared = std::make_shared<Reply<v1::Session>>(std::move(reply));
  polls_.Run(
      wire::FromProto(request.wait()),
      [this, id](LongPoll::Again changed) {
        return fleet_.commands().Watch(id, std::move(changed));
      },
      [this, org = caller.org, id, shared](bool last, LongPoll::Again again) {
        Find(org, id,
             [this, last, shared, again = std::move(again)](
                 absl::StatusOr<CommandRecord> session) mutable {
               if (!session.ok()) {
                 (*shared)(session.status());
               } else if (last || IsTerminal(session->state)) {
                 (*shared)(Render(*session));
               } else {
                 again();
               }
             });
      });
}

void SessionHandlers::Attach(const Caller& caller,
                             const v1::AttachSessionRequest& request,
                             Reply<v1::AttachSessionResponse> reply) {
  const CommandId id(request.session_id());
  auto shared =
      std::make_shared<Reply<v1::AttachSessionResponse>>(std::move(reply));
  polls_.Run(
      kAttachWait,
      [this, id](LongPoll::Again changed) {
        return fleet_.input().Watch(id, std::move(changed));
      },
      [this, org = caller.org, id, shared](bool last, LongPoll::Again again) {
        Find(org, id,
             [this, id, last, shared, again = std::move(again)](
                 absl::StatusOr<CommandRecord> session) mutable {
               if (!session.ok()) {
                 (*shared)(session.status());
               } else if (IsTerminal(session->state) ||
                          fleet_.input().Find(id)) {
                 AttachNow(*session, *shared);
               } else if (last) {
                 (*shared)(InputUnknown());
               } else {
                 again();
               }
             });
      });
}

void SessionHandlers::AttachNow(const CommandRecord& session,
                                Reply<v1::AttachSessionResponse>& reply) {
  v1::AttachSessionResponse response;
  response.set_attachment_id(NewUuid(loop_.clock().Wall()));
  // One that has ended can still be read for a while, and says how it ended.
  (void)fleet_.sessions().Attach(session.id, response.attachment_id());
  response.set_output_offset(fleet_.sessions().Begin(session.id));
  if (const auto input = fleet_.input().Find(session.id)) {
    response.set_input_offset(input->accepted);
  }
  *response.mutable_session() = Render(session);
  reply(std::move(response));
}

void SessionHandlers::Detach(const Caller& caller,
                             const v1::DetachSessionRequest& request,
                             Reply<v1::Session> reply) {
  const CommandId id(request.session_id());
  Find(caller.org, id,
       [this, id, attachment = request.attachment_id(),
        reply =
            std::move(reply)](absl::StatusOr<CommandRecord> session) mutable {
         if (!session.ok()) {
           reply(session.status());
           return;
         }
         fleet_.sessions().Detach(id, attachment);
         reply(Render(*session));
       });
}

absl::Status SessionHandlers::CheckTypes(const CommandId& id,
                                         const std::string& attachment) {
  const SessionDesk& desk = fleet_.sessions();
  // Of one that is over nobody types any more, and its end may be read.
  if (!desk.Has(id) || desk.Types(id, attachment)) return absl::OkStatus();
  return desk.IsFree(id) ? NotAttached() : SessionTakenOver();
}

void SessionHandlers::Read(const Caller& caller,
                           const v1::ReadSessionRequest& request,
                           Reply<v1::ReadSessionResponse> reply) {
  if (auto s = wire::ValidateWait(request.wait()); !s.ok()) {
    reply(s);
    return;
  }
  const CommandId id(request.session_id());
  auto shared =
      std::make_shared<Reply<v1::ReadSessionResponse>>(std::move(reply));
  polls_.Run(
      wire::FromProto(request.wait()),
      [this, id](LongPoll::Again changed) {
        return fleet_.sessions().Watch(id, std::move(changed));
      },
      [this, org = caller.org, id, request, shared](bool last,
                                                    LongPoll::Again again) {
        Find(org, id,
             [this, id, request, last, shared, again = std::move(again)](
                 absl::StatusOr<CommandRecord> session) mutable {
               if (!session.ok()) {
                 (*shared)(session.status());
                 return;
               }
               SessionDesk& desk = fleet_.sessions();
               const absl::Status types =
                   request.attachment_id().empty()
                       ? absl::OkStatus()
                       : CheckTypes(id, request.attachment_id());
               if (!types.ok()) {
                 (*shared)(types);
                 return;
               }
               v1::ReadSessionResponse response;
               auto piece = desk.Read(id, request.offset(),
                                      request.attachment_id(), kPieceBytesMax);
               if (piece.ok()) {
                 response.set_offset(piece->offset);
                 response.set_end(piece->end);
                 response.set_data(std::move(piece->data));
               } else {
                 // What there was and is not here any more is told as missed.
                 response.set_offset(std::max(
                     request.offset(), session->stdout_total.value_or(0)));
                 response.set_end(IsTerminal(session->state));
               }
               if (response.data().empty() && !response.end() && !last) {
                 again();
                 return;
               }
               *response.mutable_session() = Render(*session);
               (*shared)(std::move(response));
             });
      });
}

void SessionHandlers::Write(const Caller& caller,
                            const v1::WriteSessionRequest& request,
                            Reply<v1::WriteSessionResponse> reply) {
  absl::Status valid = wire::ValidateInputData(request.data());
  if (valid.ok() && request.attachment_id().empty()) {
    valid = absl::InvalidArgumentError(
        "attachment_id: must be what attach answered, got none");
  }
  if (valid.ok()) valid = wire::ValidateWait(request.wait());
  if (valid.ok() && request.has_size()) {
    valid = wire::ValidateWindowSize("size", request.size());
  }
  if (!valid.ok()) {
    reply(valid);
    return;
  }
  const CommandId id(request.session_id());
  Find(caller.org, id,
       [this, id, request, reply = std::move(reply)](
           absl::StatusOr<CommandRecord> session) mutable {
         if (!session.ok()) {
           reply(session.status());
           return;
         }
         if (auto s = CheckTypes(id, request.attachment_id()); !s.ok()) {
           reply(s);
           return;
         }
         InputHandlers::Part part{.id = id,
                                  .offset = request.offset(),
                                  .data = request.data(),
                                  .end = false,
                                  .size = std::nullopt};
         if (request.has_size()) part.size = ToWindowSize(request.size());
         auto shared = std::make_shared<Reply<v1::WriteSessionResponse>>(
             std::move(reply));
         input_.Put(
             std::move(part), wire::FromProto(request.wait()),
             [this, id, attachment = request.attachment_id()] {
               return CheckTypes(id, attachment).ok();
             },
             [this, id, attachment = request.attachment_id(), shared,
              offset = request.offset() + request.data().size()](
                 std::optional<InputDesk::Progress> progress) {
               // Somebody may have attached while it waited for room.
               const absl::Status types = CheckTypes(id, attachment);
               if (!progress && !types.ok()) {
                 (*shared)(types);
                 return;
               }
               v1::WriteSessionResponse response;
               // Of a session that has ended nobody reads anything.
               response.set_accepted(progress ? progress->accepted : offset);
               response.set_taken(progress ? progress->taken : 0);
               (*shared)(std::move(response));
             });
       });
}

void SessionHandlers::End(const Caller& caller,
                          const v1::EndSessionRequest& request,
                          Reply<v1::Session> reply) {
  const CommandId id(request.session_id());
  Find(caller.org, id,
       [this, id, who = caller.principal, reply = std::move(reply)](
           absl::StatusOr<CommandRecord> session) mutable {
         if (!session.ok()) {
           reply(session.status());
           return;
         }
         if (fleet_.commands().Find(id) == nullptr) {
           reply(Render(*session));  // It has ended; so it is as it is.
           return;
         }
         fleet_.commands().Cancel(
             id,
             [this, reply = std::move(reply)](
                 absl::StatusOr<CommandRecord> cancelled) mutable {
               if (!cancelled.ok()) {
                 reply(cancelled.status());
               } else {
                 reply(Render(*cancelled));
               }
             },
             "ended by " + who);
       });
}

void SessionHandlers::Recording(const Caller& caller,
                                const v1::GetRecordingRequest& request,
                                Reply<v1::RawBody> reply) {
  const CommandId id(request.session_id());
  Find(caller.org, id,
       [this, id, reply = std::move(reply)](
           absl::StatusOr<CommandRecord> session) mutable {
         if (!session.ok()) {
           reply(session.status());
           return;
         }
         if (!session->spec.terminal->recorded) {
           reply(WithCode(absl::FailedPreconditionError(
                              "this session was not recorded: open one with "
                              "`record` to have a recording"),
                          "not_recorded"));
           return;
         }
         store_.Read(
             [id](FleetStore& store) {
               return store.ReadOutput(id, 0, 0, kRecordingBytesMax);
             },
             [session = *std::move(session), reply = std::move(reply)](
                 absl::StatusOr<std::vector<OutputRecord>> output) mutable {
               if (!output.ok()) {
                 reply(output.status());
                 return;
               }
               v1::RawBody body;
               body.set_content_type("application/x-asciicast");
               body.set_data(ToAsciicast(session, *output));
               reply(std::move(body));
             });
       });
}

void SessionHandlers::Find(const OrgId& org, const CommandId& id, Found found) {
  LookUp(fleet_.commands(), store_, org, id, CommandKind::kSession,
         std::move(found));
}

}  // namespace muster::gateway
