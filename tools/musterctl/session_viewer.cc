#include "tools/musterctl/session_viewer.h"

#include <optional>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/output_reader.h"
#include "tools/musterctl/problem.h"

namespace muster::ctl {
namespace {

// Who types must ask again within 15 s, or counts as gone.
constexpr absl::Duration kReadWait = absl::Seconds(10);
constexpr absl::Duration kTypingWait = absl::Seconds(5);
constexpr absl::Duration kPauseAfterError = absl::Seconds(1);
constexpr absl::Duration kGiveUpAfter = absl::Minutes(5);
// For the gateway to hear that somebody leaves, or ends it.
constexpr absl::Duration kWordWait = absl::Seconds(3);

constexpr char kKeys[] =
    "\r\n~d  leave; the session lives on\r\n~.  end the session\r\n"
    "~~  a tilde\r\n";

bool HasCode(const absl::Status& status, std::string_view code) {
  const auto problem = ProblemOf(status);
  return problem && problem->code == code;
}

}  // namespace

EscapeKeys::Wish EscapeKeys::Take(std::string& bytes) {
  Wish wish = Wish::kNone;
  std::string ours = std::exchange(bytes, {});
  for (const char c : ours) {
    if (std::exchange(tilde_, false)) {
      at_line_start_ = false;
      if (c == 'd') return Wish::kDetach;
      if (c == '.') {
        at_line_start_ = true;
        return Wish::kEnd;
      }
      if (c == '?') {
        wish = Wish::kHelp;
        at_line_start_ = true;
        continue;
      }
      if (c != '~') bytes += '~';
      bytes += c;
    } else if (c == '~' && at_line_start_) {
      tilde_ = true;
    } else {
      bytes += c;
    }
    at_line_start_ = c == '\r' || c == '\n';
  }
  return wish;
}

absl::StatusOr<std::optional<v1::Session>> SessionViewer::Watch(
    LiveInput* input) {
  RETURN_IF_ERROR(Attach());
  if (input == nullptr) return ReadToEnd();
  const absl::StatusOr<v1::Session> session = TypeToEnd(*input);
  if (wish_ != EscapeKeys::Wish::kDetach) return session;
  // If that is not heard, it is seen from nobody's asking.
  (void)Say("DetachSession", AttachmentOf<v1::DetachSessionRequest>());
  return std::nullopt;
}

absl::StatusOr<v1::Session> SessionViewer::TypeToEnd(LiveInput& input) {
  ASSIGN_OR_RETURN(Line line, tool_.another_line());
  // This terminal may have another size than the one that it began on. If that
  // is not heard, the next change of size is.
  InputSender::Part resize;
  resize.offset = input_offset_;
  resize.size = input.WindowSize();
  if (resize.size.known()) (void)Put(tool_.api, resize);
  const InputSender sender(
      input, std::move(line), input_offset_,
      [this](GatewayApi& api, const InputSender::Part& part) {
        return Put(api, part);
      },
      [this](std::string& bytes) { return Filter(bytes); });
  return ReadToEnd();
}

absl::Status SessionViewer::Attach() {
  if (role_ == Role::kLooks) return absl::OkStatus();
  v1::AttachSessionRequest request;
  request.set_session_id(session_id_);
  ASSIGN_OR_RETURN(const auto answer,
                   tool_.api.Call<v1::AttachSessionResponse>(
                       "AttachSession", request, {.wait = kReadWait}));
  session_ = answer.message.session();
  input_offset_ = answer.message.input_offset();
  MutexLock lock(mu_);
  attachment_id_ = answer.message.attachment_id();
  return absl::OkStatus();
}

absl::StatusOr<v1::Session> SessionViewer::ReadToEnd() {
  Instant answered = tool_.clock.Now();
  bool told = false;
  while (true) {
    absl::StatusOr<bool> end = ReadOn();
    if (wish_ == EscapeKeys::Wish::kDetach) return session_;
    // The gateway was restarted; it knows nobody who types.
    if (HasCode(end.status(), "not_attached")) {
      const absl::Status attached = Attach();
      if (attached.ok()) continue;
      end = attached;
    }
    if (end.ok()) {
      answered = tool_.clock.Now();
      if (std::exchange(told, false)) {
        tool_.console.Err("\r\n[the gateway is back]\r\n");
      }
      if (*end) return session_;
      continue;
    }
    if (!IsPassing(end.status()) ||
        tool_.clock.Now() - answered > kGiveUpAfter) {
      return end.status();
    }
    if (!std::exchange(told, true)) {
      tool_.console.Err(
          "\r\n[no answer from the gateway; the session lives on; trying "
          "again]\r\n");
    }
    tool_.patience.Pause(kPauseAfterError);
  }
}

absl::StatusOr<bool> SessionViewer::ReadOn() {
  auto request = AttachmentOf<v1::ReadSessionRequest>();
  request.set_offset(offset_);
  *request.mutable_wait() = wire::ToProto(kReadWait);
  ASSIGN_OR_RETURN(auto answer, tool_.api.Call<v1::ReadSessionResponse>(
                                    "ReadSession", request,
                                    {.wait = kReadWait, .as_protobuf = true}));
  v1::ReadSessionResponse& piece = answer.message;
  // To one who attaches, a gap at the very beginning is only that he came late.
  const bool came_late = offset_ == 0 && role_ != Role::kOpened;
  if (piece.offset() > offset_ && !came_late) {
    tool_.console.Out(fmt::format("\r\n[{} bytes were not shown]\r\n",
                                  piece.offset() - offset_));
  }
  // Less than we have is a gateway that has not heard of it yet.
  if (piece.offset() + piece.data().size() > offset_) {
    if (piece.offset() < offset_) {
      piece.mutable_data()->erase(0, offset_ - piece.offset());
    }
    tool_.console.Out(piece.data());
    offset_ = std::max(offset_, piece.offset()) + piece.data().size();
  }
  session_ = std::move(*piece.mutable_session());
  return piece.end();
}

absl::StatusOr<InputSender::Progress> SessionViewer::Put(
    GatewayApi& api, const InputSender::Part& part) {
  auto request = AttachmentOf<v1::WriteSessionRequest>();
  request.set_offset(part.offset);
  request.set_data(part.bytes);
  if (part.size.known()) {
    request.mutable_size()->set_rows(part.size.rows);
    request.mutable_size()->set_columns(part.size.columns);
  }
  *request.mutable_wait() = wire::ToProto(kTypingWait);
  const auto answer = api.Call<v1::WriteSessionResponse>(
      "WriteSession", request, {.wait = kTypingWait});
  // The other thread attaches anew.
  if (HasCode(answer.status(), "not_attached")) {
    return absl::UnavailableError("not attached");
  }
  if (!answer.ok() && !IsPassing(answer.status()) &&
      !absl::IsCancelled(answer.status()) &&
      !HasCode(answer.status(), "session_taken_over")) {
    tool_.console.Err(
        fmt::format("\r\n[what is typed goes nowhere any more: {}]\r\n",
                    ToStd(answer.status().message())));
  }
  RETURN_IF_ERROR(answer.status());
  return InputSender::Progress{answer->message.accepted(),
                               answer->message.taken(), false};
}

bool SessionViewer::Filter(std::string& bytes) {
  const EscapeKeys::Wish wish = keys_.Take(bytes);
  switch (wish) {
    case EscapeKeys::Wish::kNone:
      return true;
    case EscapeKeys::Wish::kHelp:
      tool_.console.Err(kKeys);
      return true;
    case EscapeKeys::Wish::kDetach:
      wish_ = wish;
      tool_.api.Abort();
      return false;
    case EscapeKeys::Wish::kEnd:
      End();
      return true;
  }
  return true;
}

// What it shows until its end is still read.
void SessionViewer::End() {
  v1::EndSessionRequest request;
  request.set_session_id(session_id_);
  end_wanted_ = true;
  if (const absl::Status said = Say("EndSession", request); !said.ok()) {
    tool_.console.Err(fmt::format(
        "\r\n[{}: {}; ~d leaves]\r\n",
        IsPassing(said) ? "whether it ends is not known here" : "not ended",
        ToStd(said.message())));
  }
}

absl::Status SessionViewer::Say(std::string_view method,
                                const google::protobuf::Message& request) {
  ASSIGN_OR_RETURN(const Line line, tool_.another_line());
  return line.api->Call<v1::Session>(method, request, {.timeout = kWordWait})
      .status();
}

}  // namespace muster::ctl
