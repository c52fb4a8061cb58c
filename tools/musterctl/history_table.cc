#include "tools/musterctl/history_table.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/enum_words.h"

namespace muster::ctl {
namespace {

constexpr size_t kSuffix = 6;

std::string StatusWord(v1::Status status) {
  return EnumWord(v1::Status_descriptor(), status);
}

Color ColorOf(v1::Status status) {
  switch (status) {
    case v1::STATUS_ONLINE:
      return Color::kGreen;
    case v1::STATUS_STALE:
      return Color::kYellow;
    case v1::STATUS_OFFLINE:
      return Color::kRed;
    default:
      return Color::kNone;
  }
}

// "agent_stopped, proven": id and confidence.
template <typename Message>
std::string CauseText(const Message& message) {
  return fmt::format(
      "{}, {}", EnumWord(v1::Cause_descriptor(), message.cause()),
      EnumWord(v1::Confidence_descriptor(), message.confidence()));
}

// "silent, no link (disputed)".
std::string WhyText(const v1::Transition& t) {
  std::string text = t.summary();
  if (t.disputed()) text += " (disputed)";
  if (!t.durable()) text += " (not stored yet)";
  return text.substr(text.starts_with(' ') ? 1 : 0);
}

// "drift", "duplicate identity".
std::string NoteWord(v1::NoteKind kind) {
  std::string word = EnumWord(v1::NoteKind_descriptor(), kind);
  std::ranges::replace(word, '_', ' ');
  return word;
}

std::string EndText(v1::LinkEnd end) {
  switch (end) {
    case v1::LINK_END_GOODBYE:
      return "goodbye";
    case v1::LINK_END_CLOSED_BY_PEER:
      return "closed by the machine, no goodbye";
    case v1::LINK_END_CLOSED_BY_GATEWAY:
      return "closed by the gateway";
    case v1::LINK_END_SILENCE:
      return "silence";
    case v1::LINK_END_SUPERSEDED:
      return "a newer link took its place";
    case v1::LINK_END_GATEWAY_STOPPED:
      return "the gateway stopped";
    default:
      return "unknown";
  }
}

bool OnlyNewcomers(v1::BlindReason reason) {
  return reason == v1::BLIND_REASON_DESCRIPTORS ||
         reason == v1::BLIND_REASON_ADMISSION ||
         reason == v1::BLIND_REASON_ONE_SOURCE;
}

// The gateway heard nobody: blind; or only whoever had a link: deaf.
std::string BlindWord(v1::BlindReason reason) {
  return OnlyNewcomers(reason) ? "deaf" : "blind";
}

std::string BlindText(v1::BlindReason reason) {
  switch (reason) {
    case v1::BLIND_REASON_NOT_RUNNING:
      return "the gateway was not running";
    case v1::BLIND_REASON_STOOD_STILL:
      return "the gateway's process stood still";
    case v1::BLIND_REASON_SUSPENDED:
      return "the gateway's host was suspended";
    case v1::BLIND_REASON_DESCRIPTORS:
      return "no descriptor left";
    case v1::BLIND_REASON_ONE_SOURCE:
      return "too many connections from one address";
    case v1::BLIND_REASON_ADMISSION:
      return "more machines connect at once than are let in";
    default:
      return "unknown";
  }
}

absl::Duration LengthOf(const v1::BlindInterval& b) {
  return wire::FromProto(b.to()) - wire::FromProto(b.from());
}

}  // namespace

void AddTransitions(std::span<const v1::Transition> transitions, absl::Time now,
                    std::vector<HistoryRow>& rows) {
  absl::Time until = now;
  for (const v1::Transition& t : transitions) {
    const absl::Time at = wire::FromProto(t.at());
    rows.push_back({.at = at,
                    .what = {StatusWord(t.from()) + " -> " + StatusWord(t.to()),
                             ColorOf(t.to())},
                    .span = AgeText(until - at),
                    .why = WhyText(t),
                    .sequence = std::to_string(t.sequence()),
                    .epoch = t.epoch() == 0 ? "" : std::to_string(t.epoch()),
                    .detail = t.has_cause() ? CauseText(t) : ""});
    until = at;
  }
}

void AddNotes(std::span<const v1::Note> notes, std::vector<HistoryRow>& rows) {
  for (const v1::Note& note : notes) {
    rows.push_back({.at = wire::FromProto(note.at()),
                    .what = {NoteWord(note.kind())},
                    .span = "",
                    .why = note.text().empty() ? note.summary() : note.text(),
                    .sequence = "",
                    .epoch = std::to_string(note.epoch()),
                    .detail = note.has_cause() ? CauseText(note) : ""});
  }
}

void AddLinks(std::span<const v1::Link> links, absl::Time now,
              std::vector<HistoryRow>& rows) {
  for (const v1::Link& link : links) {
    const absl::Time opened = wire::FromProto(link.opened_at());
    const std::string instance = fmt::format(
        "boot {}, process {}", link.boot_id(), link.process_start_id());
    HistoryRow row{.at = opened,
                   .what = {"link opened"},
                   .span = "",
                   .why = "from " + link.address(),
                   .sequence = "",
                   .epoch = std::to_string(link.epoch()),
                   .detail = instance};
    if (link.has_closed_at()) {
      const absl::Time closed = wire::FromProto(link.closed_at());
      HistoryRow end = row;
      end.at = closed;
      end.what = {"link closed"};
      end.span = AgeText(closed - opened);
      end.why = EndText(link.ended());
      rows.push_back(std::move(end));
    } else {
      row.span = AgeText(now - opened);
    }
    rows.push_back(std::move(row));
  }
}

void AddBlindIntervals(std::span<const v1::BlindInterval> intervals,
                       std::vector<HistoryRow>& rows) {
  for (const v1::BlindInterval& b : intervals) {
    rows.push_back(
        {.at = wire::FromProto(b.from()),
         .what = {"gateway " + BlindWord(b.reason()), Color::kYellow},
         .span = ShortDuration(LengthOf(b)),
         .why = BlindText(b.reason()),
         .sequence = "",
         .epoch = "",
         .detail = EnumWord(v1::BlindReason_descriptor(), b.reason())});
  }
}

void SortRows(std::vector<HistoryRow>& rows) {
  std::ranges::stable_sort(rows, std::ranges::greater(), &HistoryRow::at);
}

Table HistoryTable(std::span<const HistoryRow> rows, absl::Time now,
                   absl::TimeZone zone, bool wide) {
  std::vector<std::string> titles = {"WHEN", "WHAT", "FOR", "WHY"};
  if (wide) titles.insert(titles.end(), {"SEQ", "EPOCH", "DETAIL"});
  Table table(std::move(titles), "WHY");
  for (const HistoryRow& row : rows) {
    std::vector<Cell> cells = {
        {ClockText(row.at, now, zone)}, row.what, {row.span}, {row.why}};
    if (wide) {
      cells.push_back({row.sequence});
      cells.push_back({row.epoch});
      cells.push_back({row.detail});
    }
    table.AddRow(std::move(cells));
  }
  return table;
}

Table IncidentsTable(std::span<const v1::Incident> incidents,
                     std::span<const v1::BlindInterval> intervals,
                     absl::Time now, absl::TimeZone zone, bool wide) {
  std::vector<std::pair<absl::Time, std::vector<Cell>>> rows;
  const auto add = [&](absl::Time at, std::vector<Cell> cells,
                       const std::string& detail) {
    if (wide) cells.push_back({detail});
    rows.emplace_back(at, std::move(cells));
  };
  for (const v1::Incident& i : incidents) {
    const absl::Time opened = wire::FromProto(i.opened_at());
    const bool open = !i.has_closed_at();
    const absl::Time end = open ? now : wire::FromProto(i.closed_at());
    const std::string& id = i.incident_id();
    add(opened,
        {{ClockText(opened, now, zone)},
         {wide || id.size() <= kSuffix ? id
                                       : "~" + id.substr(id.size() - kSuffix)},
         {open ? "open" : "closed", open ? Color::kYellow : Color::kNone},
         {AgeText(end - opened)},
         {Grouped(i.machines())},
         {i.group()},
         {i.summary()}},
        CauseText(i));
  }
  for (const v1::BlindInterval& b : intervals) {
    const absl::Time from = wire::FromProto(b.from());
    add(from,
        {{ClockText(from, now, zone)},
         {"gateway"},
         {BlindWord(b.reason()), Color::kYellow},
         {ShortDuration(LengthOf(b))},
         {OnlyNewcomers(b.reason()) ? "new" : "all"},
         {""},
         {BlindText(b.reason())}},
        EnumWord(v1::BlindReason_descriptor(), b.reason()));
  }
  std::ranges::stable_sort(rows, std::ranges::greater(),
                           [](const auto& row) { return row.first; });
  std::vector<std::string> titles = {"OPENED",   "INCIDENT", "STATE", "FOR",
                                     "MACHINES", "GROUP",    "WHY"};
  if (wide) titles.emplace_back("DETAIL");
  Table table(std::move(titles), "WHY");
  for (auto& [at, cells] : rows) table.AddRow(std::move(cells));
  return table;
}

}  // namespace muster::ctl
