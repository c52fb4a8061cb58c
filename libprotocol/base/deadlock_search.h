// Who pays for Abseil's search for deadlocks?

#ifndef MUSTER_LIBPROTOCOL_BASE_DEADLOCK_SEARCH_H_
#define MUSTER_LIBPROTOCOL_BASE_DEADLOCK_SEARCH_H_

namespace muster {

// Debian builds Abseil with assertions, so every lock of an absl::Mutex, and
// gRPC has no others, enters a graph that the whole process shares to look for
// cycles of locks. Our own locks are leaves and need no graph. Call it once,
// before gRPC is used.
void SkipDeadlockSearch();

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_DEADLOCK_SEARCH_H_
