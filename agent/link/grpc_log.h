// gRPC's own remarks, among ours.

#ifndef MUSTER_AGENT_LINK_GRPC_LOG_H_
#define MUSTER_AGENT_LINK_GRPC_LOG_H_

namespace muster::agent {

// From now on what gRPC would write to standard error by itself, in a form that
// no reader of our log expects, is a warning "grpc". Call once, before gRPC is
// used.
void TakeGrpcLog();

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LINK_GRPC_LOG_H_
