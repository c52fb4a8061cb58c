#include <algorithm>

#include "tests/simulation/ledger.h"

namespace muster::simulation {

using gateway::Cause;
using gateway::Status;

namespace {

// What only a goodbye can tell.
bool IsGoodbye(Cause cause) {
  return cause == Cause::kAgentStopped || cause == Cause::kAgentUpgrading ||
         cause == Cause::kHostRebooted || cause == Cause::kHostShutdown;
}

}  // namespace

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
  stalled_from_ = at - length;
  stalled_until_ = at;
  if (length + late > promises_.blind_gap) {
    disturbed_until_ = at;
    stood_still_max_ += length + late;
  }
  if (length <= promises_.blind_gap) return;
  stood_still_ += length;
  if (length >= promises_.blind_restart) restarted_at_ = at;
  if (length + late >= promises_.blind_restart) {
    perhaps_restarted_ = Now(at);
  }
  // What came meanwhile is looked at now.
  const Nanos from = at - length;
  for (MachineFacts& m : machines_) {
    for (Moment* moment : {&m.heard, &m.fresh, &m.broke}) {
      if (moment->known() && moment->at > from) *moment = Now(at);
    }
  }
}

void Ledger::End(Silence& silence, const Moment& last, Nanos at) const {
  if (!last.known()) return;
  const Nanos length = Listened(last, at);
  if (length > promises_.stale_after / 2) silence = {at, length};
}

// Pauses from now on do not count, though it may be deaf longer.
void Ledger::Deaf(Nanos until) {
  if (until <= deaf_until()) return;
  deaf_until_ = {until, stood_still_, stood_still_max_};
}

void Ledger::TakeHello(const Event& event, MachineFacts& m) {
  const Moment now = Now(event.at);
  const auto same = [&](const Voice& v) { return v.instance == event.number; };
  const bool speaks = m.speaker < m.voices.size();
  const uint64_t holder = speaks ? m.voices[m.speaker].instance : 0;
  const auto known = std::find_if(m.voices.begin(), m.voices.end(), same);
  Voice voice{event.number, now, 0};
  if (known == m.voices.end()) {
    for (Voice& v : m.voices) v.returns = 0;  // It replaces one of them.
  } else {
    const bool holder_lives =
        m.heard.known() &&
        event.at - m.heard.at < promises_.stale_after - 2 * promises_.slack;
    const bool gone = event.at - known->spoke.at >=
                      promises_.stale_after - 2 * promises_.slack;
    if (gone) {
      // What was told apart before is over.
      for (Voice& v : m.voices) v.returns = 0;
    }
    if (holder != event.number && holder_lives) {
      voice.returns = known->returns + 1;
    }
    m.voices.erase(known);
  }
  // Who was silent for so long is not heard of again.
  std::erase_if(m.voices,
                [&](const Voice& v) { return event.at - v.spoke.at > kHour; });
  m.voices.push_back(voice);
  const auto held =
      std::find_if(m.voices.begin(), m.voices.end(),
                   [&](const Voice& v) { return v.instance == holder; });
  m.speaker = static_cast<size_t>(held - m.voices.begin());
}

bool Ledger::AreTwo(const MachineFacts& m, Nanos now) const {
  const Nanos lease = promises_.stale_after - 2 * promises_.slack;
  if (m.speaker >= m.voices.size()) return false;
  const Voice& holder = m.voices[m.speaker];
  return std::any_of(m.voices.begin(), m.voices.end(), [&](const Voice& other) {
    return other.instance != holder.instance &&
           std::max(other.returns, holder.returns) >= 2 &&
           now - other.spoke.at < lease && now - holder.spoke.at < lease;
  });
}

bool Ledger::MayBeTwo(const MachineFacts& m, Nanos now) const {
  const Nanos lease = VoiceLease(m) + 2 * promises_.slack;
  if (m.restored_cause == Cause::kDuplicateIdentity && m.restored.known() &&
      ListenedMin(m.restored, now) < lease) {
    return true;
  }
  if (deaf_until() > 0 && ListenedMin(deaf_end(), now) < lease) return true;
  if (m.speaker >= m.voices.size()) return false;
  const uint64_t holder = m.voices[m.speaker].instance;
  return std::any_of(m.voices.begin(), m.voices.end(), [&](const Voice& other) {
    return other.instance != holder && ListenedMin(other.spoke, now) < lease;
  });
}

void Ledger::RollBack() {
  if (copy_.empty()) {
    // Nobody says to what.
    rolled_back_ = true;
    for (MachineFacts& m : machines_) m.stored_epoch = 0;
    return;
  }
  // It takes the fleet for as large as it was.
  told_last_ = std::max(told_last_, told_before_copy_);
  for (size_t i = 0; i < machines_.size(); ++i) {
    MachineFacts& m = machines_[i];
    if (i >= copy_.size() || !copy_[i].born.known()) {
      m = {};  // It was admitted later.
      continue;
    }
    const MachineFacts& then = copy_[i];
    m.member = then.member;
    m.deleting = then.deleting;
    m.deleted = then.deleted;
    m.stored_sequence = then.stored_sequence;
    m.stored_status = then.stored_status;
    m.stored_epoch = m.epoch = then.stored_epoch;
    m.interval = 0;  // What it was told since is forgotten.
  }
}

