#include "agent/link/gateway_link.h"

#include <optional>
#include <utility>

namespace muster::agent {
namespace {

// Orders carry at most 256 KiB of text.
constexpr int kReceiveBytesMax = 1024 * 1024;

grpc::ChannelArguments MakeArguments(const DialOptions& options,
                                     double jitter) {
  grpc::ChannelArguments args;
  args.SetSslTargetNameOverride(kGatewayName);
  // Channels with equal arguments share connections unless told not to; every
  // dial must resolve and connect anew.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, options.proxy.empty() ? 0 : 1);
  if (!options.proxy.empty() && options.proxy != "env") {
    args.SetString(GRPC_ARG_HTTP_PROXY, options.proxy);
  }
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
              static_cast<int>(absl::ToInt64Milliseconds(
                  options.keepalive * (0.7 + 0.6 * jitter))));
  args.SetInt(
      GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
      static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_timeout)));
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetMaxReceiveMessageSize(kReceiveBytesMax);
  return args;
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> MakeAgentCredentials(
    const std::string& ca_pem, const std::string& certificate_pem,
    const Secret& key_pem) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ca_pem;
  options.pem_cert_chain = certificate_pem;
  options.pem_private_key = key_pem.Reveal();
  return grpc::SslCredentials(options);
}

FailureClass ClassifyStatus(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return FailureClass::kEof;
    case grpc::StatusCode::UNAVAILABLE:
      return ClassifyLinkFailure(status.error_message(), std::nullopt);
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::INTERNAL:
      return FailureClass::kConnectionReset;  // Of the stream alone.
    default:
      return FailureClass::kRefusedByGateway;
  }
}

GatewayLink::GatewayLink(EventLoop& loop, Delegate& delegate,
                         std::shared_ptr<grpc::Channel> channel)
    : loop_(loop),
      delegate_(delegate),
      stub_(v1::AgentLink::NewStub(std::move(channel))) {}

std::shared_ptr<GatewayLink> GatewayLink::Dial(EventLoop& loop,
                                               Delegate& delegate,
                                               const DialOptions& options,
                                               double jitter) {
  std::shared_ptr<GatewayLink> link(new GatewayLink(
      loop, delegate,
      grpc::CreateCustomChannel(options.endpoint, options.credentials,
                                MakeArguments(options, jitter))));
  link->OpenConnect();
  return link;
}

void GatewayLink::OpenConnect() {
  ++streams_;
  connect_ = Connect::Open(
      loop_, {.open =
                  [this](auto* context, auto* reactor) {
                    stub_->async()->Connect(context, reactor);
                  },
              .on_message =
                  [this](v1::GatewayMessage message) {
                    if (!closed_)
                      delegate_.OnMessage(*this, std::move(message));
                  },
              .on_down =
                  [self = shared_from_this()](const grpc::Status& status) {
                    self->connect_ = nullptr;
                    if (!self->closed_) {
                      self->Close();
                      self->delegate_.OnDown(*self, status);
                    }
                    self->StreamOver();
                  }});
}

void GatewayLink::OpenTransfer() {
  ++streams_;
  transfer_ = Transfer::Open(
      loop_, {.open =
                  [this](auto* context, auto* reactor) {
                    stub_->async()->Transfer(context, reactor);
                  },
              .on_message =
                  [this](v1::TransferAck ack) {
                    if (!closed_)
                      delegate_.OnTransferAck(*this, std::move(ack));
                  },
              .on_down =
                  [self = shared_from_this()](const grpc::Status&) {
                    self->transfer_ = nullptr;
                    if (!self->closed_) self->delegate_.OnTransferLost(*self);
                    self->StreamOver();
                  }});
}

void GatewayLink::StreamOver() {
  if (--streams_ == 0) delegate_.OnGone(*this);
}

bool GatewayLink::Send(v1::AgentMessage message) {
  return !closed_ && connect_ && connect_->Send(std::move(message));
}

bool GatewayLink::SendChunk(v1::TransferChunk chunk) {
  if (closed_ || !connect_) return false;
  if (!transfer_) OpenTransfer();
  return transfer_->Send(std::move(chunk));
}

void GatewayLink::FinishWrites() {
  if (connect_) connect_->FinishWrites();
}

void GatewayLink::Close() {
  if (closed_) return;
  closed_ = true;
  if (connect_) connect_->Cancel();
  if (transfer_) transfer_->Cancel();
}

}  // namespace muster::agent
