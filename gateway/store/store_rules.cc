#include "gateway/store/store_rules.h"

#include <algorithm>

#include "fmt/format.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/fleet/command_rules.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/address_range.h"

namespace muster::gateway {

absl::Status UnknownToken(const TokenId& id) {
  return absl::NotFoundError(fmt::format("token {} is not known", id.str()));
}
absl::Status NoTokenToRefuse() {
  return absl::NotFoundError("there is no such token to refuse");
}
absl::Status UnknownKey(std::string_view key) {
  return absl::NotFoundError(fmt::format("nothing has the key {}", key));
}

absl::Status UnknownCommand(const CommandId& id) {
  return absl::NotFoundError(fmt::format("command {} is not known", id.str()));
}
absl::Status UnknownBatch(const BatchId& id) {
  return absl::NotFoundError(fmt::format("batch {} is not known", id.str()));
}
absl::Status UnknownUser(std::string_view name) {
  return absl::NotFoundError(fmt::format("user {} is not known", name));
}
absl::Status OrgExists(const OrgId& id) {
  return absl::AlreadyExistsError(
      fmt::format("org {} exists already", id.str()));
}
absl::Status UserExists(std::string_view name) {
  return absl::AlreadyExistsError(
      fmt::format("user {} exists already, or did once", name));
}
UserRecord Edited(UserRecord user, const UserEdit& edit) {
  user.role = edit.role.value_or(user.role);
  user.password_hash = edit.password_hash.value_or(user.password_hash);
  if (edit.disabled) {
    const absl::Time since = user.disabled_at.value_or(edit.at);
    user.disabled_at =
        *edit.disabled ? std::optional<absl::Time>(since) : std::nullopt;
  }
  return user;
}
absl::Status UnknownMachine(const AgentId& id) {
  return absl::NotFoundError(fmt::format("machine {} is not known", id.str()));
}
absl::Status NewerEpoch(const MachineRecord& refused) {
  return absl::AbortedError(
      fmt::format("machine {}: epoch {} is not the newest", refused.id.str(),
                  refused.epoch));
}
absl::Status MachineIdTaken(const AgentId& id) {
  return absl::AlreadyExistsError(
      fmt::format("machine {} exists already", id.str()));
}

namespace {

bool IsAllowedFrom(const TokenRecord& token, const std::string& address) {
  return token.allowed_from.empty() ||
         std::any_of(token.allowed_from.begin(), token.allowed_from.end(),
                     [&](const std::string& text) {
                       const auto range = AddressRange::Parse(text);
                       return range.ok() && range->Contains(address);
                     });
}

}  // namespace

absl::Status CheckToken(const TokenRecord& token, bool repeated,
                        const EnrollmentRequest& request) {
  if (token.revoked_at) return TokenRefused(RefusalReason::kRevoked);
  if (!repeated && request.now >= token.expires_at) {
    return TokenRefused(RefusalReason::kExpired);
  }
  // Before its uses: who may not come in learns nothing of those who did.
  if (!IsAllowedFrom(token, request.address)) {
    return TokenRefused(RefusalReason::kAddress);
  }
  if (!token.hostname_glob.empty() &&
      !MatchesGlob(token.hostname_glob, request.facts.hostname)) {
    return TokenRefused(RefusalReason::kHostname);
  }
  if (!repeated && token.uses >= token.uses_max) {
    return TokenRefused(RefusalReason::kUsedUp);
  }
  return absl::OkStatus();
}

absl::Status CheckKeyHeld(const MachineRecord& machine,
                          const std::string& key_pin) {
  if (machine.key_pin == key_pin) return absl::OkStatus();
  return absl::PermissionDeniedError(fmt::format(
      "this key was taken from machine {}: its identity was reissued",
      machine.id.str()));
}

absl::Status KeyOfAnother(const MachineRecord& other) {
  return absl::AlreadyExistsError(
      fmt::format("this key is that of machine {}: register with a new key",
                  other.id.str()));
}

absl::Status CheckNotDeleted(const MachineRecord& machine) {
  if (!machine.deleted_at.has_value()) return absl::OkStatus();
  return absl::AlreadyExistsError(fmt::format(
      "the machine with this key ({}) was deleted: register with a new key",
      machine.id.str()));
}

MachineRecord NewMachine(const EnrollmentRequest& request,
                         const TokenRecord& token) {
  MachineRecord machine;
  machine.id = request.candidate_id;
  machine.org = token.org;
  machine.facts = request.facts;
  machine.labels = token.labels;
  // insert() keeps what is there: the token's labels win.
  machine.labels.insert(request.labels.begin(), request.labels.end());
  machine.key_pin = request.key_pin;
  machine.registered_at = request.now;
  machine.status = Status::kStale;
  machine.status_since = request.now;
  machine.pending = token.approval;
  machine.ephemeral_for = token.ephemeral_for;
  machine.verdict =
      Verdict{Domain::kUnknown, Cause::kNeverConnected, Confidence::kProven,
              token.approval ? "waits for approval" : "never connected"};
  machine.address = request.address;
  return machine;
}

absl::StatusOr<CommandRecord> SameRequest(const CommandRecord& stored,
                                          const CommandRecord& asked) {
  if (stored.agent == asked.agent && stored.spec == asked.spec &&
      stored.labels == asked.labels && stored.purpose == asked.purpose) {
    return stored;
  }
  return absl::AlreadyExistsError(
      fmt::format("idempotency_key '{}' was already used for command {}, which "
                  "is a different request",
                  asked.idempotency_key, stored.id.str()));
}

absl::StatusOr<BatchRecord> SameRequest(const BatchRecord& stored,
                                        const BatchRecord& asked) {
  if (stored.request == asked.request) return stored;
  return absl::AlreadyExistsError(
      fmt::format("idempotency_key '{}' was already used for batch {}, which "
                  "is a different "
                  "request",
                  asked.idempotency_key, stored.id.str()));
}

void CountAnew(BatchCounts& counts, const CommandRecord& before,
               const CommandRecord& now) {
  const auto from = BatchCountOf(before), to = BatchCountOf(now);
  if (from == to || counts.*from == 0) return;
  --(counts.*from);
  ++(counts.*to);
}

BatchRecord Changed(BatchRecord batch, const BatchRecord& changed) {
  batch.state = changed.state;
  batch.reason = changed.reason;
  batch.finished_at = changed.finished_at;
  batch.counts = changed.counts;
  return batch;
}

absl::StatusOr<FreshOutput> FreshPart(const OutputRecord& output,
                                      uint64_t end) {
  if (output.offset > end && output.at) {
    return FreshOutput{output.offset, output.data};
  }
  if (output.offset > end) {
    return absl::OutOfRangeError(
        fmt::format("output of command {} is stored up to offset {}, the next "
                    "bytes start at {}",
                    output.command.str(), end, output.offset));
  }
  std::string_view fresh = output.data;
  const uint64_t known = end - output.offset;
  fresh.remove_prefix(std::min<uint64_t>(known, fresh.size()));
  return FreshOutput{end, fresh};
}

void SkipBefore(OutputRecord& output, uint64_t offset) {
  if (offset <= output.offset) return;
  output.data.erase(0, offset - output.offset);
  output.offset = offset;
}

bool IsOpen(const CommandRecord& command) {
  if (!IsTerminal(command.state)) return true;
  if (command.spec.terminal) return false;
  return command.stdout_bytes < command.stdout_total.value_or(0) ||
         command.stderr_bytes < command.stderr_total.value_or(0);
}

}  // namespace muster::gateway
