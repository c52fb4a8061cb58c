// The rules' Journal, kept by the store.

#ifndef MUSTER_GATEWAY_STORE_STORE_JOURNAL_H_
#define MUSTER_GATEWAY_STORE_STORE_JOURNAL_H_

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/fleet/journal.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

// StoreJournal writes through `store`, which must outlive it. Lives on the
// fleet loop, as its callers do.
class StoreJournal final : public Journal {
 public:
  explicit StoreJournal(StoreClient& store) : store_(store) {}

  void Put(std::vector<Change> changes,
           absl::AnyInvocable<void(absl::Status)> done) override {
    store_.Write([changes = std::move(changes)](
                     FleetStore& store) { return Apply(store, changes); },
                 std::move(done));
  }

  void AddCommand(
      CommandRecord command,
      absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> done) override {
    store_.Write([command = std::move(command)](
                     FleetStore& store) { return store.AddCommand(command); },
                 std::move(done));
  }

  void AddBatch(
      BatchRecord batch, std::vector<AgentId> targets,
      absl::AnyInvocable<void(absl::StatusOr<BatchRecord>)> done) override {
    store_.Write(
        [batch = std::move(batch), targets = std::move(targets)](
            FleetStore& store) { return store.AddBatch(batch, targets); },
        std::move(done));
  }

  void LoadCommand(
      CommandId id,
      absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> done) override {
    store_.Read([id = std::move(id)](
                    FleetStore& store) { return store.GetCommand(id); },
                std::move(done));
  }

  void AppendOutput(
      OutputRecord output,
      absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> done) override {
    store_.Write([output = std::move(output)](
                     FleetStore& store) { return store.AppendOutput(output); },
                 std::move(done));
  }

 private:
  static absl::Status Apply(FleetStore& store,
                            const std::vector<Change>& changes) {
    for (const Change& change : changes) {
      RETURN_IF_ERROR(std::visit(Applier{store}, change));
    }
    return absl::OkStatus();
  }

  struct Applier {
    FleetStore& store;
    absl::Status operator()(const MachineRecord& m) {
      return store.PutMachine(m);
    }
    absl::Status operator()(const TransitionRecord& t) {
      return store.AddTransition(t);
    }
    absl::Status operator()(const LinkRecord& l) { return store.PutLink(l); }
    absl::Status operator()(const CommandRecord& c) {
      return store.PutCommand(c);
    }
    absl::Status operator()(const BatchRecord& b) { return store.PutBatch(b); }
    absl::Status operator()(const LastHeard& batch) {
      return store.PutLastHeard(batch.at);
    }
    absl::Status operator()(const LabelChange& c) {
      return store.SetLabels(c.agent, c.labels);
    }
    absl::Status operator()(const PresenceChange& c) {
      for (const AgentId& agent : c.agents) {
        RETURN_IF_ERROR(store.EditPresence(c.org, agent, c.edit));
      }
      return absl::OkStatus();
    }
    absl::Status operator()(const NoteRecord& n) { return store.AddNote(n); }
    absl::Status operator()(const IncidentRecord& i) {
      return store.PutIncident(i);
    }
    absl::Status operator()(const BlindRecord& b) {
      return store.AddBlindInterval(b);
    }
  };

  StoreClient& store_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_STORE_JOURNAL_H_
