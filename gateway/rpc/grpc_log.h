// gRPC's own remarks, among ours.

#ifndef MUSTER_GATEWAY_RPC_GRPC_LOG_H_
#define MUSTER_GATEWAY_RPC_GRPC_LOG_H_

namespace muster::gateway {

// From now on what gRPC would write to standard error by itself, in a form that
// no reader of our log expects, is a warning "grpc". Call once, before gRPC is
// used.
void TakeGrpcLog();

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_GRPC_LOG_H_
