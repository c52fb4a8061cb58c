#include "gateway/identity/certificate_authority.h"

#include <openssl/ec.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fmt/format.h"
#include "gateway/identity/peer_identity.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/certificate_builder.h"
#include "libprotocol/net/dial.h"
#include "libprotocol/net/openssl_ptr.h"
#include "libprotocol/net/tls_material.h"

namespace muster::gateway {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kFolderMode = 0700;
constexpr size_t kCommonNameMax = 64;
constexpr std::string_view kAuthorityName = "Muster fleet CA";

// A key or certificate on disk that is not what it should be.
absl::Status Damaged(const std::string& path, const absl::Status& why) {
  return absl::DataLossError(
      fmt::format("{} is damaged: {}; restore it from a backup", path,
                  ToStd(why.message())));
}

absl::Status CheckPrivate(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return ErrnoStatus(errno, "reading", path);
  if ((st.st_mode & 0077) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} is open to other users (mode {:04o}): chmod go= {}", path,
                  st.st_mode & 07777u, path));
}

absl::StatusOr<KeyPtr> LoadKey(const std::string& path) {
  RETURN_IF_ERROR(CheckPrivate(path));
  auto pem = ReadFile(path, kKeyPemBytesMax);
  if (!pem.ok()) return pem.status();
  const Secret text(*std::move(pem));
  auto key = ReadKeyPem(text.Reveal(), "its content");
  if (!key.ok()) return Damaged(path, key.status());
  return key;
}

// The key in `path`; a new one is durable before it is returned.
absl::StatusOr<KeyPtr> LoadOrCreateKey(const std::string& path) {
  if (FileExists(path)) return LoadKey(path);
  ASSIGN_OR_RETURN(KeyPtr key, NewP256Key());
  ASSIGN_OR_RETURN(std::string pem, WriteKeyPem(key.get()));
  const Secret text(std::move(pem));
  RETURN_IF_ERROR(WriteFileDurably(path, text.Reveal(), kFileMode));
  return key;
}

absl::StatusOr<CertificatePtr> LoadCertificate(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string pem,
                   ReadFile(path, kCertificatePemBytesMax));
  auto certificate = ReadCertificatePem(pem, "its content");
  if (!certificate.ok()) return Damaged(path, certificate.status());
  return certificate;
}

// A certificate that ends after the one who signs it would lie.
CertificateSpec SpecFor(CertificateUse use, absl::Time now, absl::Duration life,
                        absl::Time end) {
  CertificateSpec spec;
  spec.use = use;
  spec.not_before = now - kBackdating;
  spec.not_after = std::min(now + life, end);
  return spec;
}

absl::Status CheckAgentKey(EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519) return absl::OkStatus();
  char group[64] = "";
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
      EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) == 1 &&
      std::string_view(group) == SN_X9_62_prime256v1) {
    return absl::OkStatus();
  }
  const char* kind = EVP_PKEY_get0_type_name(key);
  return absl::InvalidArgumentError(
      fmt::format("csr_pem has a {}{}{} key of {} bits; accepted are P-256 and "
                  "Ed25519",
                  kind == nullptr ? "foreign" : kind, *group ? " " : "", group,
                  EVP_PKEY_get_bits(key)));
}

