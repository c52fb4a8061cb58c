// Names of things, as types that do not mix.

#ifndef MUSTER_LIBPROTOCOL_BASE_IDS_H_
#define MUSTER_LIBPROTOCOL_BASE_IDS_H_

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"

namespace muster {

// Id is a string that names one kind of thing. Comparable, hashable, ordered by
// bytes. An id made by NewUuid() sorts by the time it was made.
template <typename Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}

  const std::string& str() const { return text_; }
  bool empty() const { return text_.empty(); }

  // The last six characters: what a person sees after `~`.
  std::string suffix() const {
    return text_.size() <= 6 ? text_ : text_.substr(text_.size() - 6);
  }

  friend bool operator==(const Id&, const Id&) = default;
  friend auto operator<=>(const Id&, const Id&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Id& id) {
    return H::combine(std::move(h), id.text_);
  }

 private:
  std::string text_;
};

using OrgId = Id<struct OrgTag>;
using AgentId = Id<struct AgentTag>;
using BatchId = Id<struct BatchTag>;
using CommandId = Id<struct CommandTag>;
using TokenId = Id<struct TokenTag>;

// The tenant of an installation that has only one.
inline OrgId DefaultOrg() { return OrgId("default"); }

// A UUIDv7 (RFC 9562 §5.7) in lower-case canonical form: 48 bits of Unix
// milliseconds of `now`, then 74 random bits from the kernel. Thread-safe.
std::string NewUuid(absl::Time now);

// True for the canonical lower-case form of any UUID.
bool IsUuid(std::string_view text);

// `bytes` random bytes from getrandom(2). Thread-safe.
std::string RandomBytes(size_t bytes);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_IDS_H_
