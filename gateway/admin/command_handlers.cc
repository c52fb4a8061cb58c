#include "gateway/admin/command_handlers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "fmt/format.h"
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

// An offset that skips a stream.
constexpr uint64_t kBeyondEnd = std::numeric_limits<uint64_t>::max();

absl::Duration DurationOr(bool present, const google::protobuf::Duration& d,
                          absl::Duration otherwise) {
  return present ? wire::FromProto(d) : otherwise;
}

absl::Duration TimeToBegin(const v1::SubmitCommandRequest& request,
                           const CommandDefaults& defaults) {
  return request.if_offline() == v1::IF_OFFLINE_QUEUE
             ? DurationOr(request.has_queue_ttl(), request.queue_ttl(),
                          defaults.queue_ttl)
             : DurationOr(request.has_delivery_timeout(),
                          request.delivery_timeout(),
                          defaults.delivery_timeout);
}

bool HasEnded(const CommandRecord& command) {
  return IsTerminal(command.state) && IsFinished(command);
}

absl::Status CheckBytesMax(uint32_t bytes_max) {
  if (bytes_max <= wire::kOutputBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "bytes_max: must be 1 to {}, got {}", wire::kOutputBytesMax, bytes_max));
}

// The bytes of one stream from `offset` on, out of `chunks`: at most
// `bytes_max`, and none that came after `command` was looked at.
absl::StatusOr<v1::RawBody> ToRawBody(const CommandRecord& command,
                                      Stream stream, uint64_t offset,
                                      size_t bytes_max,
                                      const std::vector<OutputRecord>& chunks) {
  const uint64_t size =
      stream == Stream::kStdout ? command.stdout_bytes : command.stderr_bytes;
  v1::RawBody body;
  body.set_content_type("application/octet-stream");
  body.mutable_part()->set_offset(offset);
  body.mutable_part()->set_size(size);
  body.mutable_part()->set_may_grow(!OutputComplete(command));
  std::string& data = *body.mutable_data();
  for (const OutputRecord& chunk : chunks) {
    if (chunk.offset != offset + data.size()) break;
    data += chunk.data;
  }
  const uint64_t there = size - std::min(offset, size);
  data.resize(std::min<uint64_t>({data.size(), bytes_max, there}));
  if (data.empty() && there > 0) {
    return NotFound("output of command", command.id.str());  // It has expired.
  }
  return body;
}

}  // namespace

CommandSpec ToSpec(const v1::SubmitCommandRequest& request,
                   const CommandDefaults& defaults) {
  CommandSpec spec{
      .shell = ToShell(request.shell_type()).value_or(Shell::kBash),
      .text = request.command(),
      .argv = {request.argv().begin(), request.argv().end()},
      .timeout = DurationOr(request.has_timeout(), request.timeout(),
                            defaults.timeout),
      .delivery_timeout = TimeToBegin(request, defaults),
      .kill_grace = DurationOr(request.has_kill_grace(), request.kill_grace(),
                               defaults.kill_grace),
      .output_bytes_max = request.has_output_bytes_max()
                              ? request.output_bytes_max()
                              : defaults.output_bytes_max,
      .surroundings = ToSurroundings(request.surroundings()),
      .terminal = std::nullopt,
      .input_streamed = request.input_streamed()};
  return spec;
}

void CommandHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.SubmitCommand", this,
            &CommandHandlers::Submit);
  table.Add("muster.v1.FleetAdmin.ListCommands", this, &CommandHandlers::List);
  table.Add("muster.v1.FleetAdmin.GetCommand", this, &CommandHandlers::Get);
  table.Add("muster.v1.FleetAdmin.CancelCommand", this,
            &CommandHandlers::Cancel);
  table.Add("muster.v1.FleetAdmin.GetOutput", this, &CommandHandlers::Output);
  table.Add("muster.v1.FleetAdmin.ReadOutput", this,
            &CommandHandlers::ReadOutput);
}

void CommandHandlers::EndWaits() {
  polls_.End();
  fleet_.commands().WakeWatchers();
}

v1::Command CommandHandlers::Render(const CommandRecord& command) {
  const Machine* machine = fleet_.machines().Find(command.agent);
  return ToProto(command,
                 machine == nullptr ? "" : machine->record.facts.hostname);
}

