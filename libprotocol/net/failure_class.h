// What went wrong on the way from an agent to its gateway, in seven words.
//
// gRPC tells the agent a status text; the text alone is not enough (a
// certificate that the gateway refuses reads "Socket closed"), so the agent
// also makes one probe of its own (probe.h) and joins both here.

#ifndef MUSTER_LIBPROTOCOL_NET_FAILURE_CLASS_H_
#define MUSTER_LIBPROTOCOL_NET_FAILURE_CLASS_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"

namespace muster {

enum class FailureClass {
  kConnectionReset,   // The peer, or a middlebox, sent RST.
  kEof,               // The peer closed the connection.
  kDialTimeout,       // No answer: packets vanish or no route exists.
  kRefused,           // The host answered: nobody listens on that port.
  kDnsFailure,        // The name has no address.
  kTlsFailure,        // Someone answered who is not our gateway, or not in TLS.
  kRefusedByGateway,  // The gateway answered and does not want this agent.
};

// "connection_reset", "eof", … as they appear in logs and evidence.
std::string_view FailureClassName(FailureClass failure);

// The class of a failed system call on a socket. Nothing for an error that says
// nothing about the path (EMFILE, ENOMEM).
std::optional<FailureClass> FailureClassOfErrno(int error);

// The class that gRPC's status text alone shows. Nothing if it shows none.
std::optional<FailureClass> FailureClassOfGrpcText(std::string_view text);

// Joins the status text of a failed link with the class that the agent's own
// probe ended in (nothing: the probe found the path open, or was not made).
//   * The text is the witness of the link itself and wins where it is specific.
//   * "Socket closed", a keepalive that timed out and texts that show nothing
//     yield to the probe.
//   * A probe that the gateway refused explains any closed or reset link.
//   * If neither knows, kEof: the link ended and nobody said why.
FailureClass ClassifyLinkFailure(std::string_view grpc_text,
                                 std::optional<FailureClass> probe);

// A Status that carries its class. `FailureClassOf` gives it back; nothing for
// any other Status.
absl::Status FailureStatus(absl::StatusCode code, FailureClass failure,
                           std::string_view text);
std::optional<FailureClass> FailureClassOf(const absl::Status& status);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_FAILURE_CLASS_H_
