#include "gateway/identity/principals.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "fmt/format.h"
#include "gateway/identity/secret_token.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

constexpr size_t kFileBytesMax = 4096;
constexpr size_t kHashCharacters = 64;

std::string TokenPath(const std::string& folder) {
  return folder + "/admin-token";
}
std::string HashPath(const std::string& folder) {
  return folder + "/admin-token.sha256";
}

absl::StatusOr<std::string> ReadLine(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path, kFileBytesMax));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool IsHash(std::string_view text) {
  return text.size() == kHashCharacters &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// `since`: as the second line has it; empty: there is none.
absl::Status WriteHash(const std::string& folder, const std::string& hash,
                       const std::string& since = "") {
  const std::string second = since.empty() ? "" : since + "\n";
  return WriteFileDurably(HashPath(folder), hash + "\n" + second, 0600);
}

// The second line of a token that no gateway has taken yet.
constexpr std::string_view kNotYet = "not yet";

// What the file of the hash says; a token that is new is taken at `now`.
absl::StatusOr<AdminToken> ReadHash(const std::string& folder, absl::Time now) {
  ASSIGN_OR_RETURN(const std::string text, ReadLine(HashPath(folder)));
  const size_t newline = std::min(text.find('\n'), text.size());
  const std::string_view since =
      std::string_view(text).substr(std::min(newline + 1, text.size()));
  AdminToken token{TokenPath(folder), false, text.substr(0, newline)};
  const bool known =
      since.empty() || since == kNotYet ||
      absl::ParseTime(absl::RFC3339_full, ToAbsl(since), &token.since, nullptr);
  if (!known || !IsHash(token.hash)) {
    return absl::DataLossError(fmt::format(
        "{} does not hold the hash of a token; make a new token with "
        "`muster-gateway reset-admin`",
        HashPath(folder)));
  }
  if (since == kNotYet) {
    token.since = now;
    RETURN_IF_ERROR(WriteHash(
        folder, token.hash,
        absl::FormatTime(absl::RFC3339_full, now, absl::UTCTimeZone())));
  }
  return token;
}

// Unlike a key it is for people, who copy and move it: a mode that they left
// too wide is mended rather than refused. A file that is not there is success.
absl::Status CloseToOthers(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || (info.st_mode & 0077) == 0) {
    return absl::OkStatus();
  }
  if (chmod(path.c_str(), 0600) != 0) {
    return ErrnoStatus(errno, "setting the mode of", path);
  }
  Log(kWarning,
      "the admin token was open to other users and is closed now; if one may "
      "have read it, make another with `muster-gateway reset-admin`",
      {{"path", path}, {"mode", fmt::format("{:04o}", info.st_mode & 07777u)}});
  return absl::OkStatus();
}

// The hash is written last: until then the next start finishes the work.
absl::StatusOr<AdminToken> MakeToken(const std::string& folder,
                                     const std::string& since = "") {
  const Secret token = NewToken(TokenKind::kAccess);
  ASSIGN_OR_RETURN(const std::string hash,
                   HashToken(TokenKind::kAccess, token.Reveal()));
  const Secret line(token.Reveal() + "\n");
  RETURN_IF_ERROR(WriteFileDurably(TokenPath(folder), line.Reveal(), 0600));
  RETURN_IF_ERROR(WriteHash(folder, hash, since));
  return AdminToken{TokenPath(folder), true, hash};
}

}  // namespace

Principal AdminPrincipal() {
  return {"admin-token", DefaultOrg(), v1::ROLE_PLATFORM_ADMIN,
          PrincipalKind::kAdminToken};
}

absl::StatusOr<AdminToken> OpenAdminToken(const std::string& folder,
                                          absl::Time now) {
  RETURN_IF_ERROR(CloseToOthers(TokenPath(folder)));
  if (FileExists(HashPath(folder))) return ReadHash(folder, now);
  if (!FileExists(TokenPath(folder))) return MakeToken(folder);
  // Made by a start that ended before it wrote the hash.
  ASSIGN_OR_RETURN(const std::string text, ReadLine(TokenPath(folder)));
  const Secret token(text);
  const auto hash = HashToken(TokenKind::kAccess, token.Reveal());
  if (!hash.ok()) {
    return absl::DataLossError(fmt::format(
        "{} does not hold a token; make a new one with `muster-gateway "
        "reset-admin`",
        TokenPath(folder)));
  }
  RETURN_IF_ERROR(WriteHash(folder, *hash));
  return AdminToken{TokenPath(folder), true, *hash};
}

absl::StatusOr<AdminToken> ResetAdminToken(const std::string& folder) {
  return MakeToken(folder, std::string(kNotYet));
}

}  // namespace muster::gateway