// Bare name, leftmost label possibly a wildcard: what a browser compares.
absl::Status CheckWebNames(const WebNames& names) {
  if (names.dns_names.empty() && names.ip_addresses.empty()) {
    return absl::InvalidArgumentError(
        "the web port's certificate needs a name or an address");
  }
  if (names.dns_names.size() > kWebNamesMax ||
      names.ip_addresses.size() > kWebNamesMax) {
    return absl::InvalidArgumentError(fmt::format(
        "the web port's certificate has more than {} names", kWebNamesMax));
  }
  for (const std::string& name : names.dns_names) {
    std::string_view bare = name;
    if (bare.starts_with("*.")) bare.remove_prefix(2);
    RETURN_IF_ERROR(ValidateHost(bare));
  }
  for (const std::string& address : names.ip_addresses) {
    if (!IsIpAddress(address)) {
      return absl::InvalidArgumentError(
          fmt::format("{:?} is not an IP address", address));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> Sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

// Our own one-line form of an address, as ParseCertificate() shows it.
std::vector<std::string> Canonical(const std::vector<std::string>& addresses) {
  std::vector<std::string> result;
  result.reserve(addresses.size());
  for (const std::string& address : addresses) {
    result.push_back(CanonicalIp(address));
  }
  return result;
}

}  // namespace

class CertificateAuthority::Impl {
 public:
  explicit Impl(std::string folder) : folder_(std::move(folder)) {}

  absl::Status Open(absl::Time now) {
    RETURN_IF_ERROR(MakeFolder(folder_, kFolderMode));
    RETURN_IF_ERROR(CheckPrivate(folder_));
    const bool has_key = FileExists(Path("ca.key"));
    const bool has_certificate = FileExists(Path("ca.pem"));
    if (has_certificate && !has_key) {
      return absl::FailedPreconditionError(
          fmt::format("{} is missing beside ca.pem; restore it from a backup",
                      Path("ca.key")));
    }
    ASSIGN_OR_RETURN(key_, LoadOrCreateKey(Path("ca.key")));
    if (!has_certificate) RETURN_IF_ERROR(CreateAuthority(now));
    ASSIGN_OR_RETURN(certificate_, LoadCertificate(Path("ca.pem")));
    return CheckAuthority(now);
  }

  const std::string& ca_pem() const { return ca_pem_; }

  static absl::StatusOr<CsrPtr> ReadAgentCsr(std::string_view csr_pem) {
    ASSIGN_OR_RETURN(CsrPtr csr, ReadCsrPem(csr_pem, "csr_pem"));
    EVP_PKEY* key = X509_REQ_get0_pubkey(csr.get());
    if (key == nullptr) {
      return absl::InvalidArgumentError(
          "csr_pem has a public key of an unknown kind");
    }
    RETURN_IF_ERROR(CheckAgentKey(key));
    if (X509_REQ_verify(csr.get(), key) != 1) {
      return absl::InvalidArgumentError(fmt::format(
          "csr_pem is not signed by its own key: {}", TakeOpenSslReason()));
    }
    return csr;
  }

  absl::StatusOr<std::string> IssueAgent(std::string_view csr_pem,
                                         const OrgId& org, const AgentId& agent,
                                         absl::Time now) const {
    ASSIGN_OR_RETURN(std::string uri, AgentUri(org, agent));
    ASSIGN_OR_RETURN(CsrPtr csr, ReadAgentCsr(csr_pem));
    EVP_PKEY* key = X509_REQ_get0_pubkey(csr.get());
    CertificateSpec spec =
        SpecFor(CertificateUse::kTlsClient, now, kAgentLife, end_);
    spec.common_name = agent.str();
    spec.uris = {std::move(uri)};
    return Sign(spec, key);
  }

  absl::StatusOr<AgentCertificate> ReadAgent(std::string_view pem) const {
    ASSIGN_OR_RETURN(CertificatePtr x,
                     ReadCertificatePem(pem, "certificate_pem"));
    const bool ours = X509_verify(x.get(), key_.get()) == 1 &&
                      X509_check_purpose(x.get(), X509_PURPOSE_SSL_CLIENT,
                                         /*ca=*/0) == 1;
    (void)TakeOpenSslReason();
    if (!ours) {
      return absl::UnauthenticatedError(
          "certificate_pem is no agent's certificate of this gateway");
    }
    ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(pem));
    ASSIGN_OR_RETURN(PeerIdentity identity, IdentifyPeer(info.uris));
    return AgentCertificate{std::move(identity), info.pin, info.not_after};
  }

  absl::StatusOr<ServerCredential> Server(const std::string& name,
                                          const WebNames& names,
                                          absl::Time now) {
    const std::string path = Path(name + ".pem");
    ASSIGN_OR_RETURN(KeyPtr key, LoadOrCreateKey(Path(name + ".key")));
    if (FileExists(path)) {
      ASSIGN_OR_RETURN(CertificatePtr old, LoadCertificate(path));
      if (StillGood(old.get(), key.get(), names, now)) {
        ASSIGN_OR_RETURN(std::string pem, WriteCertificatePem(old.get()));
        return Credential(std::move(pem), key.get());
      }
    }
    CertificateSpec spec =
        SpecFor(CertificateUse::kTlsServer, now, kServerLife, end_);
    const std::string& first = names.dns_names.empty()
                                   ? names.ip_addresses.front()
                                   : names.dns_names.front();
    spec.common_name = first.substr(0, kCommonNameMax);
    spec.dns_names = names.dns_names;
    spec.ip_addresses = names.ip_addresses;
    ASSIGN_OR_RETURN(std::string pem, Sign(spec, key.get()));
    RETURN_IF_ERROR(WriteFileDurably(path, pem, kFileMode));
    return Credential(std::move(pem), key.get());
  }

 private:
  std::string Path(std::string_view name) const {
    return fmt::format("{}/{}", folder_, name);
  }

  absl::Status CreateAuthority(absl::Time now) {
    CertificateSpec spec = SpecFor(CertificateUse::kAuthority, now,
                                   kAuthorityLife, absl::InfiniteFuture());
    spec.common_name = kAuthorityName;
    ASSIGN_OR_RETURN(CertificatePtr ca,
                     SignCertificate(spec, key_.get(), nullptr, key_.get()));
    ASSIGN_OR_RETURN(const std::string pem, WriteCertificatePem(ca.get()));
    return WriteFileDurably(Path("ca.pem"), pem, kFileMode);
  }

  absl::Status CheckAuthority(absl::Time now) {
    X509* x = certificate_.get();
    if (X509_check_private_key(x, key_.get()) != 1) {
      (void)TakeOpenSslReason();
      return absl::FailedPreconditionError(fmt::format(
          "{} belongs to another key than {}", Path("ca.pem"), Path("ca.key")));
    }
    if (X509_check_ca(x) != 1) {
      return absl::FailedPreconditionError(
          fmt::format("{} is no certificate authority", Path("ca.pem")));
    }
    ASSIGN_OR_RETURN(ca_pem_, WriteCertificatePem(x));
    ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(ca_pem_));
    end_ = info.not_after;
    if (now < end_) return absl::OkStatus();
    return absl::FailedPreconditionError(
        fmt::format("{} ended at {}", Path("ca.pem"), end_));
  }

  absl::StatusOr<std::string> Sign(const CertificateSpec& spec,
                                   EVP_PKEY* key) const {
    if (spec.not_after <= spec.not_before) {
      return absl::FailedPreconditionError(
          fmt::format("the authority ended at {}", end_));
    }
    ASSIGN_OR_RETURN(
        CertificatePtr leaf,
        SignCertificate(spec, key, certificate_.get(), key_.get()));
    return WriteCertificatePem(leaf.get());
  }

  // False for whatever is better made anew: due, of another key or CA, for
  // other names, or from a time that has not come.
  bool StillGood(X509* x, EVP_PKEY* key, const WebNames& names,
                 absl::Time now) const {
    const bool ours =
        X509_check_private_key(x, key) == 1 && X509_verify(x, key_.get()) == 1;
    (void)TakeOpenSslReason();
    if (!ours) return false;
    const auto pem = WriteCertificatePem(x);
    if (!pem.ok()) return false;
    const auto info = ParseCertificate(*pem);
    return info.ok() && info->not_before <= now && now < RenewAt(*info) &&
           Sorted(info->dns_names) == Sorted(names.dns_names) &&
           Sorted(info->ip_addresses) == Sorted(Canonical(names.ip_addresses));
  }

  absl::StatusOr<ServerCredential> Credential(std::string pem,
                                              EVP_PKEY* key) const {
    ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(pem));
    ASSIGN_OR_RETURN(std::string key_pem, WriteKeyPem(key));
    return ServerCredential{std::move(pem), Secret(std::move(key_pem)),
                            info.pin, RenewAt(info)};
  }

  // Constant after Open().
  const std::string folder_;
  KeyPtr key_;
  CertificatePtr certificate_;
  std::string ca_pem_;
  absl::Time end_;
};

