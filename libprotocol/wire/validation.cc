#include "libprotocol/wire/validation.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/utf8.h"
#include "libprotocol/wire/validation_parts.h"

namespace muster::wire {
namespace {

// Control characters forge log lines and drive terminals.
bool HasControl(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) return true;
    const bool c1 = c == 0xc2 && i + 1 < text.size() &&
                    static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) return true;
  }
  return false;
}

absl::Status ValidateId(std::string_view field, std::string_view id) {
  return ValidateText(field, id, kIdBytesMax);
}

bool IsLabelMiddle(char c) {
  return IsLabelEnd(c) || c == '.' || c == '_' || c == '/' || c == '-';
}

absl::Status ValidateScript(const v1::SubmitCommandRequest& request) {
  const std::string& command = request.command();
  if (command.empty() || command.size() > kCommandBytesMax) {
    return Invalid("command: must be 1 to {} bytes, got {}", kCommandBytesMax,
                   command.size());
  }
  if (const size_t nul = command.find('\0'); nul != command.npos) {
    return Invalid("command: must not contain NUL, got one at byte {}", nul);
  }
  if (request.argv_size() > 0) {
    return Invalid(
        "argv: only for shell_type exec, got {} with {} arguments",
        request.shell_type() == v1::SHELL_TYPE_UNSPECIFIED
            ? "bash"
            : EnumText(*v1::ShellType_descriptor()->FindValueByNumber(
                  request.shell_type())),
        request.argv_size());
  }
  return absl::OkStatus();
}

using Argv = google::protobuf::RepeatedPtrField<std::string>;

absl::Status ValidateArgv(const Argv& argv) {
  const size_t count = static_cast<size_t>(argv.size());
  if (count == 0 || count > kArgvMax) {
    return Invalid("argv: must have 1 to {} arguments, got {}", kArgvMax,
                   count);
  }
  if (argv[0].empty()) {
    return Invalid("argv[0]: must name a program, got \"\"");
  }
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::string& argument = argv[static_cast<int>(i)];
    bytes += argument.size() + 1;  // As execve(2) counts them.
    if (const size_t nul = argument.find('\0'); nul != argument.npos) {
      return Invalid("argv[{}]: must not contain NUL, got one at byte {}", i,
                     nul);
    }
  }
  if (bytes > kCommandBytesMax) {
    return Invalid("argv: must be at most {} bytes in all, got {}",
                   kCommandBytesMax, bytes);
  }
  return absl::OkStatus();
}

absl::Status ValidateExec(const v1::SubmitCommandRequest& request) {
  if (!request.command().empty()) {
    return Invalid("command: must be empty for shell_type exec, got {} bytes",
                   request.command().size());
  }
  return ValidateArgv(request.argv());
}

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

absl::Status ValidateEnvironment(std::string_view field,
                                 const LabelMap& environment) {
  if (environment.size() > kEnvironmentMax) {
    return Invalid("{}: at most {} names, got {}", field, kEnvironmentMax,
                   environment.size());
  }
  size_t bytes = 0;
  for (const auto& [name, value] : environment) {
    if (name.empty() || !std::ranges::all_of(name, IsNameCharacter) ||
        absl::ascii_isdigit(static_cast<unsigned char>(name.front()))) {
      return Invalid(
          "{}: a name must be letters, digits and _, no digit first, got {}",
          field, Shown(name));
    }
    if (name.starts_with("MUSTER_")) {
      return Invalid("{}: a name must not begin with MUSTER_, got {}", field,
                     Shown(name));
    }
    if (const size_t nul = value.find('\0'); nul != value.npos) {
      return Invalid("{}.{}: must not contain NUL, got one at byte {}", field,
                     name, nul);
    }
    bytes += name.size() + value.size() + 2;  // As execve(2) counts them.
  }
  if (bytes <= kEnvironmentBytesMax) return absl::OkStatus();
  return Invalid("{}: must be at most {} bytes in all, got {}", field,
                 kEnvironmentBytesMax, bytes);
}

absl::Status ValidateSurroundings(const v1::Surroundings& surroundings) {
  RETURN_IF_ERROR(
      ValidateText("surroundings.user", surroundings.user(), kUserBytesMax));
  const std::string& folder = surroundings.working_directory();
  RETURN_IF_ERROR(
      ValidateText("surroundings.working_directory", folder, kPathBytesMax));
  if (!folder.empty() && folder.front() != '/') {
    return Invalid("surroundings.working_directory: must be absolute, got {}",
                   Shown(folder));
  }
  RETURN_IF_ERROR(ValidateEnvironment("surroundings.environment",
                                      surroundings.environment()));
  if (surroundings.umask() > 0777) {
    return Invalid("surroundings.umask: must be 0 to {} (octal 0777), got {}",
                   0777, surroundings.umask());
  }
  if (surroundings.input().size() > kInputBytesMax) {
    return Invalid("surroundings.input: must be at most {} bytes, got {}",
                   kInputBytesMax, surroundings.input().size());
  }
  return absl::OkStatus();
}

