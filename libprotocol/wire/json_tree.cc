#include "libprotocol/wire/json_tree.h"

#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/utf8.h"

namespace muster::wire {
namespace {

using Json = nlohmann::json;

// TreeBuilder receives the parser's events. nlohmann's own builder keeps the
// last of duplicate keys and nests without bound.
class TreeBuilder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value);
  }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // Not in JSON text.

  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) {
      error_ = fmt::format("{}: given twice", ClipUtf8(name, 64));
      return false;
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    error_ = fmt::format("body: not valid JSON at byte {}: {}", position,
                         Reason(e.what()));
    return false;
  }

  const std::string& error() const { return error_; }
  Json& root() { return root_; }

 private:
  // Cuts "[json.exception.parse_error.101] parse error at line 1, column 2: "
  // and everything quoted from the input, which may be long and not UTF-8.
  static std::string_view Reason(std::string_view what) {
    if (const size_t end = what.find("; last read"); end != what.npos) {
      what = what.substr(0, end);
    }
    if (const size_t begin = what.find(": "); begin != what.npos) {
      what.remove_prefix(begin + 2);
    }
    return what.find("ill-formed UTF-8") != what.npos ? "invalid UTF-8" : what;
  }

  // Puts `value` where the parser stands. Containers on the stack do not move
  // while a child is open, since nothing is added to them then.
  Json* Place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) {
      return &((*open_.back())[key_] = std::move(value));
    }
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }
  bool Add(Json value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json container) {
    if (open_.size() >= kJsonDepthMax) {
      error_ = fmt::format("body: nested deeper than {}", kJsonDepthMax);
      return false;
    }
    open_.push_back(Place(std::move(container)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;
  std::string key_;
  std::string error_;
};

}  // namespace

absl::StatusOr<Json> ParseJsonTree(std::string_view text) {
  TreeBuilder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(builder.error());
  }
  return std::move(builder.root());
}

}  // namespace muster::wire