void CommandHandlers::Submit(const Caller& caller,
                             const v1::SubmitCommandRequest& request,
                             Reply<v1::Command> reply) {
  if (auto s = wire::ValidateSubmitCommand(request); !s.ok()) {
    reply(s);
    return;
  }
  const Machine* machine =
      fleet_.machines().FindLiving(caller.org, AgentId(request.agent_id()));
  if (machine == nullptr) {
    reply(NotFound("agent", request.agent_id()));
    return;
  }
  CommandRecord command;
  command.id = CommandId(NewUuid(loop_.clock().Wall()));
  command.agent = machine->record.id;
  command.org = caller.org;
  command.spec = ToSpec(request, defaults_);
  command.issued_by = caller.principal;
  command.idempotency_key = request.idempotency_key();
  command.labels = {request.labels().begin(), request.labels().end()};
  command.purpose = request.purpose();
  command.created_at = loop_.clock().Wall();
  if (machine->record.status == Status::kOnline ||
      request.if_offline() == v1::IF_OFFLINE_QUEUE) {
    SubmitNow(std::move(command), std::move(reply));
    return;
  }
  const absl::Status unreachable = AgentUnreachable(fleet_.Why(*machine));
  auto shared = std::make_shared<Reply<v1::Command>>(std::move(reply));
  IfKnown(
      store_, caller.org, request.idempotency_key(),
      [this, command = std::move(command), shared]() mutable {
        SubmitNow(std::move(command), std::move(*shared));
      },
      [unreachable, shared] { (*shared)(unreachable); });
}

void CommandHandlers::SubmitNow(CommandRecord command,
                                Reply<v1::Command> reply) {
  fleet_.commands().Submit(std::move(command),
                           [this, reply = std::move(reply)](
                               absl::StatusOr<CommandRecord> stored) mutable {
                             if (!stored.ok()) {
                               reply(stored.status());
                             } else {
                               reply(Render(*stored));
                             }
                           });
}

void CommandHandlers::List(const Caller& caller,
                           const v1::ListCommandsRequest& request,
                           Reply<v1::ListCommandsResponse> reply) {
  if (auto s = wire::ValidatePageSize(request.limit()); !s.ok()) {
    reply(s);
    return;
  }
  CommandFilter filter{.org = caller.org};
  if (!request.agent_id().empty()) filter.agent = AgentId(request.agent_id());
  filter.batch = BatchId(request.batch_id());
  for (const int state : request.state()) {
    if (const auto known =
            ToCommandState(static_cast<v1::CommandState>(state))) {
      filter.states.push_back(*known);
    }
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
          absl::StatusOr<std::vector<CommandRecord>> commands) mutable {
        if (!commands.ok()) {
          reply(commands.status());
          return;
        }
        v1::ListCommandsResponse response;
        if (commands->size() > limit) {
          commands->resize(limit);
          response.set_next_page_token(commands->back().id.str());
        }
        for (const CommandRecord& command : *commands) {
          // What is open is known better here.
          const CommandRecord* open = fleet_.commands().Find(command.id);
          *response.add_commands() = Render(open ? *open : command);
        }
        reply(std::move(response));
      });
}

void CommandHandlers::Get(const Caller& caller,
                          const v1::GetCommandRequest& request,
                          Reply<v1::Command> reply) {
  if (auto s = wire::ValidateWait(request.wait()); !s.ok()) {
    reply(s);
    return;
  }
  auto shared = std::make_shared<Reply<v1::Command>>(std::move(reply));
  WaitFor(caller.org, CommandId(request.command_id()),
          wire::FromProto(request.wait()),
          [this, shared](absl::StatusOr<CommandRecord> command, bool last,
                         absl::AnyInvocable<void()> again) {
            if (!command.ok()) {
              (*shared)(command.status());
            } else if (last || HasEnded(*command)) {
              (*shared)(Render(*command));
            } else {
              again();
            }
          });
}

void CommandHandlers::Cancel(const Caller& caller,
                             const v1::CancelCommandRequest& request,
                             Reply<v1::Command> reply) {
  const CommandId id(request.command_id());
  Find(caller.org, id,
       [this, id, reply = std::move(reply)](
           absl::StatusOr<CommandRecord> command) mutable {
         if (!command.ok()) {
           reply(command.status());
           return;
         }
         if (fleet_.commands().Find(id) == nullptr) {
           reply(Render(*command));  // It has ended; so it is as it is.
           return;
         }
         fleet_.commands().Cancel(
             id, [this, reply = std::move(reply)](
                     absl::StatusOr<CommandRecord> cancelled) mutable {
               if (!cancelled.ok()) {
                 reply(cancelled.status());
               } else {
                 reply(Render(*cancelled));
               }
             });
       });
}

