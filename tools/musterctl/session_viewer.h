// One session on this terminal.

#ifndef MUSTER_TOOLS_MUSTERCTL_SESSION_VIEWER_H_
#define MUSTER_TOOLS_MUSTERCTL_SESSION_VIEWER_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/mutex.h"
#include "muster/v1/session.pb.h"
#include "tools/musterctl/input_sender.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// What a line that begins with '~' means, as ssh has it.
class EscapeKeys {
 public:
  enum class Wish { kNone, kDetach, kEnd, kHelp };
  // Takes what was typed; what is not for us remains in `bytes`.
  Wish Take(std::string& bytes);

 private:
  bool at_line_start_ = true;
  bool tilde_ = false;
};

// SessionViewer shows a session until it ends, or the person leaves. One use.
class SessionViewer {
 public:
  enum class Role {
    kOpened,    // This program began it: nothing of it may be missed unsaid.
    kAttaches,  // Comes later.
    kLooks,     // Types nothing.
  };
  SessionViewer(Tool& tool, std::string session_id, Role role)
      : tool_(tool), session_id_(std::move(session_id)), role_(role) {}

  // True once the person has asked here for its end.
  bool end_wanted() const { return end_wanted_; }

  // How it ended. Absent: it was left, and lives on. Errors, after trying for
  // kGiveUpAfter if they may pass, are those of the calls. `input`: nullptr for
  // one who only looks.
  absl::StatusOr<std::optional<v1::Session>> Watch(LiveInput* input);

 private:
  absl::Status Attach() ABSL_LOCKS_EXCLUDED(mu_);
  // Reads while it is typed.
  absl::StatusOr<v1::Session> TypeToEnd(LiveInput& input);
  absl::StatusOr<v1::Session> ReadToEnd();
  // Shows the next piece; true at the end.
  absl::StatusOr<bool> ReadOn();
  absl::StatusOr<InputSender::Progress> Put(GatewayApi& api,
                                            const InputSender::Part& part)
      ABSL_LOCKS_EXCLUDED(mu_);
  bool Filter(std::string& bytes);
  void End();
  // On a line of its own.
  absl::Status Say(std::string_view method,
                   const google::protobuf::Message& request);
  // A request that says which session, and that it is we who are attached.
  template <typename Request>
  Request AttachmentOf() ABSL_LOCKS_EXCLUDED(mu_) {
    Request request;
    request.set_session_id(session_id_);
    MutexLock lock(mu_);
    request.set_attachment_id(attachment_id_);
    return request;
  }

  Tool& tool_;
  const std::string session_id_;
  const Role role_;
  uint64_t offset_ = 0;
  uint64_t input_offset_ = 0;
  v1::Session session_;
  EscapeKeys keys_;  // Touched by Filter() only.
  std::atomic<bool> end_wanted_ = false;
  std::atomic<EscapeKeys::Wish> wish_ = EscapeKeys::Wish::kNone;
  Mutex mu_;
  std::string attachment_id_ ABSL_GUARDED_BY(mu_);
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_SESSION_VIEWER_H_
