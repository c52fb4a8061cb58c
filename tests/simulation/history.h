// What happened in a fleet, event by event: what the invariants judge.
//
// A history mixes two voices. The *world* says what was true, whatever the
// gateway believed: bytes reached its host, it stood still, a link broke. The
// *gateway* says what it did: accepted, decided, stored. The simulation records
// histories; whoever drives real processes can record the same events.

#ifndef MUSTER_TESTS_SIMULATION_HISTORY_H_
#define MUSTER_TESTS_SIMULATION_HISTORY_H_

#include <cstdint>
#include <string>

#include "gateway/fleet/records.h"

namespace muster::simulation {

// Time since the beginning of the history on the boottime of the gateway's
// host, and lengths of it. A plain number: there are millions of them.
using Nanos = int64_t;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kMinute = 60 * kSecond;
inline constexpr Nanos kHour = 60 * kMinute;
inline constexpr Nanos kDay = 24 * kHour;
inline constexpr Nanos kNever = INT64_MAX;

enum class What : uint8_t {
  // --- The world ----------------------------------------------------------
  // A heartbeat reached the gateway's host. `epoch` and `number`: its link and
  // the acknowledgement that it brings back; `length`: the interval kept.
  kArrived,
  // Any other message of the link `epoch` did.
  kArrivedOther,
  // The end of the link `epoch` could be seen at the gateway's host, or the
  // gateway itself ended it (`flag`).
  kLinkBroke,
  // The gateway's process could do nothing for the last `length`.
  kStalled,
  // Its process is gone.
  kCrashed,
  // It was asked to end: nobody is let in or judged any more.
  kStopping,
  // A copy of the disk was made / the disk was put back to what the copy holds.
  kBackedUp,
  kRolledBack,
  // A write failed so that nobody knows what the disk holds.
  kStoreBroken,
  // A command, `number`, was started there: exec.
  kStarted,
  // On a machine's disk, durable. Of these and the next few `number` is the
  // command and `group` tells the node, from 1 on, that shows the identity:
  // the highest order seen is `number` here;
  kSeen,
  // who decided has created `started`: the shim, or (`flag`) the agent;
  kClaimed,
  // its end: `state`, and `code` of an exit; `epoch` and `length`: bytes of its
  // two streams that are there to read; `flag`: they are all that it wrote;
  kExitKept,
  // its folder is gone.
  kFolderGone,
  // The agent says `state` of it on a link; `epoch`: the number of its order.
  kSaid,
  // It has written `length` bytes in all to the stream `epoch`.
  kWrote,
  // It has ended by itself, with `code`; `flag`: a shim has waited for it.
  kProcessEnded,
  // No process of it is left.
  kProcessesGone,
  // Its shim is gone before it has said how it ended.
  kShimLost,
  // From now on nothing is done on that node for its commands / again something
  // may be.
  kAgentLost,
  kAgentRuns,
  // A heartbeat has to wait for `length` behind other bytes of its own link.
  kHeldUp,
  // So many bytes of output, `length`, are on their way from the agent, or
  // (`flag`) wait for the gateway's disk.
  kBuffered,
  // Its agent's disk was copied, or put back: it may not remember, or not be
  // the only one.
  kCopied,
  // The command `number` is asked for by the person `group` / who may run
  // nothing any more.
  kIssued,
  kWithdrawn,
  // The store takes nothing / takes writes again.
  kStoreLost,
  kStoreFound,
  // An agent begins to dial. `flag`: its process is new; `length`: so much
  // sooner than the gateway has told it to.
  kDialled,
  // Its hello was read: `number` names the instance that speaks, `epoch` is the
  // last that it knows.
  kGreeted,
  // A connection of this machine waits at the gateway's host to be accepted;
  // or (`flag`) one does so no longer.
  kWaits,
  // This machine has a healthy agent and a healthy way to the gateway.
  kHealthy,
  // From now on nothing fails any more.
  kHealed,
  // Time for those who wait for something that does not happen.
  kTick,
  // --- The gateway --------------------------------------------------------
  // Links are accepted from now on, and will be told to speak every `length`,
  // as far as is known; what is remembered follows as kRestored.
  kOpened,
  // A start found the machine with status `to`, `number` transitions, in this
  // group and, if it has one, with this verdict. `length`: how long the promise
  // of a goodbye still holds, if one does.
  kRestored,
  // The machine is one of the fleet. Durable.
  kAdmitted,
  // The operator has asked for the machine to be deleted.
  kDeleting,
  // The operator was told that the machine is deleted; without `flag`: that a
  // start may bring it back, as this is not durable.
  kDeleted,
  // The link `epoch` was accepted; `length`: the interval told.
  kAccepted,
  // A link was not accepted; the agent is told to come back after `length`.
  kRefused,
  // Somebody had to wait outside: whoever has no link is excused for `length`.
  kHindered,
  // A heartbeat was dealt with: `epoch` and `number` as in kArrived; `flag`: it
  // was acknowledged; `to`: the status afterwards; `length`: the interval told.
  kHandled,
  // A message of a link that is not the newest changed what is stored.
  kOldLinkCounted,
  // A goodbye was taken, and believed: `cause`, and `length`: back within.
  kGoodbye,
  // The order of command `number` is sent.
  kOrdered,
  // Status changed in memory: `from`, `to`, `number`: its sequence, and the
  // verdict. `flag`: the verdict has a summary of 1 … 48 characters.
  kDecided,
  // The same, durable.
  kStored,
  // Silent with others of its group: it is given more time.
  kHeld,
  // A row that says that the group fell silent, or (`flag`) is over.
  kIncident,
  // What is shown of the whole fleet differs from its machines; or (`flag`)
  // what
  // its events have told.
  kMiscounted,
  // Shown as online, and confirmed, although the gateway knows that it has not
  // heard the machine for a while.
  kVouched,
  // A row says that nobody could be heard for the last `length`.
  kBlind,
  // A submission, `number`, got no answer yet. `epoch`: its idempotency key, or
  // 0; `group`: what it asks for; `length`: the timeout of it.
  kCommandAsked,
  // It was accepted (durable), or refused with an error (`flag`: after which
  // nobody knows what is stored). `number` names the command, or `epoch` if
  // that
  // was accepted before.
  kCommandAccepted,
  kCommandRefused,
  // The command `number` has ended, which is durable: `state`; `flag`: it had
  // started.
  kCommandEnded,
  // All of its output is said to be stored: so many bytes of its two streams,
  // `epoch` and `length`.
  kOutputComplete,
  // Bytes of the stream `epoch` up to `length` are stored / were read from
  // `group` on; `flag`: they are those that the command wrote there.
  kOutputStored,
  kOutputRead,
};

struct Event {
  Nanos at = 0;
  What what = What::kTick;
  bool flag = false;
  bool verdict = false;  // The fields that follow mean something.
  gateway::Status from = gateway::Status::kStale;
  gateway::Status to = gateway::Status::kStale;
  gateway::Domain domain = gateway::Domain::kUnknown;
  gateway::Cause cause = gateway::Cause::kUndetermined;
  gateway::Confidence confidence = gateway::Confidence::kUndetermined;
  gateway::CommandState state = {};  // None.
  int32_t code = 0;
  uint32_t machine = 0;
  uint64_t epoch = 0;
  uint64_t number = 0;
  uint64_t group = 0;  // Of neighbours, as the gateway sees them; 0: none.
  Nanos length = 0;
};

// One line: "0d 03:12:44.120 m7 decided online → stale …".
std::string ToText(const Event& event);
std::string ToText(Nanos at);

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_HISTORY_H_
