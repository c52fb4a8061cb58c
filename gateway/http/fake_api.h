#ifndef MUSTER_GATEWAY_HTTP_FAKE_API_H_
#define MUSTER_GATEWAY_HTTP_FAKE_API_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/admin/api.h"
#include "libprotocol/wire/proto_json.h"

namespace muster::gateway {

// FakeApi remembers each call and answers as it is told, in place. Not
// thread-safe.
class FakeApi final : public Api {
 public:
  struct Seen {
    std::string method;   // "GetAgent"
    std::string request;  // As JSON.
    CallContext context;
  };

  // What to answer; the default is an empty message. `error` wins if it is one.
  ApiError error;
  std::function<void(google::protobuf::Message&)> fill;
  std::vector<Seen> calls;

  void Call(const google::protobuf::MethodDescriptor& method,
            CallContext context,
            std::unique_ptr<google::protobuf::Message> request,
            Reply reply) override {
    calls.push_back({method.name(), wire::ProtoToJson(*request), context});
    if (!error.status.ok()) return reply(error, nullptr);
    std::unique_ptr<google::protobuf::Message> response(
        google::protobuf::MessageFactory::generated_factory()
            ->GetPrototype(method.output_type())
            ->New());
    if (fill) fill(*response);
    reply({}, std::move(response));
  }
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_FAKE_API_H_
