#include "tools/musterctl/output_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace muster::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::pair<std::string_view, OutputFormat>, 5> kFormats = {
    {{"table", OutputFormat::kTable},
     {"wide", OutputFormat::kWide},
     {"json", OutputFormat::kJson},
     {"yaml", OutputFormat::kYaml},
     {"name", OutputFormat::kName}}};

// Words that some YAML reader takes for a boolean, a null or a number, and text
// with characters that mean something to YAML, need quotes.
bool IsPlainWord(std::string_view text) {
  static constexpr std::string_view kReserved[] = {
      "true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  if (text.empty() || !isalpha(static_cast<unsigned char>(text[0]))) {
    return false;
  }
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(tolower(c));
  return std::ranges::find(kReserved, lower) == std::end(kReserved) &&
         std::ranges::all_of(text, [](unsigned char c) {
           return isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/';
         });
}

// A JSON string is a YAML double-quoted scalar.
std::string Scalar(const Json& value) {
  if (value.is_string() && IsPlainWord(value.get_ref<const std::string&>())) {
    return value.get<std::string>();
  }
  return value.dump();
}

bool IsBranch(const Json& value) {
  return value.is_structured() && !value.empty();
}

void WriteYaml(const Json& value, const std::string& indent, std::string& out) {
  if (value.is_array()) {
    for (const Json& element : value) {
      if (!IsBranch(element)) {
        out += indent + "- " + Scalar(element) + "\n";
        continue;
      }
      // "- " stands in place of the first two blanks of the element.
      const size_t start = out.size();
      WriteYaml(element, indent + "  ", out);
      out[start + indent.size()] = '-';
    }
    return;
  }
  for (const auto& [key, child] : value.items()) {
    out += indent + Scalar(Json(key)) + ":";
    if (IsBranch(child)) {
      out += '\n';
      WriteYaml(child, indent + "  ", out);
    } else {
      out += " " + Scalar(child) + "\n";
    }
  }
}

absl::StatusOr<Json> ParseTree(std::string_view json) {
  Json tree = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (tree.is_discarded()) {
    return absl::DataLossError("the gateway's answer is not JSON");
  }
  return tree;
}

}  // namespace

absl::StatusOr<OutputFormat> ParseOutputFormat(std::string_view source,
                                               std::string_view word) {
  for (const auto& [name, format] : kFormats) {
    if (name == word) return format;
  }
  return absl::InvalidArgumentError(fmt::format(
      "{}: \"{}\" is none of table, wide, json, yaml, name", source, word));
}

absl::StatusOr<std::string> JsonToYaml(std::string_view json) {
  const absl::StatusOr<Json> tree = ParseTree(json);
  if (!tree.ok()) return tree.status();
  if (!IsBranch(*tree)) return Scalar(*tree) + "\n";
  std::string out;
  WriteYaml(*tree, "", out);
  return out;
}

absl::StatusOr<std::string> JoinPages(const std::vector<std::string>& pages,
                                      const std::string& key) {
  if (pages.size() == 1) return pages[0];
  Json joined;
  for (const std::string& page : pages) {
    absl::StatusOr<Json> tree = ParseTree(page);
    if (!tree.ok()) return tree.status();
    if (joined.is_null()) {
      joined = *std::move(tree);
      continue;
    }
    for (Json& element : (*tree)[key]) joined[key].push_back(element);
  }
  joined["next_page_token"] = "";
  return joined.dump();
}

absl::StatusOr<std::string> JoinObjects(
    const std::vector<std::string>& objects) {
  Json joined = Json::object();
  for (const std::string& object : objects) {
    absl::StatusOr<Json> tree = ParseTree(object);
    if (!tree.ok()) return tree.status();
    joined.update(*tree);
  }
  joined.erase("next_page_token");
  return joined.dump();
}

}  // namespace muster::ctl
