// How a batch begins: on which machines, in which order, and whether it may.

#include "gateway/admin/batch_handlers.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "gateway/admin/agent_handlers.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/fleet/errors.h"
#include "gateway/identity/secret_token.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

// As the caller wrote it, in a line.
std::string SelectorText(const v1::SubmitBatchRequest& request) {
  if (request.all()) return "all";
  std::string text;
  const auto add = [&text](std::string_view key, std::string_view value) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, value);
  };
  for (const int status : request.status()) {
    const auto* known = v1::Status_descriptor()->FindValueByNumber(status);
    add("status", known ? wire::EnumText(*known) : "unknown");
  }
  if (!request.hostname().empty()) add("hostname", request.hostname());
  for (const std::string& label : request.label()) add("label", label);
  if (!request.agent_id().empty()) {
    add("agent_id", fmt::format("{} given", request.agent_id_size()));
  }
  return text;
}

// A person has seen how many there are.
absl::Status CheckConfirmed(size_t targets, uint32_t confirmed) {
  if (targets <= wire::kUnconfirmedTargetsMax || targets <= confirmed) {
    return absl::OkStatus();
  }
  return WithCode(
      absl::FailedPreconditionError(fmt::format(
          "confirm_targets: {} machines are selected; more than {} must be "
          "confirmed with at least as many, got {}",
          targets, wire::kUnconfirmedTargetsMax, confirmed)),
      "confirmation_needed");
}

// Those of a batch that has ended whom `request` asks again.
bool Again(const BatchTarget& target, const v1::RetryBatchRequest& request) {
  if (!target.command) return request.waiting();
  const auto count = BatchCountOf(*target.command);
  return count == &BatchCounts::failed ||
         count == &BatchCounts::not_delivered ||
         (count == &BatchCounts::unknown && request.unknown());
}

// The same request again has the same, whatever it says of itself and of what
// the caller has seen.
template <typename Request>
std::string DigestOf(Request request) {
  request.clear_idempotency_key();
  request.clear_confirm_targets();
  request.clear_dry_run();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&out);
  }
  return Sha256Hex(bytes);
}

// What "10%" and the like mean for so many machines.
absl::Status Plan(BatchRecord& batch, size_t targets) {
  const auto count = static_cast<uint32_t>(targets);
  ASSIGN_OR_RETURN(batch.concurrency,
                   CountOf("concurrency", batch.concurrency_text, count));
  batch.failures_max = 0;
  if (!batch.stop_after.empty()) {
    ASSIGN_OR_RETURN(batch.failures_max,
                     CountOf("stop_after", batch.stop_after, count));
  }
  batch.canary = std::min(batch.canary, count);
  // Each command that runs is held with all that it needs.
  const CommandSpec& spec = batch.spec;
  size_t bytes = 4 << 10;
  bytes += spec.text.size() + spec.surroundings.input.size();
  for (const std::string& arg : spec.argv) bytes += arg.size();
  for (const auto& [name, value] : spec.surroundings.environment) {
    bytes += name.size() + value.size();
  }
  if (const size_t max = wire::kRunningBytesMax / bytes;
      batch.concurrency > max) {
    return absl::InvalidArgumentError(fmt::format(
        "concurrency: {} commands of {} bytes at a time are too many, at most "
        "{}",
        batch.concurrency, bytes, max));
  }
  return absl::OkStatus();
}

absl::Status NoMachines(std::string_view which) {
  return WithCode(absl::FailedPreconditionError(
                      fmt::format("no machine is selected: {}", which)),
                  "no_machines");
}

}  // namespace

absl::StatusOr<std::vector<AgentId>> BatchHandlers::Select(
    const OrgId& org, const v1::SubmitBatchRequest& request) {
  ASSIGN_OR_RETURN(
      MachineFilter filter,
      ToFilter(org, request.status(), request.hostname(), request.label()));
  std::vector<AgentId> targets;
  if (!request.agent_id().empty()) {
    filter.silenced = true;  // Who is named is meant.
    absl::flat_hash_set<AgentId> known;
    for (const std::string& text : request.agent_id()) {
      const AgentId id(text);
      const Machine* machine = fleet_.machines().FindLiving(org, id);
      if (machine == nullptr) return NotFound("agent", text);
      if (filter.Selects(machine->record) && known.insert(id).second) {
        targets.push_back(id);
      }
    }
  } else {
    Machines::Page page =
        fleet_.machines().List(filter, std::nullopt, wire::kSelectedMax);
    if (page.matched > wire::kSelectedMax) {
      return absl::InvalidArgumentError(
          fmt::format("{}: must select at most {} machines, got {}",
                      SelectorText(request), wire::kSelectedMax, page.matched));
    }
    std::ranges::sort(page.machines, {}, [](const Machine* machine) {
      return std::tie(machine->record.facts.hostname, machine->record.id);
    });
    for (const Machine* machine : page.machines) {
      targets.push_back(machine->record.id);
    }
  }
  if (targets.empty()) return NoMachines(SelectorText(request));
  return targets;
}

