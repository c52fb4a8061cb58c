// RETURN_IF_ERROR / ASSIGN_OR_RETURN. With MUSTER_CHECK (check.h) the only
// macros in the repository.

#ifndef MUSTER_LIBPROTOCOL_BASE_STATUS_MACROS_H_
#define MUSTER_LIBPROTOCOL_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define MUSTER_CONCAT_INNER(a, b) a##b
#define MUSTER_CONCAT(a, b) MUSTER_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expr)                                     \
  do {                                                            \
    if (absl::Status muster_status = (expr); !muster_status.ok()) \
      return muster_status;                                       \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL(MUSTER_CONCAT(muster_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr)    \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = *std::move(tmp)

#endif  // MUSTER_LIBPROTOCOL_BASE_STATUS_MACROS_H_
