// What every store must pass, and the stores. A new store adds a line at the
// end; its tests are all files that include this one.

#ifndef MUSTER_GATEWAY_STORE_TEST_FLEET_STORE_H_
#define MUSTER_GATEWAY_STORE_TEST_FLEET_STORE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/store/fleet_store.h"
#include "gateway/store/memory_fleet_store.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gateway/store/store_test_data.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {

struct Backend {
  std::string name;
  std::function<std::unique_ptr<FleetStore>(const TempDir&)> open;
  bool durable = false;
};

class FleetStoreContract : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_->PutMachine(Machine("m1")).ok());
    ASSERT_TRUE(store_->PutMachine(Machine("m2")).ok());
  }

  // What a restart would find; for a store in memory, the same object.
  void Reopen() {
    if (!GetParam().durable) return;
    store_.reset();
    store_ = GetParam().open(dir_);
  }

  void Add(const CommandRecord& command) {
    const auto added = store_->AddCommand(command);
    ASSERT_TRUE(added.ok()) << added.status();
  }
  void Append(const std::string& command, Stream stream, uint64_t offset,
              const std::string& data) {
    const auto end =
        store_->AppendOutput(Output(command, stream, offset, data));
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_EQ(*end, offset + data.size());
  }
  std::vector<std::string> List(const CommandFilter& filter,
                                size_t limit = 100) {
    std::vector<std::string> ids;
    const auto found = store_->ListCommands(filter, limit);
    EXPECT_TRUE(found.ok()) << found.status();
    for (const CommandRecord& command : *found) ids.push_back(command.id.str());
    return ids;
  }

  TempDir dir_;
  std::unique_ptr<FleetStore> store_ = GetParam().open(dir_);
};

inline absl::StatusCode CodeOf(const absl::Status& status) {
  return status.code();
}
template <typename T>
absl::StatusCode CodeOf(const absl::StatusOr<T>& result) {
  return result.status().code();
}

inline std::vector<Backend> Backends() {
  return {{"Memory",
           [](const TempDir&) -> std::unique_ptr<FleetStore> {
             return std::make_unique<MemoryFleetStore>();
           }},
          {"Sqlite",
           [](const TempDir& dir) -> std::unique_ptr<FleetStore> {
             auto store = SqliteFleetStore::Open(dir.File("muster.db"));
             EXPECT_TRUE(store.ok()) << store.status();
             return *std::move(store);
           },
           /*durable=*/true}};
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_TEST_FLEET_STORE_H_
