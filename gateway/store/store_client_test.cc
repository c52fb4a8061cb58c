#include "gateway/store/store_client.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gateway/store/memory_fleet_store.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gateway/store/store_journal.h"
#include "gateway/store/store_test_data.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/base/thread_event_loop.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;

// Holds a thread until told, without sleeping.
class Gate {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    changed_.NotifyAll();
  }
  void Wait() {
    MutexLock lock(mu_);
    while (!open_) changed_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

class StoreClientTest : public testing::Test {
 protected:
  void Start(StoreClient::Options options = {}) {
    auto store = std::make_unique<MemoryFleetStore>();
    memory_ = store.get();
    client_ = std::make_unique<StoreClient>(loop_, std::move(store), nullptr,
                                            std::move(options));
  }

  // Occupies the store thread until `gate` opens: what is written meanwhile is
  // one batch.
  void Block(Gate& gate) {
    Gate running;
    client_->Write(
        [&](FleetStore&) {
          running.Open();
          gate.Wait();
          return absl::OkStatus();
        },
        [](absl::Status) {});
    running.Wait();
  }

  void Put(const std::string& id) {
    client_->Write(
        [id](FleetStore& store) { return store.PutMachine(Machine(id)); },
        [this, id](absl::Status status) {
          heard_.push_back(id + " " + absl::StatusCodeToString(status.code()));
        });
  }

  std::vector<std::string> Stored() {
    std::vector<std::string> ids;
    client_->Write([](FleetStore& store) { return store.LoadMachines(); },
                   [&](absl::StatusOr<std::vector<MachineRecord>> machines) {
                     ASSERT_TRUE(machines.ok()) << machines.status();
                     for (const auto& m : *machines) ids.push_back(m.id.str());
                   });
    Settle();
    return ids;
  }

  void Settle() {
    client_->Flush();
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  std::vector<std::string> heard_;
  MemoryFleetStore* memory_ = nullptr;
  std::unique_ptr<StoreClient> client_;
};

TEST_F(StoreClientTest, AnswersComeOnTheLoopInTheOrderOfTheWrites) {
  Start({.batch_max = 3});
  for (const char* id : {"d", "b", "c", "a", "f", "e", "g"}) Put(id);
  client_->Flush();
  EXPECT_THAT(heard_, ElementsAre());
  loop_.RunReady();
  EXPECT_THAT(heard_, ElementsAre("d OK", "b OK", "c OK", "a OK", "f OK",
                                  "e OK", "g OK"));
}

TEST_F(StoreClientTest, WorkThatFailsLosesItsOwnChangesOnly) {
  Start();
  Gate gate;
  Block(gate);
  Put("a");
  client_->Write(
      [](FleetStore& store) -> absl::StatusOr<int> {
        EXPECT_TRUE(store.PutMachine(Machine("b")).ok());
        return absl::NotFoundError("what it looked for");
      },
      [this](absl::StatusOr<int> result) {
        heard_.push_back(std::string(result.status().message()));
      });
  Put("c");
  gate.Open();
  Settle();
  EXPECT_THAT(heard_, ElementsAre("a OK", "what it looked for", "c OK"));
  EXPECT_THAT(Stored(), ElementsAre("a", "c"));
}

TEST_F(StoreClientTest, ACommitThatFailsFailsItsBatchAndTheNextIsTriedAgain) {
  Start();
  Gate gate;
  Block(gate);
  Put("a");
  client_->Write(
      [this](FleetStore&) {
        memory_->FailWith(absl::ResourceExhaustedError("disk full"));
        return absl::NotFoundError("its own");
      },
      [this](absl::Status status) {
        heard_.push_back(std::string(status.message()));
      });
  gate.Open();
  Settle();
  EXPECT_THAT(heard_, ElementsAre("a RESOURCE_EXHAUSTED", "disk full"));
  EXPECT_TRUE(absl::IsResourceExhausted(client_->health().last_error));
  memory_->FailWith(absl::OkStatus());
  Put("b");
  Settle();
  EXPECT_EQ(heard_.back(), "b OK");
  EXPECT_TRUE(client_->health().last_error.ok());
  EXPECT_THAT(Stored(), ElementsAre("b"));
}

TEST_F(StoreClientTest, ADiskThatIsFullForOneWriteIsToldUntilOneWorks) {
  Start();
  const auto write = [this](absl::Status status) {
    client_->Write([status](FleetStore&) { return status; },
                   [](const absl::Status&) {});
    Settle();
    return client_->health().last_error;
  };
  EXPECT_TRUE(absl::IsResourceExhausted(
      write(absl::ResourceExhaustedError("disk full"))));
  EXPECT_TRUE(write(absl::NotFoundError("of no interest to the disk")).ok());
  EXPECT_TRUE(absl::IsUnavailable(write(absl::UnavailableError("locked"))));
  EXPECT_TRUE(write(absl::OkStatus()).ok());
}

TEST_F(StoreClientTest, AnIoErrorIsReportedOnceAndNothingIsWrittenAfterIt) {
  std::vector<absl::Status> fatal;
  StoreClient::Options options;
  options.on_fatal = [&](absl::Status status) { fatal.push_back(status); };
  Start(std::move(options));
  memory_->FailWith(absl::InternalError("fsync failed"));
  Put("a");
  Settle();
  memory_->FailWith(absl::OkStatus());
  Put("b");
  Settle();
  EXPECT_THAT(heard_, ElementsAre("a INTERNAL", "b INTERNAL"));
  EXPECT_THAT(fatal, ElementsAre(absl::InternalError("fsync failed")));
}

TEST_F(StoreClientTest, AFullQueueRefusesAtOnceAndRunsNothing) {
  Start({.queue_max = 2});
  Gate gate;
  Block(gate);
  Put("a");
  Put("b");
  Put("c");
  EXPECT_EQ(client_->health().writes_queued, 2u);
  EXPECT_THAT(heard_, ElementsAre());
  loop_.RunReady();
  EXPECT_THAT(heard_, ElementsAre("c UNAVAILABLE"));
  gate.Open();
  Settle();
  EXPECT_THAT(Stored(), ElementsAre("a", "b"));
}

TEST_F(StoreClientTest, TheDestructorFinishesWhatWasQueued) {
  Start();
  for (const char* id : {"a", "b"}) Put(id);
  client_.reset();
  loop_.RunReady();
  EXPECT_THAT(heard_, ElementsAre("a OK", "b OK"));
}

TEST_F(StoreClientTest, OffloadRunsAwayFromTheLoopAndAnswersOnIt) {
  Start();
  const auto here = std::this_thread::get_id();
  client_->Offload(
      [here]() -> absl::StatusOr<std::string> {
        EXPECT_NE(std::this_thread::get_id(), here);
        return "signed";
      },
      [this, here](absl::StatusOr<std::string> result) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        heard_.push_back(*result);
      });
  client_.reset();
  loop_.RunReady();
  EXPECT_THAT(heard_, ElementsAre("signed"));
}

TEST_F(StoreClientTest, TheJournalPutsAllOfItsChangesOrNone) {
  Start();
  StoreJournal journal(*client_);
  std::vector<absl::StatusCode> codes;
  const auto note = [&codes](absl::Status s) { codes.push_back(s.code()); };
  LastHeard heard;
  heard.at = {{AgentId("a"), At(4)}};
  journal.Put({Machine("a"), Transition("a", 1), Link("a", 1), heard}, note);
  journal.Put({Machine("b"), Transition("b", 1), Transition("a", 1)}, note);
  journal.Put({Transition("a", 2)}, note);
  journal.Put({LabelChange{AgentId("a"), {}},
               NoteRecord{AgentId("a"), At(1), NoteKind::kDrift, 1, {}, "x"},
               Incident("i1", At(1)), BlindRecord{}},
              note);
  EXPECT_THAT(Stored(), ElementsAre("a"));
  EXPECT_THAT(codes, ElementsAre(absl::StatusCode::kOk,
                                 absl::StatusCode::kAlreadyExists,
                                 absl::StatusCode::kOk, absl::StatusCode::kOk));
}

TEST_F(StoreClientTest, TheJournalKeepsACommandFromTheRequestToItsOutput) {
  Start();
  StoreJournal journal(*client_);
  Put("m1");
  std::vector<std::string> answers;
  CommandRecord command = Command("c1");
  const auto note = [&](absl::StatusOr<CommandRecord> c) {
    answers.push_back(c.ok() ? c->id.str() + " " + c->reason
                             : c.status().ToString());
  };
  journal.AddCommand(command, note);
  command.reason = "lost";
  journal.Put({command}, [](absl::Status s) { EXPECT_TRUE(s.ok()) << s; });
  journal.LoadCommand(CommandId("c1"), note);
  journal.AppendOutput(Output("c1", Stream::kStdout, 0, "abc"),
                       [&](absl::StatusOr<uint64_t> end) {
                         answers.push_back(std::to_string(end.value_or(99)));
                       });
  Settle();
  EXPECT_THAT(answers, ElementsAre("c1 ", "c1 lost", "3"));
}

TEST(StoreClientOnSqlite, AReadSeesEveryWriteThatWasAnswered) {
  TempDir dir;
  SystemClock clock;
  const std::string path = dir.File("muster.db");
  auto writer = SqliteFleetStore::Open(path);
  ASSERT_TRUE(writer.ok()) << writer.status();
  Gate finished;
  ThreadEventLoop loop(clock);
  StoreClient client(loop, *std::move(writer),
                     [path]() -> absl::StatusOr<std::unique_ptr<FleetStore>> {
                       return SqliteFleetStore::OpenReader(path);
                     });
  client.Write([](FleetStore& store) { return store.PutMachine(Machine("a")); },
               [&](absl::Status status) {
                 EXPECT_TRUE(status.ok()) << status;
                 EXPECT_TRUE(loop.IsCurrent());
                 client.Read(
                     [](FleetStore& store) { return store.LoadMachines(); },
                     [&](absl::StatusOr<std::vector<MachineRecord>> machines) {
                       EXPECT_TRUE(machines.ok()) << machines.status();
                       EXPECT_THAT(*machines, ElementsAre(Machine("a")));
                       finished.Open();
                     });
               });
  finished.Wait();
}

TEST(StoreClientReaders, AReaderThatCannotBeOpenedSaysSo) {
  FakeEventLoop loop;
  absl::Status heard;
  {
    StoreClient client(loop, std::make_unique<MemoryFleetStore>(),
                       []() -> absl::StatusOr<std::unique_ptr<FleetStore>> {
                         return absl::NotFoundError("no file");
                       });
    client.Read([](FleetStore& store) { return store.LoadMachines(); },
                [&](absl::StatusOr<std::vector<MachineRecord>> result) {
                  heard = result.status();
                });
  }
  loop.RunReady();
  EXPECT_EQ(heard, absl::NotFoundError("no file"));
}

}  // namespace
}  // namespace muster::gateway
