// Files that survive a crash, with exact modes from the moment they exist.

#ifndef MUSTER_LIBPROTOCOL_BASE_FILES_H_
#define MUSTER_LIBPROTOCOL_BASE_FILES_H_

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace muster {

// Owns a file descriptor. Move-only; closes once.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// "opening /x: Permission denied" with the code that errno means here:
// NotFound, PermissionDenied, AlreadyExists, ResourceExhausted (no space, no
// descriptors), FailedPrecondition (read-only, busy), else Internal.
absl::Status ErrnoStatus(int error, std::string_view action,
                         std::string_view path);

// Replaces `path` atomically: temporary file beside it, fsync, rename, fsync of
// the folder. After an error the old content is untouched.
absl::Status WriteFileDurably(const std::string& path, std::string_view content,
                              mode_t mode);

// Creates `path`, whole from the moment it exists; AlreadyExists, and nothing
// touched, if it did before. Of several that try at once, one succeeds.
absl::Status CreateFileDurably(const std::string& path,
                               std::string_view content, mode_t mode);

// The whole file. OutOfRange when it is longer than `bytes_max`.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t bytes_max);

// Creates `path` and missing parents with `mode`; an existing folder keeps its
// mode. FailedPrecondition if it is something else.
absl::Status MakeFolder(const std::string& path, mode_t mode);

// Fsyncs the folder, so that names in it survive a crash.
absl::Status SyncFolder(const std::string& path);

bool FileExists(const std::string& path);

// Removes a file or a folder with everything in it. Not finding it is success.
absl::Status RemoveTree(const std::string& path);

// Descriptors 0, 1 and 2 that the caller of this program had closed lead
// nowhere from now on: or the next file or connection would be taken for them.
// For main(), first of all.
void OpenStandardDescriptors();

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_FILES_H_
