// An HTTP/1.1 caller that sends exactly what a test tells it to: any verb, any
// target, any header, however wrong.

#ifndef MUSTER_TESTS_INTEGRATION_RAW_HTTP_H_
#define MUSTER_TESTS_INTEGRATION_RAW_HTTP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "libprotocol/base/files.h"

namespace muster::integration {

struct RawRequest {
  std::string verb = "GET";
  std::string target = "/";
  std::vector<std::string> headers = {};  // Whole lines: "Accept: */*".
  std::string body = {};
};

struct RawAnswer {
  int status = 0;  // 0: hung up on without a word.
  std::string head;
  std::string body;  // Empty for an answer that has no length, as events do.
  std::string code;  // Of a problem document.
};

// RawHttp keeps its connection to a web port of 127.0.0.1 from one request to
// the next, as long as that lets it. Blocks; one thread.
class RawHttp {
 public:
  explicit RawHttp(uint16_t port) : port_(port) {}

  RawAnswer Ask(const RawRequest& request);

 private:
  bool Dial();
  bool SendAll(const std::string& bytes);
  // Until `received_` holds this many bytes; false at the end of what comes.
  bool ReceiveUpTo(size_t bytes);
  RawAnswer ReadAnswer(bool has_body);

  const uint16_t port_;
  Fd fd_;
  std::string received_;
};

}  // namespace muster::integration

#endif  // MUSTER_TESTS_INTEGRATION_RAW_HTTP_H_
