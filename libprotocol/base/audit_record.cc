#include "libprotocol/base/audit_record.h"

#include <openssl/sha.h>

#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster {
namespace {

template <typename... Args>
absl::Status Broken(fmt::format_string<Args...> text, Args&&... args) {
  return absl::DataLossError(fmt::format(text, std::forward<Args>(args)...));
}

std::string TimeText(absl::Time t) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", t, absl::UTCTimeZone());
}

// To the millisecond, rounded down: as the text has it.
absl::Time Whole(absl::Time t) {
  return absl::FromUnixMillis(absl::ToUnixMillis(t));
}

absl::Status Missing(uint64_t from, uint64_t to) {
  return from == to ? Broken("record {} is missing", from)
                    : Broken("records {} to {} are missing", from, to);
}

}  // namespace

std::string AuditBytes(const AuditRecord& r) {
  std::string bytes;
  for (const std::string& field :
       {r.previous_hash, fmt::format("{}", r.sequence), r.org.str(),
        TimeText(r.at), r.principal, r.from, r.method, r.target, r.result,
        r.request_id}) {
    fmt::format_to(std::back_inserter(bytes), "{}:{},", field.size(), field);
  }
  return bytes;
}

std::string AuditHash(const AuditRecord& record) {
  const std::string bytes = AuditBytes(record);
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return absl::BytesToHexString(digest);
}

AuditRecord Linked(AuditEntry entry, const AuditHead& head) {
  AuditRecord record;
  static_cast<AuditEntry&>(record) = std::move(entry);
  record.at = Whole(record.at);
  record.sequence = head.sequence + 1;
  record.previous_hash = head.hash;
  record.hash = AuditHash(record);
  return record;
}

absl::Status AuditCheck::JudgePlace(const AuditRecord& record) const {
  const uint64_t number = record.sequence;
  if (records_ == 0) {
    if ((number == 1) == record.previous_hash.empty()) return absl::OkStatus();
    return Broken("record {} is no beginning of a chain", number);
  }
  if (number <= last_.sequence) {
    return Broken("record {} comes after record {}", number, last_.sequence);
  }
  if (number > last_.sequence + 1) {
    return Missing(last_.sequence + 1, number - 1);
  }
  return absl::OkStatus();
}

absl::Status AuditCheck::Judge(const AuditRecord& record) const {
  const absl::Status place = JudgePlace(record);
  if (!place.ok()) return place;
  const uint64_t number = record.sequence;
  if (record.hash != AuditHash(record) || record.at != Whole(record.at)) {
    return Broken("record {} was changed: its hash is not that of its content",
                  number);
  }
  if (records_ > 0 && record.previous_hash != last_.hash) {
    return Broken("record {} does not follow record {}: one was replaced",
                  number, last_.sequence);
  }
  if (records_ > 0 && record.org != last_.org) {
    return Broken("record {} is of another org", number);
  }
  if (head_ && head_->sequence == number && head_->hash != record.hash) {
    return Broken("record {} is not the one of the earlier head", number);
  }
  return absl::OkStatus();
}

absl::Status AuditCheck::Take(const AuditRecord& record) {
  if (!status_.ok()) return status_;
  status_ = Judge(record);
  if (!status_.ok()) return status_;
  if (records_ == 0) first_sequence_ = record.sequence;
  ++records_;
  last_.org = record.org;
  last_.sequence = record.sequence;
  last_.hash = record.hash;
  return status_;
}

absl::Status AuditCheck::End() {
  if (!status_.ok() || !head_ || head_->sequence == 0) return status_;
  if (head_->sequence > last_.sequence) {
    status_ = Missing(last_.sequence + 1, head_->sequence);
  } else if (head_->sequence < first_sequence_) {
    return absl::OutOfRangeError(
        fmt::format("record {} is not kept any more, the oldest is {}: nothing "
                    "can be said of the earlier head",
                    head_->sequence, first_sequence_));
  }
  return status_;
}

}  // namespace muster
