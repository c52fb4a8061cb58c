// Values that must never be printed.

#ifndef MUSTER_LIBPROTOCOL_BASE_SECRET_H_
#define MUSTER_LIBPROTOCOL_BASE_SECRET_H_

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace muster {

// Secret holds a token, password or private key. It has no formatter and no
// stream operator, and it is wiped when it dies; Reveal() is the only way in
// and is easy to search for.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  Secret(Secret&& other) noexcept : value_(other.value_) { other.Wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      Wipe();
      value_ = other.value_;
      other.Wipe();
    }
    return *this;
  }
  ~Secret() { Wipe(); }

  const std::string& Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }

 private:
  void Wipe() {
    explicit_bzero(value_.data(), value_.size());
    value_.clear();
  }
  std::string value_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_SECRET_H_
