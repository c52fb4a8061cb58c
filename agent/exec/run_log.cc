#include "agent/exec/run_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/json_tree.h"
#include "libprotocol/wire/utf8.h"
#include "nlohmann/json.hpp"

namespace muster::agent {
namespace {

using nlohmann::json;

// What else comes from outside; the gateway's own bounds are smaller.
constexpr size_t kFieldBytesMax = 512;

std::string Line(const json& tree) {
  return tree.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string Clipped(const std::string& text) {
  return std::string(wire::ClipUtf8(text, kFieldBytesMax));
}

std::string TimeText(absl::Time at) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", at, absl::UTCTimeZone());
}

json OrderFields(const RunOrder& order) {
  return {{"command_id", order.command_id.str()},
          {"at", TimeText(order.at)},
          {"issued_by", Clipped(order.issued_by)},
          {"purpose", Clipped(order.purpose)},
          {"user", Clipped(order.user)},
          {"shell", order.shell},
          {"text", order.text},
          {"text_bytes", order.text_bytes}};
}

json EndFields(const RunEnd& end) {
  json tree = {{"at", TimeText(end.at)},
               {"state", end.state},
               {"reason", Clipped(end.reason)}};
  if (end.exit_code) tree["exit_code"] = *end.exit_code;
  if (end.signal) tree["signal"] = *end.signal;
  return tree;
}

std::string TextOf(const json& tree, const char* key) {
  const auto it = tree.find(key);
  return it != tree.end() && it->is_string() ? it->get<std::string>() : "";
}

std::optional<int> NumberOf(const json& tree, const char* key) {
  const auto it = tree.find(key);
  if (it == tree.end() || !it->is_number_integer()) return std::nullopt;
  return it->get<int>();
}

absl::Time TimeOf(const json& tree) {
  absl::Time at = absl::UnixEpoch();
  absl::ParseTime(absl::RFC3339_full, TextOf(tree, "at"), &at, nullptr);
  return at;
}

RunOrder OrderOf(const json& tree) {
  return {.command_id = CommandId(TextOf(tree, "command_id")),
          .at = TimeOf(tree),
          .issued_by = TextOf(tree, "issued_by"),
          .purpose = TextOf(tree, "purpose"),
          .user = TextOf(tree, "user"),
          .shell = TextOf(tree, "shell"),
          .text = TextOf(tree, "text"),
          .text_bytes =
              static_cast<size_t>(NumberOf(tree, "text_bytes").value_or(0))};
}

RunEnd EndOf(const json& tree) {
  return {.at = TimeOf(tree),
          .state = TextOf(tree, "state"),
          .exit_code = NumberOf(tree, "exit_code"),
          .signal = NumberOf(tree, "signal"),
          .reason = TextOf(tree, "reason")};
}

// Entries in the order of their orders.
class Collector {
 public:
  void Take(std::string_view line) {
    const auto tree = wire::ParseJsonTree(line);
    if (!tree.ok() || !tree->is_object()) return;  // Cut by a crash.
    const std::string id = TextOf(*tree, "command_id");
    const std::string event = TextOf(*tree, "event");
    const auto known = places_.find(id);
    if (event == "ordered" && known == places_.end()) {
      places_[id] = entries_.size();
      entries_.push_back({OrderOf(*tree), std::nullopt});
    } else if (event == "ended" && known != places_.end()) {
      entries_[known->second].end = EndOf(*tree);
    }
  }

  std::vector<RunEntry> Last(size_t limit) && {
    const size_t skip = entries_.size() - std::min(limit, entries_.size());
    entries_.erase(entries_.begin(),
                   entries_.begin() + static_cast<std::ptrdiff_t>(skip));
    return std::move(entries_);
  }

 private:
  std::vector<RunEntry> entries_;
  std::map<std::string, size_t> places_;
};

// As a shell would take it.
std::string Quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
      "_-./:=@%+,";
  if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string RunLog::File(int age) const {
  return age == 0 ? folder_ + "/log" : fmt::format("{}/log.{}", folder_, age);
}

absl::Status RunLog::Ordered(const RunOrder& order) const {
  json tree = OrderFields(order);
  tree["event"] = "ordered";
  return Append(Line(tree));
}

absl::Status RunLog::Ended(const CommandId& command_id,
                           const RunEnd& end) const {
  json tree = EndFields(end);
  tree["event"] = "ended";
  tree["command_id"] = command_id.str();
  return Append(Line(tree));
}

absl::Status RunLog::Append(std::string line) const {
  RETURN_IF_ERROR(MakeFolder(folder_, 0700));
  struct stat st = {};
  if (stat(File(0).c_str(), &st) == 0 &&
      st.st_size + static_cast<off_t>(line.size()) >
          static_cast<off_t>(kFileBytesMax)) {
    RETURN_IF_ERROR(MakeRoom());
  }
  const std::string path = File(0);
  const Fd fd(
      open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  if (fstat(fd.get(), &st) != 0) return ErrnoStatus(errno, "reading", path);
  const ssize_t n = write(fd.get(), line.data(), line.size());
  if (n == static_cast<ssize_t>(line.size())) return absl::OkStatus();
  const int error = n < 0 ? errno : ENOSPC;
  // Half a line would spoil the next one too.
  if (n > 0 && ftruncate(fd.get(), st.st_size) != 0) {
    return ErrnoStatus(errno, "shortening", path);
  }
  return ErrnoStatus(error, "writing", path);
}

absl::Status RunLog::MakeRoom() const {
  for (int age = kFilesMax - 1; age > 0; --age) {
    if (rename(File(age - 1).c_str(), File(age).c_str()) != 0 &&
        errno != ENOENT) {
      return ErrnoStatus(errno, "renaming", File(age - 1));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RunEntry>> RunLog::Read(size_t limit) const {
  // The newest first: what is renamed meanwhile is read twice, which is told
  // once, and not missed.
  std::vector<std::string> texts;
  for (int age = 0; age < kFilesMax; ++age) {
    auto text = ReadFile(File(age), 2 * kFileBytesMax);
    if (absl::IsNotFound(text.status())) continue;
    RETURN_IF_ERROR(text.status());
    texts.push_back(*std::move(text));
  }
  std::ranges::reverse(texts);
  Collector collector;
  for (std::string_view text : texts) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      collector.Take(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }
  return std::move(collector).Last(limit);
}

void SetText(const std::string& text, const std::vector<std::string>& argv,
             RunOrder& order) {
  order.text = wire::ClipUtf8(text, RunLog::kTextBytesMax);
  order.text_bytes = text.size();
  if (argv.empty()) return;
  std::string words;
  size_t bytes = 0;
  for (const std::string& word : argv) {
    bytes += word.size() + 1;
    if (words.size() > RunLog::kTextBytesMax) continue;
    if (!words.empty()) words += ' ';
    words += Quoted(word);
  }
  order.text = wire::ClipUtf8(words, RunLog::kTextBytesMax);
  order.text_bytes = std::max(bytes - 1, order.text.size());
}

std::string ToJson(const RunEntry& entry) {
  json tree = OrderFields(entry.order);
  if (entry.end) tree["end"] = EndFields(*entry.end);
  return Line(tree);
}

}  // namespace muster::agent
