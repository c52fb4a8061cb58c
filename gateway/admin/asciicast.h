// A recorded session as asciicast v2, the format of asciinema and its players
// (https://docs.asciinema.org/manual/asciicast/v2/).

#ifndef MUSTER_GATEWAY_ADMIN_ASCIICAST_H_
#define MUSTER_GATEWAY_ADMIN_ASCIICAST_H_

#include <string>
#include <vector>

#include "gateway/fleet/records.h"

namespace muster::gateway {

// `output`: all that is stored, in order. What was never seen is said in
// brackets. Text of a recording is UTF-8: a character that two records share
// comes with the second, and what is none is shown as U+FFFD.
std::string ToAsciicast(const CommandRecord& session,
                        const std::vector<OutputRecord>& output);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_ASCIICAST_H_