void CommandHandlers::Output(const Caller& caller,
                             const v1::GetOutputRequest& request,
                             Reply<v1::GetOutputResponse> reply) {
  if (auto s = wire::ValidateWait(request.wait()); !s.ok()) {
    reply(s);
    return;
  }
  if (auto s = CheckBytesMax(request.bytes_max()); !s.ok()) {
    reply(s);
    return;
  }
  const size_t bytes_max = request.bytes_max() == 0 ? wire::kOutputBytesDefault
                                                    : request.bytes_max();
  auto shared =
      std::make_shared<Reply<v1::GetOutputResponse>>(std::move(reply));
  const CommandId id(request.command_id());
  WaitFor(caller.org, id, wire::FromProto(request.wait()),
          [this, id, request, bytes_max, shared](
              absl::StatusOr<CommandRecord> command, bool last,
              absl::AnyInvocable<void()> again) {
            if (!command.ok()) {
              (*shared)(command.status());
              return;
            }
            const bool nothing_new =
                command->stdout_bytes <= request.stdout_offset() &&
                command->stderr_bytes <= request.stderr_offset();
            if (nothing_new && !last && !HasEnded(*command)) {
              again();
              return;
            }
            store_.Read(
                [id, request, bytes_max](FleetStore& store) {
                  return store.ReadOutput(id, request.stdout_offset(),
                                          request.stderr_offset(), bytes_max);
                },
                [this, request, command = *std::move(command),
                 shared](absl::StatusOr<std::vector<OutputRecord>> chunks) {
                  if (!chunks.ok()) {
                    (*shared)(chunks.status());
                    return;
                  }
                  v1::GetOutputResponse response;
                  uint64_t out = request.stdout_offset();
                  uint64_t err = request.stderr_offset();
                  for (const OutputRecord& chunk : *chunks) {
                    uint64_t& end = chunk.stream == Stream::kStdout ? out : err;
                    end = std::max(end, chunk.offset + chunk.data.size());
                    *response.add_chunks() = ToProto(chunk);
                  }
                  response.set_end(HasEnded(command) &&
                                   out >= command.stdout_bytes &&
                                   err >= command.stderr_bytes);
                  *response.mutable_command() = Render(command);
                  (*shared)(std::move(response));
                });
          });
}

void CommandHandlers::ReadOutput(const Caller& caller,
                                 const v1::ReadOutputRequest& request,
                                 Reply<v1::RawBody> reply) {
  const auto stream = ToStream(request.stream());
  if (!stream) {
    reply(absl::InvalidArgumentError("stream: expected stdout or stderr"));
    return;
  }
  if (auto s = CheckBytesMax(request.bytes_max()); !s.ok()) {
    reply(s);
    return;
  }
  const CommandId id(request.command_id());
  Find(caller.org, id,
       [this, id, stream = *stream, offset = request.offset(),
        bytes_max = request.bytes_max() == 0 ? wire::kOutputBytesMax
                                             : request.bytes_max(),
        reply =
            std::move(reply)](absl::StatusOr<CommandRecord> command) mutable {
         if (!command.ok()) {
           reply(command.status());
           return;
         }
         const bool out = stream == Stream::kStdout;
         store_.Read(
             [id, offset, out, bytes_max](FleetStore& store) {
               return store.ReadOutput(id, out ? offset : kBeyondEnd,
                                       out ? kBeyondEnd : offset, bytes_max);
             },
             [stream, offset, bytes_max, command = *std::move(command),
              reply = std::move(reply)](
                 absl::StatusOr<std::vector<OutputRecord>> chunks) mutable {
               reply(chunks.ok() ? ToRawBody(command, stream, offset, bytes_max,
                                             *chunks)
                                 : chunks.status());
             });
       });
}

void CommandHandlers::Find(const OrgId& org, const CommandId& id, Found found) {
  LookUp(fleet_.commands(), store_, org, id, CommandKind::kCommand,
         std::move(found));
}

void CommandHandlers::WaitFor(const OrgId& org, const CommandId& id,
                              absl::Duration wait, Attempt attempt) {
  polls_.Run(
      wait,
      [this, id](LongPoll::Again changed) {
        return fleet_.commands().Watch(id, std::move(changed));
      },
      [this, org, id, attempt = std::move(attempt)](bool last,
                                                    LongPoll::Again again) {
        Find(org, id,
             [attempt, last, again = std::move(again)](
                 absl::StatusOr<CommandRecord> command) mutable {
               attempt(std::move(command), last, std::move(again));
             });
      });
}

}  // namespace muster::gateway
