// Preloaded into a gateway: what this machine cannot do to it for real.
//
// The file that MUSTER_HOST_FAULTS names holds two numbers, and the test
// changes them while the program runs:
//   0  nanoseconds by which CLOCK_BOOTTIME is ahead: a host that was suspended
//   8  milliseconds that every fsync() and fdatasync() takes: a slow disk

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

struct Faults {
  std::atomic<int64_t> boottime_ahead_ns;
  std::atomic<int64_t> sync_ms;
};

const Faults* Map() {
  const char* file = getenv("MUSTER_HOST_FAULTS");
  const int fd = file == nullptr ? -1 : open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* page = mmap(nullptr, sizeof(Faults), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return page == MAP_FAILED ? nullptr : static_cast<const Faults*>(page);
}

const Faults* TheFaults() {
  static const Faults* const faults = Map();
  return faults;
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

void DelaySync() {
  if (TheFaults() == nullptr) return;
  usleep(static_cast<useconds_t>(TheFaults()->sync_ms * 1000));
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static auto* const next = Next<int(clockid_t, timespec*)>("clock_gettime");
  const int result = next(clock, time);
  if (result == 0 && clock == CLOCK_BOOTTIME && TheFaults() != nullptr) {
    const int64_t ns = time->tv_nsec + TheFaults()->boottime_ahead_ns;
    time->tv_sec += ns / 1'000'000'000;
    time->tv_nsec = ns % 1'000'000'000;
  }
  return result;
}

int fdatasync(int fd) {
  static auto* const next = Next<int(int)>("fdatasync");
  DelaySync();
  return next(fd);
}

int fsync(int fd) {
  static auto* const next = Next<int(int)>("fsync");
  DelaySync();
  return next(fd);
}

}  // extern "C"
