#include "tools/musterctl/enum_words.h"

#include "libprotocol/wire/proto_json.h"

namespace muster::ctl {

std::string EnumWords(const google::protobuf::EnumDescriptor* type) {
  std::string words;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() == 0) continue;
    words += (words.empty() ? "" : "|") + wire::EnumText(*type->value(i));
  }
  return words;
}

std::string EnumWord(const google::protobuf::EnumDescriptor* type, int value) {
  const auto* known = type->FindValueByNumber(value);
  return known == nullptr ? "unknown" : wire::EnumText(*known);
}

std::optional<int> EnumNumber(const google::protobuf::EnumDescriptor* type,
                              std::string_view word) {
  for (int i = 0; i < type->value_count(); ++i) {
    const auto* value = type->value(i);
    if (value->number() != 0 && wire::EnumText(*value) == word) {
      return value->number();
    }
  }
  return std::nullopt;
}

}  // namespace muster::ctl
