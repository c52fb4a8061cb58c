#include "gateway/store/store_rules.h"

#include <algorithm>

#include "fmt/format.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/fleet/command_rules.h"

namespace muster::gateway {

absl::Status UnknownToken() {
  return absl::PermissionDeniedError("unknown token");
}
absl::Status UnknownToken(const TokenId& id) {
  return absl::NotFoundError(fmt::format("token {} is not known", id.str()));
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
absl::Status UserExists(std::string_view name) {
  return absl::AlreadyExistsError(
      fmt::format("user {} exists already, or did once", name));
}
UserRecord Edited(UserRecord user, const UserEdit& edit) {
  user.role = edit.role.value_or(user.role);
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

absl::Status CheckToken(const TokenRecord& token, bool repeated,
                        absl::Time now) {
  if (token.revoked_at.has_value()) {
    return absl::PermissionDeniedError("token revoked");
  }
  if (repeated) return absl::OkStatus();
  if (now >= token.expires_at) {
    return absl::PermissionDeniedError("token expired");
  }
  if (token.uses >= token.uses_max) {
    return absl::PermissionDeniedError("token used up");
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
  machine.verdict = Verdict{Domain::kUnknown, Cause::kNeverConnected,
                            Confidence::kProven, "never connected"};
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
