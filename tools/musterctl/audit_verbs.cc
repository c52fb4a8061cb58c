#include "tools/musterctl/audit_verbs.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/audit_proto.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

constexpr uint32_t kRecordsDefault = 50;
constexpr uint32_t kRecordsSinceMax = 10'000;
constexpr size_t kHashDigits = 64;

std::string TimeText(absl::Time t) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", t, absl::LocalTimeZone());
}

absl::StatusOr<v1::ListAuditRequest> RequestOf(Tool& tool,
                                               const AuditLsOptions& options) {
  v1::ListAuditRequest request;
  request.set_principal(options.principal);
  request.set_method(options.method);
  request.set_target(options.target);
  if (!options.since) return request;
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::WhoAmIResponse>(
                                          "WhoAmI", v1::WhoAmIRequest()));
  *request.mutable_since() =
      wire::ToProto(tool.Now(answer.served_at) - *options.since);
  return request;
}

// Every record of the gateway's chain, oldest first.
absl::Status ForEachRecord(
    Tool& tool, const std::function<absl::Status(const v1::AuditRecord&)>& f) {
  v1::ListAuditRequest request;
  request.set_limit(wire::kPageSizeMax);
  request.set_after_sequence(0);
  while (true) {
    ASSIGN_OR_RETURN(const auto page, tool.api.Call<v1::ListAuditResponse>(
                                          "ListAudit", request));
    for (const v1::AuditRecord& record : page.message.records()) {
      RETURN_IF_ERROR(f(record));
      request.set_after_sequence(record.sequence());
    }
    if (page.message.records().empty()) return absl::OkStatus();
  }
}

int SayIntact(Console& console, const AuditCheck& check) {
  if (check.records() == 0) {
    console.Err("The audit log is empty.\n");
  } else {
    console.Out(fmt::format("intact: records {} to {}\nhead {}:{}\n",
                            check.first_sequence(), check.sequence(),
                            check.sequence(), check.hash()));
  }
  return kExitOk;
}

}  // namespace

absl::StatusOr<int> AuditLs(Tool& tool, const AuditLsOptions& options) {
  ASSIGN_OR_RETURN(v1::ListAuditRequest request, RequestOf(tool, options));
  const uint32_t rows_max = options.limit.value_or(
      options.since ? kRecordsSinceMax : kRecordsDefault);
  std::vector<v1::AuditRecord> records;
  std::vector<std::string> bodies;
  do {
    const auto left = rows_max - static_cast<uint32_t>(records.size());
    request.set_limit(std::min(left, wire::kPageSizeMax));
    ASSIGN_OR_RETURN(
        auto page, tool.api.Call<v1::ListAuditResponse>("ListAudit", request));
    records.insert(records.end(), page.message.records().begin(),
                   page.message.records().end());
    bodies.push_back(std::move(page.body));
    request.set_page_token(page.message.next_page_token());
  } while (!request.page_token().empty() && records.size() < rows_max);
  ASSIGN_OR_RETURN(const std::string body, JoinPages(bodies, "records"));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, body));
  if (shown) return kExitOk;
  Table table({"TIME", "PRINCIPAL", "FROM", "METHOD", "TARGET", "RESULT"},
              "TARGET");
  for (const v1::AuditRecord& r : records) {
    table.AddRow(
        {{TimeText(wire::FromProto(r.at()))},
         {r.principal()},
         {r.from()},
         {r.method()},
         {r.target()},
         {r.result(), r.result() == "ok" ? Color::kNone : Color::kYellow}});
  }
  if (records.empty()) {
    tool.console.Err("No records.\n");
  } else {
    tool.console.Out(table.Render(tool.Style(options.header)));
  }
  if (!request.page_token().empty()) {
    tool.console.Err(fmt::format(
        "\n{} newest shown; --since or --limit for more.\n", records.size()));
  }
  return kExitOk;
}

absl::StatusOr<AuditHead> ParseAuditHead(std::string_view text) {
  AuditHead head;
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    head.hash = absl::AsciiStrToLower(ToAbsl(text.substr(colon + 1)));
    if (absl::SimpleAtoi(ToAbsl(text.substr(0, colon)), &head.sequence) &&
        head.sequence > 0 && head.hash.size() == kHashDigits &&
        std::ranges::all_of(head.hash, absl::ascii_isxdigit)) {
      return head;
    }
  }
  return absl::InvalidArgumentError(
      "must be SEQUENCE:HASH, as in the gateway's log (msg=audit_head) or what "
      "`musterctl audit verify` printed");
}

absl::StatusOr<int> AuditVerify(Tool& tool,
                                const std::optional<AuditHead>& head) {
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::VerifyAuditResponse>(
                       "VerifyAudit", v1::VerifyAuditRequest()));
  const v1::VerifyAuditResponse& told = answer.message;
  if (!told.intact()) {
    return absl::DataLossError("the audit log is not intact: " + told.why());
  }
  AuditHead told_head;
  told_head.sequence = told.head_sequence();
  told_head.hash = told.head_hash();
  AuditCheck as_told(told_head);
  AuditCheck check(head);
  const auto take = [&](const v1::AuditRecord& record) {
    const AuditRecord parsed = wire::FromProto(record);
    const absl::Status taken = check.Take(parsed);
    return taken.ok() ? as_told.Take(parsed) : taken;
  };
  RETURN_IF_ERROR(ForEachRecord(tool, take));
  RETURN_IF_ERROR(check.End());
  RETURN_IF_ERROR(as_told.End());
  return SayIntact(tool.console, check);
}

absl::StatusOr<int> AuditVerifyFile(World& world,
                                    const AuditVerifyFileOptions& options) {
  std::ifstream file(options.file);
  if (!file) {
    return absl::NotFoundError("cannot read " + options.file);
  }
  AuditCheck check(options.head);
  std::string line;
  for (uint64_t number = 1; std::getline(file, line); ++number) {
    v1::AuditRecord record;
    const absl::Status read =
        wire::JsonToProto(line, record, {.ignore_unknown = true});
    if (!read.ok()) {
      return absl::DataLossError(fmt::format("{}:{}: {}", options.file, number,
                                             ToStd(read.message())));
    }
    RETURN_IF_ERROR(check.Take(wire::FromProto(record)));
  }
  if (file.bad()) {
    return absl::DataLossError("cannot read the rest of " + options.file);
  }
  RETURN_IF_ERROR(check.End());
  return SayIntact(world.console, check);
}

absl::StatusOr<int> AuditExport(Tool& tool) {
  const auto show = [&tool](const v1::AuditRecord& record) {
    tool.console.Out(wire::ProtoToJson(record) + "\n");
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachRecord(tool, show));
  return kExitOk;
}

}  // namespace muster::ctl
