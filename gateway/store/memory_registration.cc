// Registration and its tokens, in memory.

#include <algorithm>
#include <tuple>

#include "gateway/fleet/errors.h"
#include "gateway/store/memory_fleet_store.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

absl::StatusOr<Enrollment> MemoryFleetStore::Enroll(
    const EnrollmentRequest& request) {
  RETURN_IF_ERROR(error());
  const auto found =
      std::find_if(tokens_.begin(), tokens_.end(), [&](const auto& entry) {
        return entry.second.secret_sha256 == request.token_sha256;
      });
  if (found == tokens_.end()) return TokenRefused(RefusalReason::kUnknown);
  TokenRecord token = found->second;
  const std::pair enrollment(token.id, request.key_pin);
  const auto before = enrollments_.find(enrollment);
  const bool repeated = before != enrollments_.end();
  RETURN_IF_ERROR(CheckToken(token, repeated, request));

  std::optional<MachineRecord> machine;
  if (repeated) {
    machine = machines_.at(before->second);
    RETURN_IF_ERROR(CheckNotDeleted(*machine));
    RETURN_IF_ERROR(CheckKeyHeld(*machine, request.key_pin));
  }
  for (const auto& [id, known] : machines_) {
    if (repeated) break;
    if (known.key_pin == request.key_pin && known.org == token.org) {
      machine = known;
    }
  }
  if (!repeated && token.agent) {
    if (machine) return KeyOfAnother(*machine);
    machine = machines_.at(*token.agent);
    machine->key_pin = request.key_pin;
  }
  if (!machine.has_value()) {
    if (machines_.contains(request.candidate_id)) {
      return MachineIdTaken(request.candidate_id);
    }
    machine = NewMachine(request, token);
  }
  RETURN_IF_ERROR(CheckNotDeleted(*machine));
  const auto heard = last_heard_.find(machine->id);
  if (heard != last_heard_.end()) machine->last_heard = heard->second;
  if (!repeated) {
    MachineRecord stored = *machine;
    stored.last_heard.reset();
    Put(machines_, machine->id, std::move(stored));
    ++token.uses;
    Put(tokens_, token.id, token);
    Put(enrollments_, enrollment, machine->id);
  }
  return Enrollment{*machine, token.id, repeated};
}

absl::Status MemoryFleetStore::Reissue(const TokenRecord& token) {
  RETURN_IF_ERROR(error());
  const auto known = machines_.find(*token.agent);
  if (known == machines_.end() || known->second.deleted_at) {
    return UnknownMachine(*token.agent);
  }
  RETURN_IF_ERROR(AddToken(token));
  for (const auto& [id, older] : std::map(tokens_)) {
    if (id == token.id || older.agent != token.agent || older.revoked_at) {
      continue;
    }
    TokenRecord revoked = older;
    revoked.revoked_at = token.created_at;
    Put(tokens_, id, revoked);
  }
  MachineRecord machine = known->second;
  machine.key_pin.clear();
  Put(machines_, *token.agent, std::move(machine));
  return absl::OkStatus();
}

// --- Tokens -----------------------------------------------------------------

absl::Status MemoryFleetStore::AddToken(const TokenRecord& token) {
  RETURN_IF_ERROR(error());
  for (const auto& [id, known] : tokens_) {
    if (id == token.id || known.secret_sha256 == token.secret_sha256) {
      return absl::AlreadyExistsError("this token exists already");
    }
  }
  Put(tokens_, token.id, token);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenRecord>> MemoryFleetStore::ListTokens(
    const OrgId& org) {
  RETURN_IF_ERROR(error());
  std::vector<TokenRecord> found;
  for (const auto& [id, token] : tokens_) {
    if (token.org == org) found.push_back(token);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.created_at, a.id) > std::tie(b.created_at, b.id);
  });
  return found;
}

absl::StatusOr<TokenRecord> MemoryFleetStore::RevokeToken(const OrgId& org,
                                                          const TokenId& id,
                                                          absl::Time now) {
  RETURN_IF_ERROR(error());
  const auto it = tokens_.find(id);
  if (it == tokens_.end() || it->second.org != org) return UnknownToken(id);
  if (!it->second.revoked_at.has_value()) {
    TokenRecord revoked = it->second;
    revoked.revoked_at = now;
    Put(tokens_, id, std::move(revoked));
  }
  return tokens_.at(id);
}

// --- Refusals ---------------------------------------------------------------

absl::Status MemoryFleetStore::AddRefusal(const EnrollmentRequest& request,
                                          RefusalReason reason) {
  RETURN_IF_ERROR(error());
  const auto token =
      std::find_if(tokens_.begin(), tokens_.end(), [&](const auto& entry) {
        return entry.second.secret_sha256 == request.token_sha256;
      });
  if (token == tokens_.end()) return NoTokenToRefuse();
  const OrgId& org = token->second.org;
  Put(refusals_, ++last_row_,
      RefusalRecord{.org = org,
                    .token = token->first,
                    .at = request.now,
                    .reason = reason,
                    .address = request.address,
                    .hostname = request.facts.hostname});
  const auto of_org = [&](const auto& entry) {
    return entry.second.org == org;
  };
  if (static_cast<size_t>(std::count_if(refusals_.begin(), refusals_.end(),
                                        of_org)) > kRefusalsMax) {
    Erase(refusals_,
          std::find_if(refusals_.begin(), refusals_.end(), of_org)->first);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RefusalRecord>> MemoryFleetStore::ListRefusals(
    const OrgId& org, size_t limit) {
  RETURN_IF_ERROR(error());
  std::vector<RefusalRecord> found;
  for (auto it = refusals_.rbegin();
       it != refusals_.rend() && found.size() < limit; ++it) {
    if (it->second.org == org) found.push_back(it->second);
  }
  return found;
}

}  // namespace muster::gateway