absl::Status ValidateCsr(std::string_view csr_pem) {
  if (!csr_pem.empty() && csr_pem.size() <= kCsrBytesMax) {
    return absl::OkStatus();
  }
  return Invalid("csr_pem: must be 1 to {} bytes, got {}", kCsrBytesMax,
                 csr_pem.size());
}

}  // namespace

bool IsHostnameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
         c == '-' || c == '_';
}

absl::Status ValidateText(std::string_view field, std::string_view text,
                          size_t bytes_max) {
  if (text.size() > bytes_max) {
    return Invalid("{}: must be at most {} bytes, got {}", field, bytes_max,
                   text.size());
  }
  if (!IsUtf8(text)) return Invalid("{}: must be valid UTF-8", field);
  if (HasControl(text)) {
    return Invalid("{}: must not contain control characters", field);
  }
  return absl::OkStatus();
}

absl::Status ValidateLabelKey(std::string_view key) {
  const bool good = !key.empty() && key.size() <= kLabelKeyBytesMax &&
                    IsLabelEnd(key.front()) && IsLabelEnd(key.back()) &&
                    std::ranges::all_of(key, IsLabelMiddle);
  if (good) return absl::OkStatus();
  return Invalid(
      "label key: must be 1 to {} of a-z 0-9 . _ / - that begin and end with a "
      "letter or digit, got {}",
      kLabelKeyBytesMax, Shown(key));
}

absl::Status ValidateLabels(std::string_view field, const LabelMap& labels) {
  if (labels.size() > kLabelsMax) {
    return Invalid("{}: at most {} labels, got {}", field, kLabelsMax,
                   labels.size());
  }
  for (const auto& [key, value] : labels) {
    if (absl::Status s = ValidateLabelKey(key); !s.ok()) {
      return Invalid("{}: {}", field, ToStd(s.message()));
    }
    RETURN_IF_ERROR(ValidateText(fmt::format("{}.{}", field, key), value,
                                 kLabelValueBytesMax));
  }
  return absl::OkStatus();
}

absl::Status ValidateHostname(std::string_view field, std::string_view name) {
  if (name.empty() || name.size() > kHostnameBytesMax) {
    return Invalid("{}: must be 1 to {} bytes, got {}", field,
                   kHostnameBytesMax, name.size());
  }
  if (!std::ranges::all_of(name, IsHostnameCharacter) || name.front() == '.' ||
      name.front() == '-') {
    return Invalid(
        "{}: must be letters, digits, dots, hyphens and underscores, the first "
        "none of . and -, got {}",
        field, Shown(name));
  }
  if (IsUuid(absl::AsciiStrToLower(ToAbsl(name)))) {
    return Invalid("{}: must not be a UUID, got {}", field, Shown(name));
  }
  return absl::OkStatus();
}

absl::Status ValidateFacts(const v1::AgentFacts& facts) {
  RETURN_IF_ERROR(ValidateHostname("facts.hostname", facts.hostname()));
  const std::pair<std::string_view, const std::string&> others[] = {
      {"facts.machine_id", facts.machine_id()},
      {"facts.os", facts.os()},
      {"facts.kernel", facts.kernel()},
      {"facts.architecture", facts.architecture()},
      {"facts.agent_version", facts.agent_version()},
      {"facts.runtime_name", facts.runtime_name()}};
  for (const auto& [field, text] : others) {
    RETURN_IF_ERROR(ValidateText(field, text, kFactBytesMax));
  }
  return absl::OkStatus();
}

absl::Status ValidateRenew(const v1::RenewRequest& request) {
  const size_t bytes = request.certificate_pem().size();
  if (bytes == 0 || bytes > kCertificateBytesMax) {
    return Invalid("certificate_pem: must be 1 to {} bytes, got {}",
                   kCertificateBytesMax, bytes);
  }
  return ValidateCsr(request.csr_pem());
}

absl::Status ValidateCertificateRequest(const v1::CertificateRequest& request) {
  return ValidateCsr(request.csr_pem());
}

