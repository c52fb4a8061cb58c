#include "gateway/admin/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "libprotocol/base/files.h"

namespace muster::gateway {
namespace {

absl::Duration DurationOf(const timeval& t) {
  return absl::Seconds(t.tv_sec) + absl::Microseconds(t.tv_usec);
}

// "virtual resident …", in pages.
void ReadMemory(ProcessStats& stats) {
  const auto text = ReadFile("/proc/self/statm", 4096);
  if (!text.ok()) return;
  const std::vector<std::string> pages = absl::StrSplit(*text, ' ');
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t count = 0;
  if (absl::SimpleAtoi(pages[0], &count)) stats.virtual_bytes = count * page;
  if (pages.size() > 1 && absl::SimpleAtoi(pages[1], &count)) {
    stats.resident_bytes = count * page;
  }
}

void ReadDescriptors(ProcessStats& stats) {
  std::error_code error;
  std::filesystem::directory_iterator at("/proc/self/fd", error);
  uint64_t open = 0;
  for (; !error && at != std::filesystem::directory_iterator();
       at.increment(error)) {
    ++open;
  }
  if (!error) stats.open_descriptors = open - 1;  // One to look with.
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    stats.descriptors_max = limit.rlim_cur;
}

}  // namespace

ProcessStats ReadProcessStats() {
  ProcessStats stats;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    stats.cpu = DurationOf(usage.ru_utime) + DurationOf(usage.ru_stime);
  }
  ReadMemory(stats);
  ReadDescriptors(stats);
  return stats;
}

}  // namespace muster::gateway
