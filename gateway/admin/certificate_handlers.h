// A new certificate for the key that speaks for a machine, before or after the
// old one has ended.

#ifndef MUSTER_GATEWAY_ADMIN_CERTIFICATE_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_CERTIFICATE_HANDLERS_H_

#include <map>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/admin/addresses.h"
#include "gateway/admin/handlers.h"
#include "gateway/fleet/fleet.h"
#include "gateway/identity/certificate_authority.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/token_bucket.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class CertificateHandlers {
 public:
  CertificateHandlers(const Clock& clock, Fleet& fleet, StoreClient& store,
                      const CertificateAuthority& authority,
                      const Addresses& addresses)
      : clock_(clock),
        fleet_(fleet),
        store_(store),
        authority_(authority),
        addresses_(addresses) {}
  void AddTo(HandlerTable& table);

  using Issued =
      absl::AnyInvocable<void(absl::StatusOr<v1::CertificateIssued>)>;
  // For the machine that has a link made with the key of this pin; `csr_pem`
  // must be of the same key. `issued` runs on the fleet loop. Errors as
  // CertificateAuthority::IssueAgent(), InvalidArgument for another key, and
  // why the key does not speak for the machine.
  void RenewOnLink(const OrgId& org, const AgentId& agent,
                   const std::string& key_pin, std::string csr_pem,
                   Issued issued);

 private:
  // For each machine, on the web port: each costs a signature, and a
  // certificate lasts for weeks.
  static constexpr double kPerSecond = 0.1;
  static constexpr double kBurst = 5;
  // Machines that asked; with more, those of whom it does not matter any more
  // are forgotten.
  static constexpr size_t kRememberedMax = 10'000;

  void Renew(const Caller&, const v1::RenewRequest&, Reply<v1::RenewResponse>);
  // Stores the record of the call, then answers.
  void Record(const Caller& caller, const OrgId& org, const AgentId& agent,
              v1::RenewResponse response, Reply<v1::RenewResponse> reply);
  bool MayAsk(const AgentId& agent);
  void Issue(const OrgId& org, const AgentId& agent, const std::string& key_pin,
             std::string csr_pem, Issued issued);

  const Clock& clock_;
  Fleet& fleet_;
  StoreClient& store_;
  const CertificateAuthority& authority_;
  const Addresses& addresses_;

  std::map<AgentId, TokenBucket> asked_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_CERTIFICATE_HANDLERS_H_
