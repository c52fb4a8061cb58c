// A TOML file that somebody else may have written.
//
// Include it in as few files as possible: the parser is all header.

#ifndef MUSTER_LIBPROTOCOL_WIRE_TOML_FILE_H_
#define MUSTER_LIBPROTOCOL_WIRE_TOML_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

#define TOML_EXCEPTIONS 0
#include "toml++/toml.h"

namespace muster::wire {

// At most `bytes_max` bytes. InvalidArgument that begins with "PATH:LINE: " if
// it is not TOML; ReadFile()'s errors if it cannot be read.
absl::StatusOr<toml::table> ReadTomlFile(const std::string& path,
                                         size_t bytes_max);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_TOML_FILE_H_
