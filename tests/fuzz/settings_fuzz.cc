// Whatever stands in a settings file: what is taken is within its bounds, and
// what is not is InvalidArgument.

#include "libprotocol/wire/settings.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "libprotocol/base/check.h"

namespace muster::wire {
namespace {

// The path of a file that lives in memory only and holds these bytes.
std::string FileOf(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("settings.toml", MFD_CLOEXEC);
  MUSTER_CHECK(fd >= 0 && ftruncate(fd, 0) == 0);
  MUSTER_CHECK(pwrite(fd, data, size, 0) == static_cast<ssize_t>(size));
  return fmt::format("/proc/self/fd/{}", fd);
}

void Load(const std::string& file) {
  std::string listen;
  absl::Duration wait;
  int64_t limit = 1;
  const std::vector<Setting> settings = {
      TextSetting("web_listen", "host:port", listen),
      DurationSetting("stale_after", "duration", wait),
      NumberSetting("limit", "1 to 10", 1, 10, limit)};
  const absl::Status status =
      LoadSettings(
          settings,
          {.file = file,
           .default_file = "",
           .environment = [](const std::string&) -> std::optional<std::string> {
             return std::nullopt;
           },
           .flags = {}})
          .status();
  MUSTER_CHECK(status.ok() ||
               status.code() == absl::StatusCode::kInvalidArgument);
  MUSTER_CHECK(limit >= 1 && limit <= 10);
}

}  // namespace
}  // namespace muster::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  muster::wire::Load(muster::wire::FileOf(data, size));
  return 0;
}
