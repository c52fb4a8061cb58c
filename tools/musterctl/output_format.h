// The forms in which results are shown.

#ifndef MUSTER_TOOLS_MUSTERCTL_OUTPUT_FORMAT_H_
#define MUSTER_TOOLS_MUSTERCTL_OUTPUT_FORMAT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace muster::ctl {

enum class OutputFormat { kTable, kWide, kJson, kYaml, kName };

// InvalidArgument that names `source` and the known words.
absl::StatusOr<OutputFormat> ParseOutputFormat(std::string_view source,
                                               std::string_view word);

// The same tree as YAML 1.2 that a YAML 1.1 reader understands alike: whatever
// is not plainly a word is quoted. DataLoss if `json` is none.
absl::StatusOr<std::string> JsonToYaml(std::string_view json);

// One list out of the pages of it: the first object with the arrays `key` of
// all joined and an empty next_page_token. One page is returned as it came.
absl::StatusOr<std::string> JoinPages(const std::vector<std::string>& pages,
                                      const std::string& key);

// One object with the fields of all `objects`, which have none in common but
// next_page_token: that is left out.
absl::StatusOr<std::string> JoinObjects(
    const std::vector<std::string>& objects);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_OUTPUT_FORMAT_H_
