#include "gateway/rpc/acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/system_clock.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;

Fd Connect(uint16_t port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(
      connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
      0);
  return fd;
}

// True once the other side has closed; waits for that or a byte.
bool ClosedByPeer(int fd) {
  char byte;
  return read(fd, &byte, 1) <= 0;
}

// Greets and keeps what the acceptor hands over.
class Keeper {
 public:
  void Take(int fd) {
    EXPECT_EQ(write(fd, "x", 1), 1);
    MutexLock lock(mu_);
    kept_.emplace_back(fd);
  }
  void DropAll() {
    MutexLock lock(mu_);
    kept_.clear();
  }

 private:
  Mutex mu_;
  std::vector<Fd> kept_ ABSL_GUARDED_BY(mu_);
};

std::unique_ptr<Acceptor> Start(
    AcceptorOptions options, Keeper& keeper,
    Acceptor::Hindered hindered = [](BlindReason) {}) {
  options.listen = "127.0.0.1:0";
  auto acceptor = Acceptor::Listen(options);
  EXPECT_TRUE(acceptor.ok()) << acceptor.status();
  (*acceptor)->Run([&keeper](int fd) { keeper.Take(fd); }, std::move(hindered));
  return *std::move(acceptor);
}

TEST(AcceptorTest, HandsOverWhatItAccepts) {
  Keeper keeper;
  const auto acceptor = Start({}, keeper);
  const Fd client = Connect(acceptor->port());
  EXPECT_FALSE(ClosedByPeer(client.get()));
}

TEST(AcceptorTest, APortInUseIsAClearError) {
  auto first = Acceptor::Listen({.listen = "127.0.0.1:0"});
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = Acceptor::Listen({.listen = address});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(second.status().ToString(), HasSubstr(address));
}

TEST(AcceptorTest, AnAddressThatIsNoneIsRefused) {
  for (const char* listen : {"7443", "nonsense name:1", "127.0.0.1:x"}) {
    EXPECT_EQ(Acceptor::Listen({.listen = listen}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << listen;
  }
}

TEST(AcceptorTest, ServesIpv6) {
  const auto acceptor = Acceptor::Listen({.listen = "[::1]:0"});
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  EXPECT_NE((*acceptor)->port(), 0);
}

TEST(AcceptorTest, OneSourceCannotTakeAllPlacesAndGetsThemBack) {
  Keeper keeper;
  std::atomic<int> told = 0;
  const auto acceptor = Start({.connections_per_source_max = 2}, keeper,
                              [&told](BlindReason reason) {
                                EXPECT_EQ(reason, BlindReason::kOneSource);
                                ++told;
                              });
  const Fd a = Connect(acceptor->port());
  const Fd b = Connect(acceptor->port());
  EXPECT_FALSE(ClosedByPeer(a.get()));
  EXPECT_FALSE(ClosedByPeer(b.get()));
  EXPECT_EQ(told, 0);
  EXPECT_TRUE(ClosedByPeer(Connect(acceptor->port()).get()));
  EXPECT_EQ(told, 1) << "whoever judges silence must know";
  keeper.DropAll();
  EXPECT_FALSE(ClosedByPeer(Connect(acceptor->port()).get()));
}

sockaddr_storage Address(const char* text) {
  sockaddr_storage address{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(address);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, text, &v6.sin6_addr), 1) << text;
    v6.sin6_family = AF_INET6;
  }
  return address;
}

