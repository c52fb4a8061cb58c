// Whatever lies in a command's folder after a crash, or was put there: it is
// read, or said to be corrupt.

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "agent/exec/command_folder.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

const CommandFolder& TheFolder() {
  static const auto* dir = new TempDir();
  static const auto* folder = [] {
    auto* made = new CommandFolder(dir->File("command"));
    MUSTER_CHECK(MakeFolder(made->path(), 0700).ok());
    return made;
  }();
  return *folder;
}

void Put(const std::string& file, const uint8_t* data, size_t size) {
  const Fd fd(
      open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  MUSTER_CHECK(fd.valid());
  MUSTER_CHECK(write(fd.get(), data, size) == static_cast<ssize_t>(size));
}

void CheckStatus(const absl::Status& status) {
  MUSTER_CHECK(status.ok() || status.code() == absl::StatusCode::kDataLoss);
}

void Check(const uint8_t* data, size_t size) {
  const CommandFolder& folder = TheFolder();
  for (const char* name : {"spec", "started", "exit"}) {
    Put(folder.File(name), data, size);
  }
  const auto spec = folder.ReadSpec();
  CheckStatus(spec.status());
  if (spec.ok()) MUSTER_CHECK(!Name(spec->shell).empty());
  CheckStatus(folder.ReadStarted().status());
  const auto exit = folder.ReadExit();
  CheckStatus(exit.status());
  if (exit.ok()) MUSTER_CHECK(IsTerminal(exit->state));
}

}  // namespace
}  // namespace muster::agent

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  muster::agent::Check(data, size);
  return 0;
}
