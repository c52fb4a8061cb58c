#include "tests/integration/contract.h"

#include <filesystem>

#include "fmt/format.h"
#include "libprotocol/base/check.h"
#include "libprotocol/wire/http_rule.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::integration {
namespace {

namespace pb = google::protobuf;

void AddService(const pb::ServiceDescriptor& service,
                std::vector<Operation>& all) {
  for (int i = 0; i < service.method_count(); ++i) {
    const pb::MethodOptions& options = service.method(i)->options();
    const auto [verb, pattern] =
        wire::VerbAndPattern(options.GetExtension(v1::http));
    all.push_back({.method = service.method(i),
                   .verb = verb,
                   .pattern = pattern,
                   .access = options.GetExtension(v1::access)});
  }
}

std::vector<Operation> ReadContract() {
  // Linked in, whatever the linker may think.
  MUSTER_CHECK(v1::ListAgentsRequest::descriptor() != nullptr);
  MUSTER_CHECK(v1::RegisterRequest::descriptor() != nullptr);
  std::vector<Operation> all;
  for (const auto& entry :
       std::filesystem::directory_iterator(MUSTER_SOURCE "/proto/muster/v1")) {
    const auto* file = pb::DescriptorPool::generated_pool()->FindFileByName(
        fmt::format("muster/v1/{}", entry.path().filename().string()));
    MUSTER_CHECK(file != nullptr);
    for (int i = 0; i < file->service_count(); ++i) {
      AddService(*file->service(i), all);
    }
  }
  return all;
}

}  // namespace

const std::vector<Operation>& Contract() {
  static const auto* contract = new std::vector<Operation>(ReadContract());
  return *contract;
}

std::string PathOf(const std::string& pattern,
                   const std::map<std::string, std::string>& values) {
  std::string path;
  size_t from = 0;
  while (true) {
    const size_t open = pattern.find('{', from);
    path += pattern.substr(from, open - from);
    if (open == std::string::npos) return path;
    const size_t close = pattern.find('}', open);
    path += values.at(pattern.substr(open + 1, close - open - 1));
    from = close + 1;
  }
}

}  // namespace muster::integration
