// MUSTER_CHECK: our own invariants. Never for input.

#ifndef MUSTER_LIBPROTOCOL_BASE_CHECK_H_
#define MUSTER_LIBPROTOCOL_BASE_CHECK_H_

namespace muster {

// Writes "file:line: check failed: expression" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line,
                              const char* expression);

}  // namespace muster

// Aborts with the expression when `cond` is false: a bug of ours, after which
// nothing this process says could be believed.
#define MUSTER_CHECK(cond)                                         \
  do {                                                             \
    if (!(cond)) ::muster::CheckFailed(__FILE__, __LINE__, #cond); \
  } while (false)

#endif  // MUSTER_LIBPROTOCOL_BASE_CHECK_H_
