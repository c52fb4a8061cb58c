#ifndef MUSTER_LIBPROTOCOL_TESTING_TEMP_DIR_H_
#define MUSTER_LIBPROTOCOL_TESTING_TEMP_DIR_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "libprotocol/base/check.h"

namespace muster {

// TempDir is a fresh folder below the system's temporary one, removed with
// everything in it when the object dies.
class TempDir {
 public:
  TempDir() {
    std::string name =
        (std::filesystem::temp_directory_path() / "muster-XXXXXX").string();
    MUSTER_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_TESTING_TEMP_DIR_H_
