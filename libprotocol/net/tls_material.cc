#include "libprotocol/net/tls_material.h"

#include <arpa/inet.h>
#include <openssl/pem.h>

#include <memory>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/openssl_ptr.h"

namespace muster {
namespace {

constexpr size_t kCommonNameMax = 64;  // X.520's upper bound.
constexpr std::string_view kPinPrefix = "sha256//";

std::string_view BytesOf(const ASN1_STRING* s) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
          static_cast<size_t>(ASN1_STRING_length(s))};
}

std::string Hex(const unsigned char* data, size_t size) {
  return absl::BytesToHexString(
      ToAbsl({reinterpret_cast<const char*>(data), size}));
}

absl::StatusOr<std::string> NameText(const X509_NAME* name) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) {
    return OpenSslError("printing a name");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

absl::StatusOr<absl::Time> TimeOf(const ASN1_TIME* time) {
  struct tm fields = {};
  if (ASN1_TIME_to_tm(time, &fields) != 1) {
    return absl::InvalidArgumentError(
        "the certificate has a validity that is no time");
  }
  return absl::FromTM(fields, absl::UTCTimeZone());
}

std::string IpText(std::string_view bytes) {
  char text[INET6_ADDRSTRLEN] = "";
  if (bytes.size() == 4) inet_ntop(AF_INET, bytes.data(), text, sizeof text);
  if (bytes.size() == 16) inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

void ReadAlternativeNames(X509* certificate, CertificateInfo& info) {
  std::unique_ptr<GENERAL_NAMES, OpenSslFree<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(
          certificate, NID_subject_alt_name, nullptr, nullptr)));
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) {
      info.uris.emplace_back(BytesOf(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_DNS) {
      info.dns_names.emplace_back(BytesOf(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      info.ip_addresses.push_back(IpText(BytesOf(name->d.iPAddress)));
    }
  }
}

}  // namespace

absl::Time RenewAt(const CertificateInfo& info) {
  return info.not_before + (info.not_after - info.not_before) * 2 / 3;
}

absl::StatusOr<Secret> GenerateKey() {
  ASSIGN_OR_RETURN(KeyPtr key, NewP256Key());
  ASSIGN_OR_RETURN(std::string pem, WriteKeyPem(key.get()));
  return Secret(std::move(pem));
}

absl::StatusOr<std::string> MakeCsr(const Secret& key_pem,
                                    std::string_view common_name) {
  if (common_name.size() > kCommonNameMax) {
    return absl::InvalidArgumentError(
        fmt::format("common name is {} bytes long, at most {}",
                    common_name.size(), kCommonNameMax));
  }
  ASSIGN_OR_RETURN(KeyPtr key, ReadKeyPem(key_pem.Reveal(), "the private key"));
  CsrPtr csr(X509_REQ_new());
  if (!csr || X509_REQ_set_version(csr.get(), 0) != 1 ||
      X509_NAME_add_entry_by_txt(
          X509_REQ_get_subject_name(csr.get()), "CN", MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(common_name.data()),
          static_cast<int>(common_name.size()), -1, 0) != 1 ||
      X509_REQ_set_pubkey(csr.get(), key.get()) != 1 ||
      X509_REQ_sign(csr.get(), key.get(), DigestFor(key.get())) <= 0) {
    return OpenSslError("making a certificate request");
  }
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509_REQ(bio.get(), csr.get()) != 1) {
    return OpenSslError("writing a certificate request");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

absl::StatusOr<CertificateInfo> ParseCertificate(std::string_view pem) {
  ASSIGN_OR_RETURN(CertificatePtr certificate,
                   ReadCertificatePem(pem, "the certificate"));
  X509* x = certificate.get();
  CertificateInfo info;
  ASSIGN_OR_RETURN(info.subject, NameText(X509_get_subject_name(x)));
  ASSIGN_OR_RETURN(info.issuer, NameText(X509_get_issuer_name(x)));
  ASSIGN_OR_RETURN(info.not_before, TimeOf(X509_get0_notBefore(x)));
  ASSIGN_OR_RETURN(info.not_after, TimeOf(X509_get0_notAfter(x)));
  ReadAlternativeNames(x, info);
  const std::string_view serial = BytesOf(X509_get0_serialNumber(x));
  info.serial_hex = absl::BytesToHexString(ToAbsl(serial));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(x, EVP_sha256(), digest, &size) != 1) {
    return OpenSslError("hashing a certificate");
  }
  info.fingerprint_hex = Hex(digest, size);
  EVP_PKEY* key = X509_get0_pubkey(x);
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        "the certificate has a public key of an unknown kind");
  }
  ASSIGN_OR_RETURN(info.pin, PinOf(key));
  return info;
}

absl::StatusOr<std::string> PinOfCertificate(std::string_view pem) {
  ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(pem));
  return info.pin;
}

absl::StatusOr<std::string> PinOfKey(const Secret& pem) {
  ASSIGN_OR_RETURN(KeyPtr key, ReadKeyPem(pem.Reveal(), "the private key"));
  return PinOf(key.get());
}

absl::StatusOr<std::string> PinOfCsr(std::string_view pem) {
  ASSIGN_OR_RETURN(CsrPtr csr, ReadCsrPem(pem, "csr_pem"));
  EVP_PKEY* key = X509_REQ_get0_pubkey(csr.get());
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        "csr_pem has a public key of an unknown kind");
  }
  return PinOf(key);
}

absl::Status ValidatePin(std::string_view text) {
  std::string digest;
  if (!text.starts_with(kPinPrefix) ||
      !absl::Base64Unescape(ToAbsl(text.substr(kPinPrefix.size())), &digest) ||
      digest.size() != 32) {
    return absl::InvalidArgumentError(fmt::format(
        "pin {:?} is not \"sha256//\" and the base64 of 32 bytes", text));
  }
  return absl::OkStatus();
}

absl::Status CheckKeyMatchesCertificate(const Secret& key_pem,
                                        std::string_view certificate_pem) {
  ASSIGN_OR_RETURN(const std::string key_pin, PinOfKey(key_pem));
  ASSIGN_OR_RETURN(const std::string certificate_pin,
                   PinOfCertificate(certificate_pem));
  if (key_pin == certificate_pin) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("the certificate is for key {}, the private key is {}",
                  certificate_pin, key_pin));
}

}  // namespace muster
