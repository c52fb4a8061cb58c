#include "libprotocol/net/certificate_builder.h"

#include <memory>
#include <string_view>

#include "fmt/format.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/status_macros.h"

namespace muster {
namespace {

using NamesPtr =
    std::unique_ptr<GENERAL_NAMES, OpenSslFree<GENERAL_NAMES_free>>;
using NamePtr = std::unique_ptr<GENERAL_NAME, OpenSslFree<GENERAL_NAME_free>>;

bool SetSerial(X509* certificate) {
  std::string bytes = RandomBytes(16);
  bytes[0] = static_cast<char>(bytes[0] & 0x7f);  // Positive.
  bytes[0] = static_cast<char>(bytes[0] | 0x40);  // Always 16 bytes long.
  std::unique_ptr<BIGNUM, OpenSslFree<BN_free>> number(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                static_cast<int>(bytes.size()), nullptr));
  return number &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate));
}

bool SetSubject(X509* certificate, std::string_view common_name) {
  return X509_NAME_add_entry_by_txt(
             X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
             reinterpret_cast<const unsigned char*>(common_name.data()),
             static_cast<int>(common_name.size()), -1, 0) == 1;
}

// `value` is one of our constants: this call also understands references to
// files and must never see foreign text.
bool AddConstant(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool AddText(GENERAL_NAMES* names, int type, std::string_view text) {
  NamePtr name(GENERAL_NAME_new());
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  if (!name || value == nullptr) return false;
  GENERAL_NAME_set0_value(name.get(), type, value);
  return ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) &&
         sk_GENERAL_NAME_push(names, name.get()) > 0 && name.release();
}

absl::Status AddAddress(GENERAL_NAMES* names, const std::string& address) {
  ASN1_OCTET_STRING* bytes = a2i_IPADDRESS(address.c_str());
  if (bytes == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("{:?} is not an IP address", address));
  }
  NamePtr name(GENERAL_NAME_new());
  if (!name) return OpenSslError("adding an address");
  GENERAL_NAME_set0_value(name.get(), GEN_IPADD, bytes);
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) {
    return OpenSslError("adding an address");
  }
  (void)name.release();  // The list owns it.
  return absl::OkStatus();
}

absl::Status AddAlternativeNames(X509* certificate,
                                 const CertificateSpec& spec) {
  NamesPtr names(GENERAL_NAMES_new());
  if (!names) return OpenSslError("making a list of names");
  for (const std::string& uri : spec.uris) {
    if (!AddText(names.get(), GEN_URI, uri))
      return OpenSslError("adding a URI");
  }
  for (const std::string& dns : spec.dns_names) {
    if (!AddText(names.get(), GEN_DNS, dns))
      return OpenSslError("adding a name");
  }
  for (const std::string& address : spec.ip_addresses) {
    RETURN_IF_ERROR(AddAddress(names.get(), address));
  }
  if (sk_GENERAL_NAME_num(names.get()) == 0) return absl::OkStatus();
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0,
                        X509V3_ADD_APPEND) != 1) {
    return OpenSslError("adding alternative names");
  }
  return absl::OkStatus();
}

bool AddPurpose(X509* x, X509* issuer, CertificateUse use) {
  if (use == CertificateUse::kAuthority) {
    return AddConstant(x, issuer, NID_basic_constraints,
                       "critical,CA:TRUE,pathlen:0") &&
           AddConstant(x, issuer, NID_key_usage,
                       "critical,keyCertSign,cRLSign");
  }
  const char* extended =
      use == CertificateUse::kTlsServer ? "serverAuth" : "clientAuth";
  return AddConstant(x, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
         AddConstant(x, issuer, NID_key_usage, "critical,digitalSignature") &&
         AddConstant(x, issuer, NID_ext_key_usage, extended);
}

}  // namespace

absl::StatusOr<CertificatePtr> SignCertificate(const CertificateSpec& spec,
                                               EVP_PKEY* subject_key,
                                               X509* issuer,
                                               EVP_PKEY* issuer_key) {
  CertificatePtr certificate(X509_new());
  X509* x = certificate.get();
  if (x == nullptr) return OpenSslError("making a certificate");
  if (issuer == nullptr) issuer = x;
  if (X509_set_version(x, X509_VERSION_3) != 1 || !SetSerial(x) ||
      !SetSubject(x, spec.common_name) ||
      !ASN1_TIME_set(X509_getm_notBefore(x), absl::ToTimeT(spec.not_before)) ||
      !ASN1_TIME_set(X509_getm_notAfter(x), absl::ToTimeT(spec.not_after)) ||
      X509_set_pubkey(x, subject_key) != 1 ||
      X509_set_issuer_name(x, X509_get_subject_name(issuer)) != 1 ||
      !AddPurpose(x, issuer, spec.use) ||
      !AddConstant(x, issuer, NID_subject_key_identifier, "hash") ||
      !AddConstant(x, issuer, NID_authority_key_identifier, "keyid")) {
    return OpenSslError("filling in a certificate");
  }
  RETURN_IF_ERROR(AddAlternativeNames(x, spec));
  if (X509_sign(x, issuer_key, DigestFor(issuer_key)) <= 0) {
    return OpenSslError("signing a certificate");
  }
  return certificate;
}

}  // namespace muster
