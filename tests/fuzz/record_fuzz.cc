// A record of a command folder that can be read is written the same again.

#include "agent/exec/record.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "libprotocol/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using muster::agent::Record;
  const auto record =
      Record::Parse({reinterpret_cast<const char*>(data), size});
  if (!record.ok()) return 0;
  const std::string written = record->Encode();
  const auto again = Record::Parse(written);
  MUSTER_CHECK(again.ok() && again->Encode() == written);
  (void)record->Int("dispatch_seq", 0, 1'000'000);  // Any answer will do.
  (void)record->Text("command_id");
  return 0;
}
