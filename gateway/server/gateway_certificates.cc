// The certificates of both ports: read, renewed, presented.

#include <utility>

#include "fmt/format.h"
#include "gateway/server/gateway.h"
#include "gateway/server/listen_address.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"

namespace muster::gateway {
namespace {

constexpr size_t kPemBytesMax = 64 << 10;

}  // namespace

absl::Status Gateway::CheckWebCertificate() const {
  if (config_.web_certificate.empty()) return absl::OkStatus();
  const absl::Status status = GivenWebTls().status();
  return status.ok() ? status : absl::InvalidArgumentError(status.message());
}

absl::StatusOr<Gateway::WebCredential> Gateway::CareForCertificates() {
  MutexLock lock(certificates_mu_);
  RETURN_IF_ERROR(authority_->FleetServer(clock_.Wall()).status());
  if (!web_tls_) return WebCredential();
  ASSIGN_OR_RETURN(WebCredential credential, WebTls());
  credential.order = ++web_credentials_read_;
  return credential;
}

absl::StatusOr<Gateway::WebCredential> Gateway::GivenWebTls() const {
  const auto chain = ReadFile(config_.web_certificate, kPemBytesMax);
  if (!chain.ok()) return AtSetting("web_certificate", chain.status());
  auto key = ReadFile(config_.web_key, kPemBytesMax);
  if (!key.ok()) return AtSetting("web_key", key.status());
  auto tls = MakeTlsContext(*chain, Secret(*std::move(key)));
  if (!tls.ok()) {
    return AtSetting(
        fmt::format("web_certificate: {}", config_.web_certificate),
        tls.status());
  }
  ASSIGN_OR_RETURN(std::string pin, PinOfCertificate(*chain));
  return WebCredential{*std::move(tls), std::move(pin), 0};
}

absl::StatusOr<Gateway::WebCredential> Gateway::WebTls() {
  if (!config_.web_certificate.empty()) return GivenWebTls();
  ASSIGN_OR_RETURN(const ServerCredential credential,
                   authority_->WebServer(
                       WebNamesFor(config_.web_listen, config_.public_address),
                       clock_.Wall()));
  ASSIGN_OR_RETURN(TlsContext tls, MakeTlsContext(credential.certificate_pem,
                                                  credential.key_pem));
  return WebCredential{std::move(tls), credential.pin, 0};
}

void Gateway::Present(WebCredential credential) {
  // What was read before what is presented may come late: it is older.
  if (credential.tls == nullptr || credential.order < presented_) return;
  presented_ = credential.order;
  http_->ReplaceTls(std::move(credential.tls));
  addresses_.web_pin = std::move(credential.pin);
}

void Gateway::RenewCertificates() {
  store_->Offload([this] { return CareForCertificates(); },
                  [this](absl::StatusOr<WebCredential> credential) {
                    if (credential.ok()) {
                      Present(*std::move(credential));
                    } else {
                      Log(kError, "certificates not renewed",
                          {{"error", credential.status()}});
                    }
                  });
}

}  // namespace muster::gateway
