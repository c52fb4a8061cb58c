// bench-transfer: output, as fast as gRPC alone takes it.
//
//   bench-transfer HOST:PORT BYTES [STATE]
//
// Sends so many bytes up one Transfer stream to `bench-server bare`, in chunks
// as an agent's. STATE is the folder of a swarm as whose machine 0 it does;
// without it there is no TLS. Prints how long it took until the server had said
// that it has them, as JSON.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "grpcpp/grpcpp.h"
#include "libprotocol/base/deadlock_search.h"
#include "libprotocol/base/system_clock.h"
#include "muster/v1/agent_link.grpc.pb.h"
#include "tests/bench/dial.h"

namespace muster::bench {
namespace {

constexpr uint64_t kChunkBytes = 64 * 1024;

// False if the server did not get them all.
bool Send(v1::AgentLink::Stub& stub, uint64_t bytes) {
  grpc::ClientContext context;
  const auto stream = stub.Transfer(&context);
  v1::TransferChunk message;
  message.set_command_id("01890a5d-ac96-774b-bcce-b302099a8057");
  message.mutable_chunk()->set_stream(v1::OUTPUT_STREAM_STDOUT);
  uint64_t sent = 0;
  while (sent < bytes) {
    const uint64_t size = std::min(kChunkBytes, bytes - sent);
    message.mutable_chunk()->set_offset(sent);
    message.mutable_chunk()->set_data(std::string(size, 'y'));
    if (!stream->Write(message)) break;
    sent += size;
  }
  stream->WritesDone();
  v1::TransferAck ack;
  const bool all = stream->Read(&ack) && ack.offset() == bytes;
  return stream->Finish().ok() && all;
}

int Transfer(const std::string& endpoint, uint64_t bytes,
             const swarm::IdentityStore* identities) {
  const auto channel = Dial(endpoint, identities, 0);
  const auto patience =
      std::chrono::system_clock::now() + std::chrono::seconds(10);
  if (channel == nullptr || !channel->WaitForConnected(patience)) {
    fmt::print(stderr, "no connection to {}\n", endpoint);
    return 1;
  }
  const auto stub = v1::AgentLink::NewStub(channel);
  const SystemClock clock;
  const Instant begin = clock.Now();
  if (!Send(*stub, bytes)) {
    fmt::print(stderr, "the server did not get all\n");
    return 1;
  }
  fmt::print("{{\"bytes\": {}, \"seconds\": {}}}\n", bytes,
             absl::ToDoubleSeconds(clock.Now() - begin));
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  using namespace muster;
  SkipDeadlockSearch();  // As the agent does.
  uint64_t bytes = 0;
  if ((argc != 3 && argc != 4) || !absl::SimpleAtoi(argv[2], &bytes)) {
    fmt::print(stderr, "usage: bench-transfer HOST:PORT BYTES [STATE]\n");
    return 2;
  }
  if (argc == 3) return bench::Transfer(argv[1], bytes, nullptr);
  const auto identities = bench::IdentitiesIn(argv[3]);
  if (!identities.ok()) {
    fmt::print(stderr, "{}: {}\n", argv[3], identities.status().ToString());
    return 1;
  }
  return bench::Transfer(argv[1], bytes, &*identities);
}
