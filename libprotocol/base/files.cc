#include "libprotocol/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/status_macros.h"

namespace muster {
namespace {

absl::Status WriteAll(int fd, std::string_view content,
                      const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "writing", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd) != 0) return ErrnoStatus(errno, "syncing", path);
  return absl::OkStatus();
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

absl::Status WriteNewFile(const std::string& path, std::string_view content,
                          mode_t mode) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd.valid()) return ErrnoStatus(errno, "creating", path);
  absl::Status status;
  if (fchmod(fd.get(), mode) != 0) {  // The umask must not decide.
    status = ErrnoStatus(errno, "setting the mode of", path);
  } else {
    status = WriteAll(fd.get(), content, path);
  }
  if (!status.ok()) unlink(path.c_str());
  return status;
}

}  // namespace

void Fd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

absl::Status ErrnoStatus(int error, std::string_view action,
                         std::string_view path) {
  const std::string text =
      fmt::format("{} {}: {}", action, path, std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    case EEXIST:
      return absl::AlreadyExistsError(text);
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(text);
    case EROFS:
    case EBUSY:
    case EISDIR:
    case ENOTEMPTY:
    case EADDRINUSE:
      return absl::FailedPreconditionError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::Status WriteFileDurably(const std::string& path, std::string_view content,
                              mode_t mode) {
  const std::string temporary = path + ".new";
  unlink(temporary.c_str());  // Left by a crash; nobody else uses this name.
  RETURN_IF_ERROR(WriteNewFile(temporary, content, mode));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status status = ErrnoStatus(errno, "replacing", path);
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(ParentOf(path));
}

absl::Status CreateFileDurably(const std::string& path,
                               std::string_view content, mode_t mode) {
  if (FileExists(path)) return ErrnoStatus(EEXIST, "creating", path);
  // A name that nobody else uses: whoever comes second must not touch it.
  std::string temporary = path + ".new-";
  for (const unsigned char byte : RandomBytes(8)) {
    fmt::format_to(std::back_inserter(temporary), "{:02x}", byte);
  }
  RETURN_IF_ERROR(WriteNewFile(temporary, content, mode));
  const int error = link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  unlink(temporary.c_str());
  if (error != 0) return ErrnoStatus(error, "creating", path);
  return SyncFolder(ParentOf(path));
}

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     size_t bytes_max) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  std::string content;
  char buffer[16384];
  while (true) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "reading", path);
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > bytes_max) {
      return absl::OutOfRangeError(
          fmt::format("{} is larger than {} bytes", path, bytes_max));
    }
  }
}

absl::Status MakeFolder(const std::string& path, mode_t mode) {
  if (path.empty() || path == "/") return absl::OkStatus();
  struct stat st;
  if (stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return absl::OkStatus();
    return absl::FailedPreconditionError(path + " is not a folder");
  }
  RETURN_IF_ERROR(
      MakeFolder(ParentOf(path) == "." ? "" : ParentOf(path), mode));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, "creating", path);
  }
  if (chmod(path.c_str(), mode) != 0) {
    return ErrnoStatus(errno, "setting the mode of", path);
  }
  return SyncFolder(ParentOf(path));
}

absl::Status SyncFolder(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  if (fsync(fd.get()) != 0 && errno != EINVAL) {
    return ErrnoStatus(errno, "syncing", path);
  }
  return absl::OkStatus();
}

bool FileExists(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0;
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return ErrnoStatus(error.value(), "removing", path);
  return absl::OkStatus();
}

void OpenStandardDescriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The wrong way round: to use it fails, as if it were closed. The lowest
    // free number is this one.
    [[maybe_unused]] const int opened =
        open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace muster
