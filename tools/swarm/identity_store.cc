#include "tools/swarm/identity_store.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/wire/proto_json.h"

namespace muster::swarm {
namespace {

constexpr size_t kFileBytesMax = 64 << 10;

absl::Status CheckServer(const std::string& folder, const std::string& server) {
  const std::string path = folder + "/server";
  const auto known = ReadFile(path, kFileBytesMax);
  if (absl::IsNotFound(known.status())) {
    return WriteFileDurably(path, server, 0600);
  }
  RETURN_IF_ERROR(known.status());
  if (*known == server) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("--state: the machines in {} are registered with {}, not {}",
                  folder, *known, server));
}

}  // namespace

absl::StatusOr<IdentityStore> IdentityStore::Open(const std::string& folder,
                                                  const std::string& server) {
  if (folder.empty()) return IdentityStore("", Fd());
  RETURN_IF_ERROR(MakeFolder(folder, 0700));
  const std::string path = folder + "/lock";
  Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, "opening", path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError(
        fmt::format("--state: another swarm uses {}", folder));
  }
  RETURN_IF_ERROR(CheckServer(folder, server));
  return IdentityStore(folder, std::move(lock));
}

std::string IdentityStore::File(int number, const char* ending) const {
  return fmt::format("{}/{:05}.{}", folder_, number, ending);
}

absl::StatusOr<Identity> IdentityStore::Load(int number, absl::Time now) const {
  if (folder_.empty()) return absl::NotFoundError("nothing is kept");
  const std::string path = File(number, "json");
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path, kFileBytesMax));
  ASSIGN_OR_RETURN(std::string key,
                   ReadFile(File(number, "key"), kFileBytesMax));
  Identity identity{.key_pem = Secret(std::move(key)), .registration = {}};
  v1::RegisterResponse& answer = identity.registration;
  absl::Status status =
      wire::JsonToProto(json, answer, {.ignore_unknown = true});
  if (status.ok()) {
    status =
        CheckKeyMatchesCertificate(identity.key_pem, answer.certificate_pem());
  }
  if (!status.ok()) {
    return absl::DataLossError(
        fmt::format("{}: {}", path, ToStd(status.message())));
  }
  ASSIGN_OR_RETURN(const CertificateInfo info,
                   ParseCertificate(answer.certificate_pem()));
  if (now >= info.not_after) return absl::NotFoundError("expired");
  return identity;
}

absl::StatusOr<Secret> IdentityStore::KeyFor(int number) const {
  if (folder_.empty()) return GenerateKey();
  const std::string path = File(number, "key");
  auto saved = ReadFile(path, kFileBytesMax);
  if (saved.ok()) return Secret(*std::move(saved));
  if (!absl::IsNotFound(saved.status())) return saved.status();
  ASSIGN_OR_RETURN(Secret key, GenerateKey());
  RETURN_IF_ERROR(WriteFileDurably(path, key.Reveal(), 0600));
  return key;
}

absl::Status IdentityStore::Save(int number,
                                 const v1::RegisterResponse& answer) const {
  if (folder_.empty()) return absl::OkStatus();
  return WriteFileDurably(File(number, "json"), wire::ProtoToJson(answer),
                          0600);
}

}  // namespace muster::swarm