void BatchHandlers::Submit(const Caller& caller,
                           const v1::SubmitBatchRequest& request,
                           Reply<v1::Batch> reply) {
  if (auto s = wire::ValidateSubmitBatch(request); !s.ok()) {
    reply(s);
    return;
  }
  BatchRecord batch;
  batch.org = caller.org;
  batch.spec = ToSpec(request.run(), defaults_);
  batch.queue_offline = request.run().if_offline() == v1::IF_OFFLINE_QUEUE;
  batch.canary = request.canary();
  batch.concurrency_text =
      request.concurrency().empty() ? "50" : request.concurrency();
  batch.stop_after = request.stop_after();
  batch.issued_by = caller.principal;
  batch.idempotency_key = request.idempotency_key();
  batch.labels = {request.run().labels().begin(), request.run().labels().end()};
  batch.purpose = request.run().purpose();
  batch.selector = SelectorText(request);
  batch.request = DigestOf(request);
  Once(std::move(batch), std::move(reply),
       [this, request](BatchRecord fresh, Reply<v1::Batch> answer) {
         auto targets = Select(fresh.org, request);
         if (!targets.ok()) {
           answer(targets.status());
           return;
         }
         Begin(std::move(fresh), *std::move(targets),
               {request.confirm_targets(), request.dry_run()},
               std::move(answer));
       });
}

void BatchHandlers::Once(BatchRecord batch, Reply<v1::Batch> reply, Go go) {
  if (batch.idempotency_key.empty()) {
    go(std::move(batch), std::move(reply));
    return;
  }
  const OrgId org = batch.org;
  const std::string key = batch.idempotency_key;
  store_.Read(
      [org, key](FleetStore& store) { return store.FindBatch(org, key); },
      [this, batch = std::move(batch), reply = std::move(reply),
       go = std::move(go)](absl::StatusOr<BatchRecord> known) mutable {
        if (absl::IsNotFound(known.status())) {
          go(std::move(batch), std::move(reply));
        } else if (!known.ok()) {
          reply(known.status());
        } else if (known->request != batch.request) {
          reply(IdempotencyConflict(batch.idempotency_key));
        } else {
          const BatchRecord* open = fleet_.batches().Find(known->id);
          reply(ToProto(open ? *open : *known));
        }
      });
}

void BatchHandlers::Begin(BatchRecord batch, std::vector<AgentId> targets,
                          const Consent& consent, Reply<v1::Batch> reply) {
  if (absl::Status s = Plan(batch, targets.size()); !s.ok()) {
    reply(s);
    return;
  }
  if (consent.dry_run) {
    batch.counts.waiting = static_cast<uint32_t>(targets.size());
    reply(ToProto(batch));
    return;
  }
  if (auto s = CheckConfirmed(targets.size(), consent.targets); !s.ok()) {
    reply(s);
    return;
  }
  batch.id = BatchId(NewUuid(loop_.clock().Wall()));
  batch.created_at = loop_.clock().Wall();
  const std::string key = batch.idempotency_key;
  fleet_.batches().Submit(std::move(batch), std::move(targets),
                          [key, reply = std::move(reply)](
                              absl::StatusOr<BatchRecord> stored) mutable {
                            if (stored.ok()) {
                              reply(ToProto(*stored));
                            } else if (absl::IsAlreadyExists(stored.status())) {
                              reply(IdempotencyConflict(key));
                            } else {
                              reply(stored.status());
                            }
                          });
}

void BatchHandlers::Retry(const Caller& caller,
                          const v1::RetryBatchRequest& request,
                          Reply<v1::Batch> reply) {
  if (auto s = wire::ValidateText("idempotency_key", request.idempotency_key(),
                                  wire::kIdempotencyKeyBytesMax);
      !s.ok()) {
    reply(s);
    return;
  }
  Find(caller.org, BatchId(request.batch_id()),
       [this, caller, request,
        reply = std::move(reply)](absl::StatusOr<BatchRecord> found) mutable {
         if (!found.ok() || !HasEnded(found->state)) {
           reply(found.ok() ? absl::FailedPreconditionError(
                                  "the batch has not ended: cancel it, or wait")
                            : found.status());
           return;
         }
         BatchRecord again = *std::move(found);
         again.retry_of = again.id;
         again.selector = fmt::format("retry of {}", again.id.str());
         again.issued_by = caller.principal;
         again.idempotency_key = request.idempotency_key();
         again.request = DigestOf(request);
         again.state = BatchState::kRunning;
         again.reason.clear();
         again.finished_at.reset();
         again.counts = {};
         Once(std::move(again), std::move(reply),
              [this, request](BatchRecord fresh, Reply<v1::Batch> answer) {
                Repeat(std::move(fresh), request, std::move(answer));
              });
       });
}

void BatchHandlers::Repeat(BatchRecord batch,
                           const v1::RetryBatchRequest& request,
                           Reply<v1::Batch> reply) {
  const BatchId former = batch.retry_of;
  store_.Read(
      [former](FleetStore& store) {
        return store.ListBatchTargets(former, 0, wire::kSelectedMax);
      },
      [this, request, batch = std::move(batch), reply = std::move(reply)](
          absl::StatusOr<std::vector<BatchTarget>> all) mutable {
        if (!all.ok()) {
          reply(all.status());
          return;
        }
        std::vector<AgentId> targets;
        for (const BatchTarget& target : *all) {
          if (Again(target, request) &&
              fleet_.machines().FindLiving(batch.org, target.agent)) {
            targets.push_back(target.agent);
          }
        }
        if (targets.empty()) {
          reply(NoMachines("none of the batch is left to be retried"));
          return;
        }
        Begin(std::move(batch), std::move(targets),
              {request.confirm_targets(), request.dry_run()}, std::move(reply));
      });
}

}  // namespace muster::gateway