TEST(AcceptorTest, ASourceIsAnAddressOrTheNetworkOfOneCustomer) {
  EXPECT_EQ(SourceOf(Address("192.0.2.7")), "192.0.2.7");
  EXPECT_EQ(SourceOf(Address("::ffff:192.0.2.7")), "192.0.2.7");
  EXPECT_EQ(SourceOf(Address("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
  EXPECT_EQ(SourceOf(Address("2001:db8:1:2::1")), "2001:db8:1:2::/64");
  EXPECT_NE(SourceOf(Address("2001:db8:1:3::1")), "2001:db8:1:2::/64");
}

TEST(AcceptorTest, AWholeFleetThatDialsWaitsItsTurnAndIsServed) {
  Keeper keeper;
  std::atomic<int> waited = 0;
  const auto acceptor = Start({.connections_per_second_max = 50,
                               .wait_unnoticed = absl::Milliseconds(5)},
                              keeper, [&waited](BlindReason why) {
                                waited += why == BlindReason::kAdmission;
                              });
  const SystemClock clock;
  const Instant start = clock.Now();
  std::vector<Fd> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(Connect(acceptor->port()));
  for (const Fd& client : clients) EXPECT_FALSE(ClosedByPeer(client.get()));
  // A tenth of a second's worth at once, the other five at 50 per second.
  EXPECT_GE(clock.Now() - start, absl::Milliseconds(90));
  EXPECT_GE(waited, 4) << "whoever judges silence must know";
}

TEST(AcceptorTest, WhoHungUpWhileWaitingIsNotHandedOver) {
  Keeper keeper;
  std::atomic<int> handed_over = 0;
  const auto acceptor = Acceptor::Listen({.listen = "127.0.0.1:0"});
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  const uint16_t port = (*acceptor)->port();
  {
    const Fd impatient = Connect(port);
    EXPECT_EQ(write(impatient.get(), "hello", 5), 5);
  }
  const Fd patient = Connect(port);
  (*acceptor)->Run(
      [&](int fd) {
        ++handed_over;
        keeper.Take(fd);
      },
      [](BlindReason) {});
  EXPECT_FALSE(ClosedByPeer(patient.get()));
  EXPECT_EQ(handed_over, 1);
}

TEST(AcceptorTest, WhoComesWhileAllPlacesAreTakenWaitsForOneThatIsFree) {
  Keeper keeper;
  std::atomic<int> handed_over = 0;
  const auto acceptor = Acceptor::Listen({.listen = "127.0.0.1:0",
                                          .handshakes_max = 1,
                                          .handshake_counts = absl::Hours(1)});
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  (*acceptor)->Run(
      [&](int fd) {
        ++handed_over;
        keeper.Take(fd);
      },
      [](BlindReason) {});
  const Fd first = Connect((*acceptor)->port());
  EXPECT_FALSE(ClosedByPeer(first.get()));
  const Fd second = Connect((*acceptor)->port());
  EXPECT_EQ(handed_over, 1);
  (*acceptor)->CameThrough();
  EXPECT_FALSE(ClosedByPeer(second.get()));
  const Fd third = Connect((*acceptor)->port());
  (*acceptor)->Stop();
  EXPECT_TRUE(ClosedByPeer(third.get()));
  EXPECT_EQ(handed_over, 2);
}

TEST(AcceptorTest, WhoWaitedSoLongThatItGivesUpSoonIsClosedAndThatIsTold) {
  Keeper keeper;
  std::atomic<int> told = 0;
  const auto acceptor = Start({.connections_per_second_max = 1,
                               .wait_max = absl::Milliseconds(500),
                               .wait_unnoticed = absl::Milliseconds(100)},
                              keeper, [&told](BlindReason why) {
                                told += why == BlindReason::kAdmission;
                              });
  const Fd first = Connect(acceptor->port());
  EXPECT_FALSE(ClosedByPeer(first.get()));
  const Fd second = Connect(acceptor->port());  // A second later.
  EXPECT_TRUE(ClosedByPeer(second.get()));
  EXPECT_GT(told, 0) << "whoever judges silence must know";
}

TEST(AcceptorTest, StopDoesNotWaitForTheRate) {
  Keeper keeper;
  const auto acceptor = Start({.connections_per_second_max = 0.001}, keeper);
  const Fd first = Connect(acceptor->port());
  EXPECT_FALSE(ClosedByPeer(first.get()));
  const Fd waits = Connect(acceptor->port());
  acceptor->Stop();
  EXPECT_TRUE(ClosedByPeer(waits.get()));
}

TEST(AcceptorTest, GoesOnAfterDescriptorsRanOut) {
  Keeper keeper;
  std::atomic<int> shed = 0;
  const auto acceptor = Start(
      {.descriptors_reserved = 0}, keeper,
      [&shed](BlindReason why) { shed += why == BlindReason::kDescriptors; });
  const Fd before = Connect(acceptor->port());
  EXPECT_FALSE(ClosedByPeer(before.get()));
  // Client sockets first: they need descriptors of this process too.
  std::vector<Fd> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  std::vector<Fd> hoard;
  const rlimit low{64, old.rlim_max};
  setrlimit(RLIMIT_NOFILE, &low);
  for (Fd fd(dup(0)); fd.valid(); fd = Fd(dup(0))) {
    hoard.push_back(std::move(fd));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(acceptor->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (const Fd& client : clients) {
    ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof address),
              0);
    EXPECT_TRUE(ClosedByPeer(client.get()));  // Told at once, not left waiting.
  }
  hoard.clear();
  setrlimit(RLIMIT_NOFILE, &old);
  const Fd after = Connect(acceptor->port());
  EXPECT_FALSE(ClosedByPeer(after.get()));
  EXPECT_GT(shed, 0) << "whoever judges silence must know";
}

TEST(AcceptorTest, StopEndsTheThreadAndClosesTheDoor) {
  Keeper keeper;
  const auto acceptor = Start({}, keeper);
  const uint16_t port = acceptor->port();
  acceptor->Stop();
  acceptor->Stop();
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_NE(
      connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
      0);
}

}  // namespace
}  // namespace muster::gateway
