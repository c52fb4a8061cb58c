#include "gateway/admin/audit_handlers.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/admin/page_token.h"
#include "libprotocol/base/audit_record.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/audit_proto.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

constexpr char kList[] = "audit";

absl::StatusOr<AuditFilter> FilterOf(const OrgId& org,
                                     const v1::ListAuditRequest& request) {
  RETURN_IF_ERROR(wire::ValidatePageSize(request.limit()));
  AuditFilter filter{.org = org,
                     .principal = request.principal(),
                     .method = request.method(),
                     .target = request.target()};
  if (request.has_since()) filter.since = wire::FromProto(request.since());
  if (request.has_until()) filter.until = wire::FromProto(request.until());
  if (request.has_after_sequence()) filter.after = request.after_sequence();
  if (request.page_token().empty()) return filter;
  if (filter.after) {
    return absl::InvalidArgumentError(
        "page_token: is not for after_sequence; ask again with the sequence of "
        "the last record");
  }
  ASSIGN_OR_RETURN(const HistoryPosition position,
                   DecodeHistoryToken(kList, request.page_token()));
  filter.before = static_cast<uint64_t>(position.newest);
  return filter;
}

// Of an org that has no chain: one of sequence 0.
absl::StatusOr<AuditHead> HeadOf(FleetStore& store, const OrgId& org) {
  ASSIGN_OR_RETURN(const std::vector<AuditHead> heads, store.AuditHeads());
  for (const AuditHead& head : heads) {
    if (head.org == org) return head;
  }
  AuditHead none;
  none.org = org;
  return none;
}

// Retention moves the beginning while it is read: what it left at the end of
// the reading is at or after the record that was first.
absl::Status CheckBeginning(const AuditCheck& check, const AuditHead& head) {
  if (check.records() == 0 || check.first_sequence() <= head.kept_from) {
    return absl::OkStatus();
  }
  return absl::DataLossError(fmt::format("records {} to {} are missing",
                                         head.kept_from,
                                         check.first_sequence() - 1));
}

}  // namespace

struct AuditHandlers::Verification {
  OrgId org;
  Reply<v1::VerifyAuditResponse> reply;
  // Touched by the reader thread that makes a step.
  std::optional<AuditCheck> check = {};
  absl::Status broken = {};
  bool ended = false;

  absl::Status Go(FleetStore& store);
  absl::Status End(FleetStore& store);
  v1::VerifyAuditResponse Response() const;
};

void AuditHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.ListAudit", this, &AuditHandlers::ListAudit);
  table.Add("muster.v1.FleetAdmin.VerifyAudit", this,
            &AuditHandlers::VerifyAudit);
}

void AuditHandlers::ListAudit(const Caller& caller,
                              const v1::ListAuditRequest& request,
                              Reply<v1::ListAuditResponse> reply) {
  auto filter = FilterOf(caller.org, request);
  if (!filter.ok()) {
    reply(filter.status());
    return;
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  store_.Read(
      [filter = *filter, limit](FleetStore& store) {
        return store.ListAudit(filter, limit + 1);
      },
      [limit, newest_first = !filter->after, reply = std::move(reply)](
          absl::StatusOr<std::vector<AuditRecord>> records) mutable {
        if (!records.ok()) {
          reply(records.status());
          return;
        }
        v1::ListAuditResponse response;
        for (size_t i = 0; i < records->size() && i < limit; ++i) {
          *response.add_records() = wire::ToProto((*records)[i]);
        }
        if (newest_first && records->size() > limit) {
          const auto last =
              static_cast<int64_t>(response.records().rbegin()->sequence());
          response.set_next_page_token(EncodeHistoryToken(kList, {last, 0}));
        }
        reply(std::move(response));
      });
}

void AuditHandlers::VerifyAudit(const Caller& caller,
                                const v1::VerifyAuditRequest&,
                                Reply<v1::VerifyAuditResponse> reply) {
  auto verification = std::make_shared<Verification>();
  verification->org = caller.org;
  verification->reply = std::move(reply);
  Step(std::move(verification));
}

void AuditHandlers::Step(std::shared_ptr<Verification> verification) {
  store_.Read(
      [verification](FleetStore& store) { return verification->Go(store); },
      [this, verification](const absl::Status& status) {
        if (!status.ok()) {
          verification->reply(status);
        } else if (!verification->ended) {
          Step(verification);
        } else {
          verification->reply(verification->Response());
        }
      });
}

absl::Status AuditHandlers::Verification::Go(FleetStore& store) {
  if (!check) {
    // The head of this moment must be among what follows.
    ASSIGN_OR_RETURN(AuditHead head, HeadOf(store, org));
    check.emplace(std::move(head));
  }
  ASSIGN_OR_RETURN(
      const std::vector<AuditRecord> records,
      store.ListAudit({.org = org, .after = check->sequence()}, kStepRecords));
  if (records.empty()) return End(store);
  for (const AuditRecord& record : records) {
    broken = check->Take(record);
    ended = !broken.ok();
    if (ended) break;
  }
  return absl::OkStatus();
}

absl::Status AuditHandlers::Verification::End(FleetStore& store) {
  ended = true;
  broken = check->End();
  if (!broken.ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const AuditHead head, HeadOf(store, org));
  broken = CheckBeginning(*check, head);
  return absl::OkStatus();
}

v1::VerifyAuditResponse AuditHandlers::Verification::Response() const {
  v1::VerifyAuditResponse response;
  response.set_intact(broken.ok());
  response.set_records(check->records());
  response.set_first_sequence(check->first_sequence());
  response.set_head_sequence(check->sequence());
  response.set_head_hash(check->hash());
  if (!broken.ok()) response.set_why(std::string(broken.message()));
  return response;
}

}  // namespace muster::gateway
