#include <algorithm>

#include "tests/simulation/invariants.h"

namespace muster::simulation {

using gateway::Status;

Nanos Ledger::StaleLease(const MachineFacts& m) const {
  // What it was told last may not have reached it.
  const Nanos interval = std::min(m.interval, m.told);
  return std::max(promises_.stale_after, interval * 5 / 2);
}

Nanos Ledger::OfflineLease(const MachineFacts& m) const {
  return std::max(promises_.offline_after, m.told * 4);
}

void Ledger::StoodStill(Nanos at, Nanos length) {
  // It may have been without time for a moment longer than it was stopped: it
  // looks at itself four times in a blind_gap.
  const Nanos late = promises_.blind_gap / 2;
  if (length + late > promises_.blind_gap) {
    disturbed_until_ = at;
    stood_still_max_ += length + late;
  }
  if (length <= promises_.blind_gap) return;
  stood_still_ += length;
  if (length >= promises_.blind_restart) restarted_at_ = at;
  if (length + late >= promises_.blind_restart) {
    perhaps_restarted_at_ = at;
  }
  // What came meanwhile is looked at now.
  const Nanos from = at - length;
  for (MachineFacts& m : machines_) {
    for (Moment* moment : {&m.heard, &m.fresh, &m.broke}) {
      if (moment->known() && moment->at > from) *moment = Now(at);
    }
  }
}

void Ledger::TakeLink(const Event& event, MachineFacts& m) {
  switch (event.what) {
    case What::kArrived:
    case What::kArrivedOther:
      if (event.epoch != m.epoch) return;
      m.heard = Now(event.at);
      m.interval = event.length;
      if (event.what == What::kArrived && event.number > m.echoed) {
        m.echoed = event.number;
        m.fresh = m.heard;
      }
      return;
    case What::kAccepted:
      if (m.broke.known() || m.epoch == 0) {
        m.excused_until = std::min(deaf_until_, event.at);
      }
      m.excused_until = std::max(m.excused_until, m.postponed_until);
      m.epoch = event.epoch;
      m.echoed = 0;
      m.heard = m.linked = Now(event.at);
      m.broke = {};
      m.left = false;
      m.postponed_until = 0;
      m.told = std::max(m.told_last, event.length);
      m.told_last = event.length;
      return;
    case What::kHandled:
      m.told = std::max(m.told_last, event.length);
      m.told_last = event.length;
      if (event.epoch == m.epoch) m.left = false;
      return;
    case What::kLinkBroke:
      if (event.epoch != m.epoch || m.broke.known()) return;
      m.broke = Now(event.at);
      m.by_gateway = event.flag;
      return;
    case What::kGoodbye:
      m.left = true;
      m.left_at = Now(event.at);
      m.left_cause = event.cause;
      m.promise_end =
          event.at + std::clamp(event.length, promises_.reconnect_grace,
                                promises_.promise_max);
      return;
    default:
      return;
  }
}

void Ledger::Take(const Event& event) {
  switch (event.what) {
    case What::kStalled:
      StoodStill(event.at, event.length);
      return;
    case What::kCrashed:
      open_ = false;
      return;
    case What::kOpened:
      open_ = true;
      opened_at_ = event.at;
      deaf_until_ = 0;
      for (MachineFacts& m : machines_) {
        m.postponed_until = 0;  // A new life knows nobody whom it sent away.
        m.waiting = 0;
        if (m.epoch != 0 && !m.broke.known()) m.broke = Now(event.at);
      }
      return;
    case What::kStoreLost:
    case What::kStoreFound:
      store_lost_at_ = event.what == What::kStoreLost ? event.at : kNever;
      store_found_at_ = event.at;
      return;
    case What::kRolledBack:
      rolled_back_ = true;
      for (MachineFacts& m : machines_) m.stored_epoch = 0;  // Forgotten.
      return;
    case What::kHindered:
      deaf_until_ = std::max(deaf_until_, event.at + event.length);
      return;
    case What::kHealed:
      healed_at_ = event.at;
      return;
    case What::kTick:
    case What::kMiscounted:
      return;
    default:
      break;
  }
  MachineFacts& m = machines_[event.machine];
  switch (event.what) {
    case What::kAdmitted:
      m = {};
      m.member = true;
      m.born = m.since = Now(event.at);
      return;
    case What::kRefused:
      m.postponed_until = event.at + event.length;
      deaf_until_ = std::max(deaf_until_, m.postponed_until);
      return;
    case What::kWaits:
      if (!event.flag && m.waiting++ == 0) m.waits = Now(event.at);
      if (event.flag) --m.waiting;
      return;
    case What::kDeleting:
      m.deleting = true;
      return;
    case What::kDeleted:
      m.member = m.deleting = false;
      m.deleted = event.flag;
      return;
    case What::kRestored:
      m.member = true;
      m.deleting = false;
      m.status = m.stored_status = event.to;
      m.sequence = m.stored_sequence = event.number;
      m.since = Now(event.at);
      return;
    case What::kDecided:
      m.status = event.to;
      m.sequence = event.number;
      m.since = Now(event.at);
      return;
    case What::kStored:
      m.stored_sequence = event.number;
      m.stored_status = event.to;
      m.stored_epoch = event.epoch;
      return;
    case What::kHealthy:
      m.healthy = event.flag;
      return;
    default:
      TakeLink(event, m);
  }
}

}  // namespace muster::simulation