void Ledger::TakeLink(const Event& event, MachineFacts& m) {
  switch (event.what) {
    case What::kArrived:
    case What::kArrivedOther:
      if (event.epoch != m.epoch) return;
      End(m.unheard, m.heard, event.at);
      m.heard = Now(event.at);
      m.interval = event.length;
      if (event.what == What::kArrived && event.number > m.echoed) {
        m.echoed = event.number;
        End(m.unechoed, m.fresh, event.at);
        m.fresh = m.heard;
      }
      // A goodbye, a word on a command: spoken as well.
      if (event.what == What::kArrivedOther && m.speaker < m.voices.size()) {
        m.voices[m.speaker].spoke = m.heard;
      }
      return;
    case What::kAccepted:
      if (m.broke.known() || m.epoch == 0) {
        m.excused_until = std::min(deaf_until(), event.at);
      }
      m.excused_until = std::max(m.excused_until, m.postponed_until);
      m.epoch = event.epoch;
      m.group = event.group;
      // Who said hello last.
      if (!m.voices.empty()) m.speaker = m.voices.size() - 1;
      m.echoed = 0;
      m.heard = m.linked = Now(event.at);
      m.broke = {};
      m.left = false;
      m.postponed_until = 0;
      m.interval = std::min(m.interval, event.length);
      m.told_before = m.told;
      m.told = std::max(m.told_last, event.length);
      m.told_last = told_last_ = event.length;
      return;
    case What::kHandled:
      m.told = std::max(m.told_last, event.length);
      m.told_last = told_last_ = event.length;
      if (event.epoch != m.epoch) return;
      m.left = false;
      if (m.speaker < m.voices.size()) {
        m.voices[m.speaker].spoke = Now(event.at);
      }
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
      m.fell_silent = m.held = {};  // It is known why.
      m.promise_end =
          event.at + std::clamp(event.length, promises_.reconnect_grace,
                                promises_.promise_max);
      return;
    default:
      return;
  }
}

void Ledger::Take(const Event& event) {
  commands_.Take(event);
  switch (event.what) {
    case What::kStalled:
      StoodStill(event.at, event.length);
      return;
    case What::kStopping:
    case What::kCrashed:
      open_ = false;
      return;
    case What::kOpened:
      open_ = true;
      opened_at_ = event.at;
      perhaps_restarted_ = Now(event.at);
      deaf_until_ = {0, 0, 0};
      // A copy may know more machines than were there when it was put back.
      told_last_ = std::max(told_last_, event.length);
      for (MachineFacts& m : machines_) {
        m.postponed_until = 0;  // A new life knows nobody whom it sent away.
        m.waiting = 0;
        m.voices.clear();  // Nor who spoke for whom.
        if (m.epoch != 0 && !m.broke.known()) m.broke = Now(event.at);
        // Nobody knows what the former life told it: the fleet's interval
        // counts.
        if (m.epoch != 0) m.told = std::max(m.told, told_last_);
      }
      return;
    case What::kStoreLost:
    case What::kStoreFound:
      store_lost_at_ = event.what == What::kStoreLost ? event.at : kNever;
      store_found_at_ = event.at;
      return;
    case What::kBackedUp:
      copy_ = machines_;
      told_before_copy_ = told_last_;
      return;
    case What::kRolledBack:
      RollBack();
      return;
    case What::kHindered:
      Deaf(event.at + event.length);
      return;
    case What::kHealed:
      healed_at_ = event.at;
      return;
    case What::kTick:
    case What::kMiscounted:
    case What::kVouched:
    case What::kBlind:
    case What::kIncident:
    case What::kStoreBroken:
    case What::kStarted:
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
      Deaf(m.postponed_until);
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
      m.restored = Now(event.at);
      // It may keep what others were told before.
      m.told = std::max(m.told, told_last_);
      m.group = event.group;
      m.restored_cause = event.verdict ? event.cause : Cause::kUndetermined;
      // Not every history tells what the store knew of a goodbye.
      if (event.verdict || event.to == Status::kOnline) {
        m.left = IsGoodbye(m.restored_cause) || event.length > 0;
        m.left_cause = m.restored_cause;
        m.left_at = Now(event.at);
        m.promise_end = 0;
        if (event.length > 0) {
          m.promise_end =
              event.at + std::min(event.length, promises_.promise_max);
        }
      }
      m.fell_silent = m.held = {};
      if (event.to == Status::kStale && event.cause == Cause::kNetworkGroup) {
        m.fell_silent = m.held = Now(event.at);  // Its incident goes on.
      }
      m.status = m.stored_status = event.to;
      m.sequence = m.stored_sequence = event.number;
      m.since = Now(event.at);
      return;
    case What::kCopied:
      m.copied = true;
      return;
    case What::kGreeted:
      TakeHello(event, m);
      return;
    case What::kHeld:
      m.held = Now(event.at);
      return;
    case What::kDecided:
      if (event.to != Status::kStale) {
        m.fell_silent = m.held = {};
      } else if (event.cause == Cause::kUndetermined) {
        m.fell_silent = Now(event.at);
      }
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