CertificateAuthority::CertificateAuthority(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
CertificateAuthority::~CertificateAuthority() = default;

absl::StatusOr<std::unique_ptr<CertificateAuthority>>
CertificateAuthority::OpenOrCreate(const std::string& folder, absl::Time now) {
  auto impl = std::make_unique<Impl>(folder);
  RETURN_IF_ERROR(impl->Open(now));
  return std::unique_ptr<CertificateAuthority>(
      new CertificateAuthority(std::move(impl)));
}

const std::string& CertificateAuthority::ca_pem() const {
  return impl_->ca_pem();
}

absl::StatusOr<std::string> CertificateAuthority::CheckCsr(
    std::string_view csr_pem) {
  RETURN_IF_ERROR(Impl::ReadAgentCsr(csr_pem).status());
  return PinOfCsr(csr_pem);
}

absl::StatusOr<std::string> CertificateAuthority::IssueAgent(
    std::string_view csr_pem, const OrgId& org, const AgentId& agent,
    absl::Time now) const {
  return impl_->IssueAgent(csr_pem, org, agent, now);
}

absl::StatusOr<AgentCertificate> CertificateAuthority::ReadAgent(
    std::string_view certificate_pem) const {
  return impl_->ReadAgent(certificate_pem);
}

absl::StatusOr<ServerCredential> CertificateAuthority::FleetServer(
    absl::Time now) {
  return impl_->Server("fleet", {{std::string(kFleetServerName)}, {}}, now);
}

absl::StatusOr<ServerCredential> CertificateAuthority::WebServer(
    const WebNames& names, absl::Time now) {
  RETURN_IF_ERROR(CheckWebNames(names));
  return impl_->Server("web", names, now);
}

}  // namespace muster::gateway
