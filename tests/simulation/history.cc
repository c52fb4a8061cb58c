#include "tests/simulation/history.h"

#include <string_view>

#include "fmt/format.h"

namespace muster::simulation {
namespace {

std::string_view Name(What what) {
  switch (what) {
    case What::kArrived:
      return "heartbeat arrived";
    case What::kArrivedOther:
      return "message arrived";
    case What::kLinkBroke:
      return "link broke";
    case What::kStalled:
      return "gateway stood still";
    case What::kStopping:
      return "gateway stops";
    case What::kCrashed:
      return "gateway crashed";
    case What::kBackedUp:
      return "disk copied";
    case What::kStoreBroken:
      return "store broken";
    case What::kStarted:
      return "command started";
    case What::kSeen:
      return "order seen";
    case What::kClaimed:
      return "claimed";
    case What::kExitKept:
      return "end recorded";
    case What::kFolderGone:
      return "folder deleted";
    case What::kSaid:
      return "agent says";
    case What::kWrote:
      return "wrote";
    case What::kProcessEnded:
      return "process ended";
    case What::kProcessesGone:
      return "no process left";
    case What::kShimLost:
      return "shim lost";
    case What::kAgentLost:
      return "agent lost";
    case What::kAgentRuns:
      return "agent runs";
    case What::kHeldUp:
      return "heartbeat held up";
    case What::kBuffered:
      return "output buffered";
    case What::kOutputComplete:
      return "output complete";
    case What::kOutputStored:
      return "output stored";
    case What::kOutputRead:
      return "output read";
    case What::kCopied:
      return "agent copied";
    case What::kRolledBack:
      return "disk rolled back";
    case What::kStoreLost:
      return "store lost";
    case What::kStoreFound:
      return "store found";
    case What::kDialled:
      return "agent dials";
    case What::kGreeted:
      return "says hello";
    case What::kHeld:
      return "held";
    case What::kIncident:
      return "incident stored";
    case What::kWaits:
      return "waits to be accepted";
    case What::kHindered:
      return "newcomers have to wait";
    case What::kHealthy:
      return "healthy";
    case What::kHealed:
      return "everything healed";
    case What::kTick:
      return "tick";
    case What::kOpened:
      return "gateway open";
    case What::kRestored:
      return "restored";
    case What::kAdmitted:
      return "admitted";
    case What::kDeleting:
      return "to be deleted";
    case What::kDeleted:
      return "deleted";
    case What::kAccepted:
      return "link accepted";
    case What::kRefused:
      return "link refused";
    case What::kHandled:
      return "heartbeat handled";
    case What::kOldLinkCounted:
      return "old link counted";
    case What::kGoodbye:
      return "goodbye";
    case What::kIssued:
      return "issuer named";
    case What::kWithdrawn:
      return "right withdrawn";
    case What::kOrdered:
      return "order sent";
    case What::kDecided:
      return "decided";
    case What::kStored:
      return "stored";
    case What::kMiscounted:
      return "miscounted";
    case What::kVouched:
      return "vouched for";
    case What::kBlind:
      return "blind";
    case What::kCommandAccepted:
      return "command accepted";
    case What::kCommandRefused:
      return "command refused";
    case What::kCommandEnded:
      return "command ended";
    case What::kCommandAsked:
      return "command asked";
  }
  return "?";
}

std::string_view Name(gateway::Status status) {
  switch (status) {
    case gateway::Status::kOnline:
      return "online";
    case gateway::Status::kStale:
      return "stale";
    case gateway::Status::kOffline:
      return "offline";
  }
  return "?";
}

}  // namespace

std::string ToText(Nanos at) {
  const Nanos in_day = at % kDay;
  return fmt::format("{}d {:02}:{:02}:{:06.3f}", at / kDay, in_day / kHour,
                     in_day % kHour / kMinute,
                     static_cast<double>(in_day % kMinute) / 1e9);
}

std::string ToText(const Event& e) {
  std::string text =
      fmt::format("{}  m{} {}", ToText(e.at), e.machine, Name(e.what));
  switch (e.what) {
    case What::kDecided:
    case What::kStored:
      text += fmt::format(" #{} {} → {} cause {}", e.number, Name(e.from),
                          Name(e.to), static_cast<int>(e.cause));
      break;
    case What::kRestored:
      text += fmt::format(" {} #{} group {}", Name(e.to), e.number, e.group);
      break;
    case What::kHandled:
      text +=
          fmt::format(" {} echo {} epoch {:x}", Name(e.to), e.number, e.epoch);
      break;
    default:
      if (e.epoch != 0) text += fmt::format(" epoch {:x}", e.epoch);
      if (e.number != 0) text += fmt::format(" number {}", e.number);
      if (e.group != 0) text += fmt::format(" group {}", e.group);
      if (e.state != gateway::CommandState{}) {
        text += fmt::format(" state {}", static_cast<int>(e.state));
      }
      if (e.code != 0) text += fmt::format(" code {}", e.code);
      if (e.length != 0) {
        text += fmt::format(" {:.3f} s", static_cast<double>(e.length) / 1e9);
      }
      if (e.flag) text += " !";
  }
  return text;
}

}  // namespace muster::simulation
