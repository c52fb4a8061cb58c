// What a record of the audit log is, what its hash is made of, and how a chain
// of them is checked. The gateway and who reads its exports use the same.
//
//   hash = SHA-256 of, in this order, as "LENGTH:BYTES," each:
//          previous_hash sequence org_id at principal from method target
//          result request_id
//
// The bytes are those of the values in the record's JSON: the sequence in
// decimal digits, the time as "2026-05-01T10:20:30.250Z". LENGTH counts bytes,
// in decimal digits. docs/operations/audit.md has this as a script.

#ifndef MUSTER_LIBPROTOCOL_BASE_AUDIT_RECORD_H_
#define MUSTER_LIBPROTOCOL_BASE_AUDIT_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "libprotocol/base/ids.h"

namespace muster {

// What was done. Holds no secret and no text of a command.
struct AuditEntry {
  OrgId org;
  absl::Time at;          // Counts in whole milliseconds, rounded down.
  std::string principal;  // "alice"; "join:ID": a registration token.
  std::string from;       // Address of the caller.
  std::string method;     // "SubmitCommand"
  std::string target;     // Ids and names, "/" between them; empty: none.
  std::string result;     // "ok", "permission_denied", …
  std::string request_id;

  friend bool operator==(const AuditEntry&, const AuditEntry&) = default;
};

// The entry in the chain of its org.
struct AuditRecord : AuditEntry {
  uint64_t sequence = 0;      // 1, 2, …, without a gap.
  std::string previous_hash;  // Of the record before; empty: sequence is 1.
  std::string hash;           // 64 hexadecimal digits.

  friend bool operator==(const AuditRecord&, const AuditRecord&) = default;
};

// The newest record of a chain.
struct AuditHead {
  OrgId org;
  uint64_t sequence = 0;  // 0: there never was one.
  std::string hash;
  // Records before this one are not kept any more.
  uint64_t kept_from = 1;

  friend bool operator==(const AuditHead&, const AuditHead&) = default;
};

// What the hash of `record` is made of, and the hash that it must have.
std::string AuditBytes(const AuditRecord& record);
std::string AuditHash(const AuditRecord& record);

// `entry` as the record that follows `head`.
AuditRecord Linked(AuditEntry entry, const AuditHead& head);

// AuditCheck reads a chain from its oldest record on. Not thread-safe; any
// thread. The first error stands: what comes later is not looked at.
class AuditCheck {
 public:
  // `head`: an earlier head, which must be a record of the chain. Only its
  // sequence and hash count.
  explicit AuditCheck(std::optional<AuditHead> head = std::nullopt)
      : head_(std::move(head)) {}

  // DataLoss, naming the record, if it was changed, is missing, or stands where
  // it does not belong.
  absl::Status Take(const AuditRecord& record);
  // After the last one. DataLoss if it lies before the given head, OutOfRange
  // if that is older than what was read: nothing can be said then.
  absl::Status End();

  uint64_t records() const { return records_; }
  uint64_t first_sequence() const { return first_sequence_; }
  // The last record that was taken; sequence 0: none was.
  uint64_t sequence() const { return last_.sequence; }
  const std::string& hash() const { return last_.hash; }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status Judge(const AuditRecord& record) const;
  absl::Status JudgePlace(const AuditRecord& record) const;

  std::optional<AuditHead> head_;
  uint64_t records_ = 0;
  uint64_t first_sequence_ = 0;
  AuditHead last_;
  absl::Status status_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_AUDIT_RECORD_H_
