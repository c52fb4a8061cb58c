// What has changed lately, for whoever follows the fleet?
//
// Everything that changes in an org is one event, published in the turn of the
// loop in which it is decided, with a version that grows by one. A reader that
// comes back with the version of the last event it saw is given every later one
// exactly once, in order; or it is told that this cannot be done (EventReset),
// and takes a snapshot.
//
// An event is published before the store has it: what a gateway said in its
// last moment may be unsaid by a crash. Its next life is another run, so that
// every reader is told to look again.

#ifndef MUSTER_GATEWAY_FLEET_EVENT_LOG_H_
#define MUSTER_GATEWAY_FLEET_EVENT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// A place in the stream of an org.
struct EventVersion {
  uint64_t run = 0;  // Of the gateway.
  // Counts on from the wall clock's microseconds when that run began: a
  // restored copy of the database may give a run number again.
  uint64_t number = 0;

  // "RUN-NUMBER". InvalidArgument naming `field` for any other text.
  static absl::StatusOr<EventVersion> Parse(std::string_view field,
                                            std::string_view text);
  std::string Text() const;

  friend bool operator==(const EventVersion&, const EventVersion&) = default;
};

// A machine has joined, or is gone for good.
enum class Membership : uint8_t { kAdmitted = 1, kDeleted = 2 };

struct Event {
  EventVersion version = {};  // Given by EventLog.
  OrgId org = {};             // Empty: it concerns all of them.
  absl::Time at = {};         // When it was decided.
  // Whom it is about; empty: a group, or the gateway itself.
  AgentId agent = {};
  std::string hostname = {};
  std::variant<TransitionRecord, NoteRecord, IncidentRecord, BlindRecord,
               Membership>
      what;
  // How long after its deadline it was decided; absent: no deadline decided it.
  std::optional<absl::Duration> late = {};

  friend bool operator==(const Event&, const Event&) = default;
};

// Why a reader cannot go on where it was. Equal to those of proto/muster/v1.
enum class EventReset : uint8_t {
  kStart = 1,             // It was nowhere yet.
  kGatewayRestarted = 2,  // That version is of another life.
  kTooOld = 3,            // More has happened since than is kept.
};

// EventTap is called on the fleet loop for each event, in the turn in which it
// is decided. It may read the log, not publish.
class EventTap {
 public:
  virtual ~EventTap() = default;
  virtual void OnEvent(const OrgId& org) = 0;
};

// EventLog keeps the newest events of each org. Not thread-safe: it lives on
// the fleet loop.
class EventLog {
 public:
  struct Options {
    // Of each org; 400 bytes each.
    size_t kept_max = 16'384;
  };

  explicit EventLog(Options options) : options_(options) {}

  // Before anything is published or read.
  void BeginRun(uint64_t run, absl::Time now);

  // What concerns all goes to every org of which anything was said or asked in
  // this run: nobody else has a version to come back with.
  void Publish(Event event);

  struct Reading {
    // Oldest first; valid until the next Publish().
    std::vector<const Event*> events;
    EventVersion next;  // Read on after this.
    // Set: `events` is empty, `next` is the newest.
    std::optional<EventReset> reset;
  };
  // At most `limit` events after `after`; absent: none yet.
  Reading Read(const OrgId& org, const std::optional<EventVersion>& after,
               size_t limit);

  // At most one; it must outlive the log, or be taken away with nullptr.
  void set_tap(EventTap* tap) { tap_ = tap; }

  // In this run, of all orgs.
  uint64_t published() const { return published_; }

 private:
  struct Stream {
    uint64_t last = 0;  // The number of the newest.
    std::deque<Event> kept;
  };
  Stream& StreamOf(const OrgId& org);
  void Append(Stream& stream, Event event);

  const Options options_;
  uint64_t run_ = 0;
  uint64_t first_ = 0;  // What numbers count on from.
  uint64_t published_ = 0;
  std::map<OrgId, Stream> streams_;
  EventTap* tap_ = nullptr;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_EVENT_LOG_H_
