// The JSON words of an enum of the contract, as a person types them.

#ifndef MUSTER_TOOLS_MUSTERCTL_ENUM_WORDS_H_
#define MUSTER_TOOLS_MUSTERCTL_ENUM_WORDS_H_

#include <optional>
#include <string>
#include <string_view>

#include "google/protobuf/descriptor.h"

namespace muster::ctl {

// "bash|sh|…": all but UNSPECIFIED.
std::string EnumWords(const google::protobuf::EnumDescriptor* type);

// The word of `value`; "unknown" if only a newer gateway knows it.
std::string EnumWord(const google::protobuf::EnumDescriptor* type, int value);

// The number of `word`; absent if it is none of them.
std::optional<int> EnumNumber(const google::protobuf::EnumDescriptor* type,
                              std::string_view word);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_ENUM_WORDS_H_
