// What happened, as lines for a person: newest first, with the times in which
// the gateway itself could not hear between them.

#ifndef MUSTER_TOOLS_MUSTERCTL_HISTORY_TABLE_H_
#define MUSTER_TOOLS_MUSTERCTL_HISTORY_TABLE_H_

#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "muster/v1/history.pb.h"
#include "tools/musterctl/table.h"

namespace muster::ctl {

// One line of a machine's history.
struct HistoryRow {
  absl::Time at;
  Cell what;         // "online -> stale", "link closed", "gateway blind"
  std::string span;  // How long it lasted, or has lasted; empty: a moment.
  std::string why;
  // For wide tables.
  std::string sequence;
  std::string epoch;
  std::string detail;
};

// `transitions` newest first and without gap: each lasted until the next.
void AddTransitions(std::span<const v1::Transition> transitions, absl::Time now,
                    std::vector<HistoryRow>& rows);
void AddNotes(std::span<const v1::Note> notes, std::vector<HistoryRow>& rows);
// Two rows for each link: opened, and closed if it is.
void AddLinks(std::span<const v1::Link> links, absl::Time now,
              std::vector<HistoryRow>& rows);
void AddBlindIntervals(std::span<const v1::BlindInterval> intervals,
                       std::vector<HistoryRow>& rows);

// Newest first; those of one moment stay in their order.
void SortRows(std::vector<HistoryRow>& rows);

Table HistoryTable(std::span<const HistoryRow> rows, absl::Time now,
                   absl::TimeZone zone, bool wide);

// Incidents, and when the gateway itself could not hear, by their beginning.
Table IncidentsTable(std::span<const v1::Incident> incidents,
                     std::span<const v1::BlindInterval> intervals,
                     absl::Time now, absl::TimeZone zone, bool wide);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_HISTORY_TABLE_H_