absl::Status ValidateRegister(const v1::RegisterRequest& request) {
  if (request.token().empty() || request.token().size() > kTokenBytesMax) {
    return Invalid("token: must be 1 to {} bytes, got {}", kTokenBytesMax,
                   request.token().size());
  }
  RETURN_IF_ERROR(ValidateCsr(request.csr_pem()));
  RETURN_IF_ERROR(ValidateFacts(request.facts()));
  RETURN_IF_ERROR(ValidateLabels("labels", request.labels()));
  return ValidateId("replaces_agent_id", request.replaces_agent_id());
}

absl::Status ValidateSetLabels(const v1::SetLabelsRequest& request) {
  RETURN_IF_ERROR(ValidateId("agent_id", request.agent_id()));
  if (request.set().empty() && request.remove().empty()) {
    return Invalid("set, remove: at least one label must be named");
  }
  RETURN_IF_ERROR(ValidateLabels("set", request.set()));
  for (const std::string& key : request.remove()) {
    if (absl::Status s = ValidateLabelKey(key); !s.ok()) {
      return Invalid("remove: {}", ToStd(s.message()));
    }
    if (request.set().contains(key)) {
      return Invalid("remove: {} is also in set", Shown(key));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidatePresenceEdit(
    const v1::PresenceSettings& set,
    const google::protobuf::RepeatedField<int>& reset) {
  const auto& fields = *v1::PresenceSettings::descriptor();
  bool any = !reset.empty();
  for (int i = 0; i < fields.field_count(); ++i) {
    any = any || set.GetReflection()->HasField(set, fields.field(i));
  }
  if (!any) return Invalid("set, reset: at least one setting must be named");
  for (const int number : reset) {
    const auto* field = fields.FindFieldByNumber(number);
    if (field == nullptr) {
      return Invalid("reset: unknown value {}", number);
    }
    if (set.GetReflection()->HasField(set, field)) {
      return Invalid("reset: {} is also in set", field->name());
    }
  }
  return absl::OkStatus();
}

namespace {

// How long it waits for its machine has one name in each case.
absl::Status ValidateQueueTtl(const v1::SubmitCommandRequest& request) {
  const bool queue = request.if_offline() == v1::IF_OFFLINE_QUEUE;
  if (queue && request.has_delivery_timeout()) {
    return Invalid("delivery_timeout: with if_offline queue give queue_ttl");
  }
  if (!request.has_queue_ttl()) return absl::OkStatus();
  if (!queue) return Invalid("queue_ttl: only with if_offline queue");
  return ValidateDuration("queue_ttl", request.queue_ttl(), kCommandTimeoutMin,
                          kCommandTimeoutMax);
}

// All but where to run it.
absl::Status ValidateRun(const v1::SubmitCommandRequest& request) {
  if (!v1::ShellType_IsValid(request.shell_type())) {
    return Invalid("shell_type: unknown value {}",
                   static_cast<int>(request.shell_type()));
  }
  if (!v1::IfOffline_IsValid(request.if_offline())) {
    return Invalid("if_offline: unknown value {}",
                   static_cast<int>(request.if_offline()));
  }
  RETURN_IF_ERROR(request.shell_type() == v1::SHELL_TYPE_EXEC
                      ? ValidateExec(request)
                      : ValidateScript(request));
  if (request.has_timeout()) {
    RETURN_IF_ERROR(ValidateDuration("timeout", request.timeout(),
                                     kCommandTimeoutMin, kCommandTimeoutMax));
  }
  if (request.has_delivery_timeout()) {
    RETURN_IF_ERROR(ValidateDuration("delivery_timeout",
                                     request.delivery_timeout(),
                                     kCommandTimeoutMin, kCommandTimeoutMax));
  }
  RETURN_IF_ERROR(ValidateQueueTtl(request));
  if (request.has_kill_grace()) {
    RETURN_IF_ERROR(ValidateDuration("kill_grace", request.kill_grace(),
                                     absl::ZeroDuration(), kKillGraceMax));
  }
  if (request.has_output_bytes_max() &&
      (request.output_bytes_max() == 0 ||
       request.output_bytes_max() > kCommandOutputBytesMax)) {
    return Invalid("output_bytes_max: must be 1 to {}, got {}",
                   kCommandOutputBytesMax, request.output_bytes_max());
  }
  RETURN_IF_ERROR(ValidateSurroundings(request.surroundings()));
  if (request.input_streamed() && !request.surroundings().input().empty()) {
    return Invalid("input_streamed: must not be set with surroundings.input");
  }
  RETURN_IF_ERROR(ValidateLabels("labels", request.labels()));
  RETURN_IF_ERROR(ValidateText("purpose", request.purpose(), kPurposeBytesMax));
  return ValidateText("idempotency_key", request.idempotency_key(),
                      kIdempotencyKeyBytesMax);
}

}  // namespace

absl::Status ValidateSubmitCommand(const v1::SubmitCommandRequest& request) {
  RETURN_IF_ERROR(ValidateId("agent_id", request.agent_id()));
  return ValidateRun(request);
}

absl::Status ValidateSubmitBatch(const v1::SubmitBatchRequest& request) {
  const v1::SubmitCommandRequest& run = request.run();
  if (!run.agent_id().empty()) {
    return Invalid("run.agent_id: must be empty; agent_id selects machines");
  }
  if (!run.idempotency_key().empty()) {
    return Invalid("run.idempotency_key: must be empty; the batch has its own");
  }
  if (run.input_streamed()) {
    return Invalid("run.input_streamed: must not be set for many machines");
  }
  if (absl::Status s = ValidateRun(run); !s.ok()) {
    return Invalid("run.{}", ToStd(s.message()));
  }
  const bool some = !request.status().empty() || !request.hostname().empty() ||
                    !request.label().empty() || !request.agent_id().empty();
  if (some == request.all()) {
    return some ? Invalid(
                      "all: must not be given with what selects some: "
                      "status, hostname, label, agent_id")
                : Invalid(
                      "status, hostname, label, agent_id, all: at least "
                      "one must be given");
  }
  if (static_cast<size_t>(request.agent_id_size()) > kSelectedMax) {
    return Invalid("agent_id: at most {} machines, got {}", kSelectedMax,
                   request.agent_id_size());
  }
  for (const std::string& id : request.agent_id()) {
    RETURN_IF_ERROR(ValidateId("agent_id", id));
  }
  return ValidateText("idempotency_key", request.idempotency_key(),
                      kIdempotencyKeyBytesMax);
}

absl::Status ValidateWindowSize(std::string_view field,
                                const v1::WindowSize& size) {
  for (const auto& [name, value] :
       {std::pair("rows", size.rows()), std::pair("columns", size.columns())}) {
    if (value == 0 || value > kWindowSizeMax) {
      return Invalid("{}.{}: must be 1 to {}, got {}", field, name,
                     kWindowSizeMax, value);
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateInputData(std::string_view data) {
  if (data.size() <= kInputDataBytesMax) return absl::OkStatus();
  return Invalid("data: must be at most {} bytes, got {}", kInputDataBytesMax,
                 data.size());
}

absl::Status ValidateOpenSession(const v1::OpenSessionRequest& request) {
  RETURN_IF_ERROR(ValidateId("agent_id", request.agent_id()));
  if (!request.argv().empty()) RETURN_IF_ERROR(ValidateArgv(request.argv()));
  RETURN_IF_ERROR(ValidateSurroundings(request.surroundings()));
  if (!request.surroundings().input().empty()) {
    return Invalid("surroundings.input: must be empty; WriteSession types");
  }
  if (request.has_size()) {
    RETURN_IF_ERROR(ValidateWindowSize("size", request.size()));
  }
  const std::string& type = request.terminal_type();
  const auto is_type_character = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
           c == '.' || c == '+' || c == '_';
  };
  if (type.size() > kTerminalTypeBytesMax ||
      !std::ranges::all_of(type, is_type_character)) {
    return Invalid(
        "terminal_type: must be at most {} of A-Z a-z 0-9 - . + _, "
        "got {}",
        kTerminalTypeBytesMax, Shown(type));
  }
  if (request.has_timeout()) {
    RETURN_IF_ERROR(ValidateDuration("timeout", request.timeout(),
                                     kCommandTimeoutMin, kSessionTimeoutMax));
  }
  if (request.has_keep()) {
    RETURN_IF_ERROR(ValidateDuration("keep", request.keep(), kSessionKeepMin,
                                     kSessionKeepMax));
  }
  RETURN_IF_ERROR(ValidateText("purpose", request.purpose(), kPurposeBytesMax));
  return ValidateText("idempotency_key", request.idempotency_key(),
                      kIdempotencyKeyBytesMax);
}

absl::Status ValidatePageSize(uint32_t limit) {
  if (limit <= kPageSizeMax) return absl::OkStatus();
  return Invalid("limit: must be 1 to {}, or 0 for {}, got {}", kPageSizeMax,
                 kPageSizeDefault, limit);
}

absl::Status ValidateWait(const google::protobuf::Duration& wait) {
  return ValidateDuration("wait", wait, absl::ZeroDuration(), kWaitMax);
}

}  // namespace muster::wire
