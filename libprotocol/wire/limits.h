// Every size limit of what comes from outside, each with its reason.

#ifndef MUSTER_LIBPROTOCOL_WIRE_LIMITS_H_
#define MUSTER_LIBPROTOCOL_WIRE_LIMITS_H_

#include <cstddef>

#include "absl/time/time.h"

namespace muster::wire {

// JSON ----------------------------------------------------------------------

// The contract nests five levels; the rest is room for newer versions. Bounds
// the reader's recursion.
inline constexpr size_t kJsonDepthMax = 16;

// One HTTP request body. Four times the longest command, since JSON may write a
// byte as up to six.
inline constexpr size_t kHttpBodyBytesMax = 1 << 20;

// Request line and header fields together; a token and a browser's cookies fit.
inline constexpr size_t kHttpHeaderBytesMax = 16 << 10;

// Machines ------------------------------------------------------------------

// HOST_NAME_MAX of Linux.
inline constexpr size_t kHostnameBytesMax = 64;

// Any other fact. 12 facts of 2 000 machines stay below 7 MiB.
inline constexpr size_t kFactBytesMax = 255;

// A PKCS #10 request for a P-256 key is below 1 KiB.
inline constexpr size_t kCsrBytesMax = 8 << 10;

// The certificates that we sign are below 2 KiB.
inline constexpr size_t kCertificateBytesMax = 8 << 10;

// A registration token is below 100 bytes; longer ones are not even looked up.
inline constexpr size_t kTokenBytesMax = 256;

// Ids are UUIDs; room for other kinds.
inline constexpr size_t kIdBytesMax = 64;

// The last part of a Kubernetes label plus its separator; fits a table column.
inline constexpr size_t kLabelKeyBytesMax = 63;
inline constexpr size_t kLabelValueBytesMax = 255;
inline constexpr size_t kLabelsMax = 64;

// Commands ------------------------------------------------------------------

// Larger scripts are files. One link message stays well below gRPC's 4 MiB.
inline constexpr size_t kCommandBytesMax = 256 << 10;

// argv: the sum of all arguments has the same bound as a command.
inline constexpr size_t kArgvMax = 1024;

inline constexpr size_t kIdempotencyKeyBytesMax = 128;

// Surroundings. LOGIN_NAME_MAX of useradd(8); PATH_MAX; an environment that no
// program has to search long; input that is more is a file.
inline constexpr size_t kUserBytesMax = 32;
inline constexpr size_t kPathBytesMax = 4096;
inline constexpr size_t kEnvironmentMax = 64;
inline constexpr size_t kEnvironmentBytesMax = 32 << 10;
inline constexpr size_t kInputBytesMax = 256 << 10;

// A sentence for the log.
inline constexpr size_t kPurposeBytesMax = 200;

// What a machine spools of one stream of one command.
inline constexpr size_t kCommandOutputBytesMax = 64 << 20;

inline constexpr absl::Duration kCommandTimeoutMin = absl::Seconds(1);
inline constexpr absl::Duration kCommandTimeoutMax = absl::Hours(7 * 24);
inline constexpr absl::Duration kKillGraceMax = absl::Minutes(10);

// Sessions ------------------------------------------------------------------

inline constexpr uint32_t kWindowSizeMax = 1000;  // Rows, columns.
inline constexpr size_t kTerminalTypeBytesMax = 64;
inline constexpr absl::Duration kSessionTimeoutMax = absl::Hours(24 * 30);
inline constexpr absl::Duration kSessionKeepMin = absl::Seconds(15);
inline constexpr absl::Duration kSessionKeepMax = absl::Hours(24 * 7);
// Of input in one request: what is kept of it (gateway/fleet/input_desk.h).
inline constexpr size_t kInputDataBytesMax = 64 << 10;

// Tokens --------------------------------------------------------------------

inline constexpr size_t kTokenDescriptionBytesMax = 200;
inline constexpr absl::Duration kTokenTtlMin = absl::Minutes(1);
inline constexpr absl::Duration kTokenTtlMax = absl::Hours(90 * 24);
inline constexpr unsigned kTokenUsesMax = 10'000;
// Each is read at every registration, on the store thread: below 0.1 ms.
inline constexpr size_t kTokenRangesMax = 16;
// How long a machine that leaves by itself is offline before. Less would take
// away who only restarts.
inline constexpr absl::Duration kEphemeralMin = absl::Hours(1);
inline constexpr absl::Duration kEphemeralMax = absl::Hours(90 * 24);

// Users ----------------------------------------------------------------------

inline constexpr size_t kOrgNameBytesMax = 63;  // Stands in certificates.
inline constexpr size_t kUserNameBytesMax = 63;
// NIST SP 800-63B: length is what counts.
inline constexpr size_t kPasswordBytesMin = 12;
inline constexpr size_t kPasswordBytesMax = 256;
inline constexpr absl::Duration kAccessTokenTtlMin = absl::Minutes(1);
inline constexpr absl::Duration kAccessTokenTtlMax = absl::Hours(366 * 24);

// Presence ------------------------------------------------------------------

// Machines whose settings one request may write: one transaction, below 0.2 s
// of the store. For more, set them for the org.
inline constexpr unsigned kSelectedMax = 10'000;

// Batches -------------------------------------------------------------------

// Above this a person must have said how many machines it may be.
inline constexpr unsigned kUnconfirmedTargetsMax = 100;

// What the commands of a batch that run at a time take up, each with its own
// copy. At the gateway it is held four times at worst.
inline constexpr size_t kRunningBytesMax = 64 << 20;

// Questions -----------------------------------------------------------------

// Of a long poll: below the idle time of common proxies.
inline constexpr absl::Duration kWaitMax = absl::Seconds(60);

inline constexpr unsigned kPageSizeDefault = 100;
inline constexpr unsigned kPageSizeMax = 1000;

// Of GetOutput and ReadOutput: one answer.
inline constexpr unsigned kOutputBytesDefault = 256 << 10;
inline constexpr unsigned kOutputBytesMax = 1 << 20;

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_LIMITS_H_
