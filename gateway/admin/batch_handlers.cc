#include "gateway/admin/batch_handlers.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "gateway/admin/convert.h"
#include "gateway/admin/page_token.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

uint32_t CameOut(const BatchCounts& counts) {
  return counts.succeeded + counts.failed + counts.not_delivered +
         counts.unknown;
}

}  // namespace

void BatchHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.SubmitBatch", this, &BatchHandlers::Submit);
  table.Add("muster.v1.FleetAdmin.RetryBatch", this, &BatchHandlers::Retry);
  table.Add("muster.v1.FleetAdmin.ListBatches", this, &BatchHandlers::List);
  table.Add("muster.v1.FleetAdmin.GetBatch", this, &BatchHandlers::Get);
  table.Add("muster.v1.FleetAdmin.ListBatchTargets", this,
            &BatchHandlers::ListTargets);
  table.Add("muster.v1.FleetAdmin.CancelBatch", this, &BatchHandlers::Cancel);
}

void BatchHandlers::EndWaits() {
  polls_.End();
  fleet_.batches().WakeWatchers();
}

void BatchHandlers::List(const Caller& caller,
                         const v1::ListBatchesRequest& request,
                         Reply<v1::ListBatchesResponse> reply) {
  if (auto s = wire::ValidatePageSize(request.limit()); !s.ok()) {
    reply(s);
    return;
  }
  std::optional<BatchId> before;
  if (!request.page_token().empty()) {
    auto position = DecodeIdToken(request.page_token());
    if (!position.ok()) {
      reply(position.status());
      return;
    }
    before = BatchId(*std::move(position));
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  store_.Read(
      [org = caller.org, before, limit](FleetStore& store) {
        return store.ListBatches(org, before, limit + 1);
      },
      [this, limit, reply = std::move(reply)](
          absl::StatusOr<std::vector<BatchRecord>> batches) mutable {
        if (!batches.ok()) {
          reply(batches.status());
          return;
        }
        v1::ListBatchesResponse response;
        if (batches->size() > limit) {
          batches->resize(limit);
          response.set_next_page_token(batches->back().id.str());
        }
        for (const BatchRecord& batch : *batches) {
          // What is open is known better here.
          const BatchRecord* open = fleet_.batches().Find(batch.id);
          *response.add_batches() = ToProto(open ? *open : batch);
        }
        reply(std::move(response));
      });
}

void BatchHandlers::Get(const Caller& caller,
                        const v1::GetBatchRequest& request,
                        Reply<v1::Batch> reply) {
  if (auto s = wire::ValidateWait(request.wait()); !s.ok()) {
    reply(s);
    return;
  }
  const BatchId id(request.batch_id());
  auto shared = std::make_shared<Reply<v1::Batch>>(std::move(reply));
  polls_.Run(
      wire::FromProto(request.wait()),
      [this, id](LongPoll::Again changed) {
        return fleet_.batches().Watch(id, std::move(changed));
      },
      [this, org = caller.org, id, seen = request.seen(), shared](
          bool last, LongPoll::Again again) {
        Find(org, id,
             [seen, shared, last, again = std::move(again)](
                 absl::StatusOr<BatchRecord> batch) mutable {
               if (!batch.ok()) {
                 (*shared)(batch.status());
               } else if (last || HasEnded(batch->state) ||
                          CameOut(batch->counts) > seen) {
                 (*shared)(ToProto(*batch));
               } else {
                 again();
               }
             });
      });
}

void BatchHandlers::ListTargets(const Caller& caller,
                                const v1::ListBatchTargetsRequest& request,
                                Reply<v1::ListBatchTargetsResponse> reply) {
  if (auto s = wire::ValidatePageSize(request.limit()); !s.ok()) {
    reply(s);
    return;
  }
  size_t skip = 0;
  if (!request.page_token().empty()) {
    auto position = DecodeHistoryToken("targets", request.page_token());
    if (!position.ok()) {
      reply(position.status());
      return;
    }
    skip = position->skip;
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  const BatchId id(request.batch_id());
  Find(caller.org, id,
       [this, id, skip, limit,
        reply = std::move(reply)](absl::StatusOr<BatchRecord> batch) mutable {
         if (!batch.ok()) {
           reply(batch.status());
           return;
         }
         store_.Read(
             [id, skip, limit](FleetStore& store) {
               return store.ListBatchTargets(id, skip, limit + 1);
             },
             [this, skip, limit, reply = std::move(reply)](
                 absl::StatusOr<std::vector<BatchTarget>> targets) mutable {
               if (!targets.ok()) {
                 reply(targets.status());
                 return;
               }
               v1::ListBatchTargetsResponse response;
               if (targets->size() > limit) {
                 targets->resize(limit);
                 response.set_next_page_token(EncodeHistoryToken(
                     "targets", {.newest = 0, .skip = skip + limit}));
               }
               for (const BatchTarget& target : *targets) {
                 *response.add_targets() = Render(target);
               }
               reply(std::move(response));
             });
       });
}

v1::BatchTarget BatchHandlers::Render(const BatchTarget& target) {
  v1::BatchTarget out;
  out.set_agent_id(target.agent.str());
  if (const Machine* machine = fleet_.machines().Find(target.agent)) {
    out.set_name(machine->record.deleted_at
                     ? LongName(machine->record)
                     : fleet_.machines().NameOf(*machine));
  }
  if (!target.command) return out;
  const CommandRecord* open = fleet_.commands().Find(target.command->id);
  v1::Command& command = *out.mutable_command();
  command = ToProto(open ? *open : *target.command, out.name());
  // The store tells these of the batch only.
  command.clear_command();
  command.clear_shell_type();
  command.clear_argv();
  command.clear_timeout();
  command.clear_delivery_timeout();
  command.clear_surroundings();
  command.clear_input_bytes();
  command.clear_output_bytes_max();
  command.clear_labels();
  command.clear_purpose();
  return out;
}

void BatchHandlers::Cancel(const Caller& caller,
                           const v1::CancelBatchRequest& request,
                           Reply<v1::Batch> reply) {
  const BatchId id(request.batch_id());
  Find(caller.org, id,
       [this, id,
        reply = std::move(reply)](absl::StatusOr<BatchRecord> batch) mutable {
         if (!batch.ok()) {
           reply(batch.status());
         } else if (fleet_.batches().Find(id) == nullptr) {
           reply(ToProto(*batch));  // It has ended; so it is as it is.
         } else {
           fleet_.batches().Cancel(
               id, [reply = std::move(reply)](
                       absl::StatusOr<BatchRecord> cancelled) mutable {
                 if (!cancelled.ok()) {
                   reply(cancelled.status());
                 } else {
                   reply(ToProto(*cancelled));
                 }
               });
         }
       });
}

void BatchHandlers::Find(const OrgId& org, const BatchId& id, Found found) {
  if (const BatchRecord* open = fleet_.batches().Find(id)) {
    if (open->org == org) {
      found(*open);
    } else {
      found(NotFound("batch", id.str()));
    }
    return;
  }
  store_.Read(
      [id](FleetStore& store) { return store.GetBatch(id); },
      [org, id,
       found = std::move(found)](absl::StatusOr<BatchRecord> batch) mutable {
        const bool mine = batch.ok() && batch->org == org;
        if (mine || (!batch.ok() && !absl::IsNotFound(batch.status()))) {
          found(std::move(batch));
        } else {
          found(NotFound("batch", id.str()));
        }
      });
}

}  // namespace muster::gateway
