// A scripted server on 127.0.0.1 for the tests of this folder.

#ifndef MUSTER_LIBPROTOCOL_NET_TEST_SERVER_H_
#define MUSTER_LIBPROTOCOL_NET_TEST_SERVER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/net/test_pki.h"

namespace muster {

// TestServer serves one connection at a time on a thread of its own, each until
// the script or the client closes it. The destructor hangs up and joins.
class TestServer {
 public:
  struct Options {
    bool tls = false;
    TestPki::Leaf leaf;     // With tls.
    std::string client_ca;  // If set, a client certificate is required.
    std::string greeting;   // Sent before any request.
    bool hang_up = false;   // Close once connected (or once TLS stands).
    bool ipv6 = false;
  };
  // Given a whole request, what to send back. "" means say nothing and keep
  // still; an answer with "Connection: close" also hangs up.
  using Script = std::function<std::string(const std::string& request)>;

  TestServer(Options options, Script script);
  ~TestServer();

  uint16_t port() const { return port_; }
  int connections() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run();
  void Serve(int fd);

  const Options options_;
  const Script script_;
  uint16_t port_ = 0;
  Fd listener_;

  Mutex mu_;
  int connections_ ABSL_GUARDED_BY(mu_) = 0;
  int current_ ABSL_GUARDED_BY(mu_) = -1;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;  // Last: uses everything above.
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_TEST_SERVER_H_
