// Operations on batches.

#ifndef MUSTER_GATEWAY_ADMIN_BATCH_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_BATCH_HANDLERS_H_

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/admin/command_handlers.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/long_poll.h"
#include "gateway/fleet/fleet.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/event_loop.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class BatchHandlers {
 public:
  BatchHandlers(EventLoop& loop, Fleet& fleet, StoreClient& store,
                CommandDefaults defaults)
      : loop_(loop),
        fleet_(fleet),
        store_(store),
        defaults_(defaults),
        polls_(loop) {}
  void AddTo(HandlerTable& table);

  // As those of CommandHandlers.
  void EndWaits();

 private:
  using Found = absl::AnyInvocable<void(absl::StatusOr<BatchRecord>)>;

  void Submit(const Caller&, const v1::SubmitBatchRequest&, Reply<v1::Batch>);
  void Retry(const Caller&, const v1::RetryBatchRequest&, Reply<v1::Batch>);
  void List(const Caller&, const v1::ListBatchesRequest&,
            Reply<v1::ListBatchesResponse>);
  void Get(const Caller&, const v1::GetBatchRequest&, Reply<v1::Batch>);
  void ListTargets(const Caller&, const v1::ListBatchTargetsRequest&,
                   Reply<v1::ListBatchTargetsResponse>);
  void Cancel(const Caller&, const v1::CancelBatchRequest&, Reply<v1::Batch>);

  // The batch as it is now, open or stored. NotFound also for another org's.
  void Find(const OrgId& org, const BatchId& id, Found found);

  // The machines that are asked for, in the order of their turns.
  absl::StatusOr<std::vector<AgentId>> Select(const OrgId& org,
                                              const v1::SubmitBatchRequest&);
  // What the caller has agreed to.
  struct Consent {
    uint32_t targets = 0;  // So many machines.
    bool dry_run = false;  // Nothing but to be told.
  };
  using Go = absl::AnyInvocable<void(BatchRecord, Reply<v1::Batch>)>;
  // Answers what the same request has made before, or lets `go` make it.
  void Once(BatchRecord batch, Reply<v1::Batch> reply, Go go);
  void Begin(BatchRecord batch, std::vector<AgentId> targets,
             const Consent& consent, Reply<v1::Batch> reply);
  // `batch.retry_of` on those of its machines that `request` means.
  void Repeat(BatchRecord batch, const v1::RetryBatchRequest& request,
              Reply<v1::Batch> reply);
  v1::BatchTarget Render(const BatchTarget& target);

  EventLoop& loop_;
  Fleet& fleet_;
  StoreClient& store_;
  const CommandDefaults defaults_;
  LongPoll polls_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_BATCH_HANDLERS_H_
