// How a machine comes into the fleet: tokens, and the registration that uses
// them.

#ifndef MUSTER_GATEWAY_ADMIN_ENROLLMENT_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_ENROLLMENT_HANDLERS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "gateway/admin/addresses.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/refusal_log.h"
#include "gateway/fleet/fleet.h"
#include "gateway/identity/certificate_authority.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/clock.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class EnrollmentHandlers {
 public:
  EnrollmentHandlers(const Clock& clock, Fleet& fleet, StoreClient& store,
                     const CertificateAuthority& authority,
                     const Addresses& addresses)
      : clock_(clock),
        fleet_(fleet),
        store_(store),
        authority_(authority),
        addresses_(addresses),
        refusals_(clock, store) {}
  void AddTo(HandlerTable& table);

 private:
  void Register(const Caller&, const v1::RegisterRequest&,
                Reply<v1::RegisterResponse>);
  void CreateToken(const Caller&, const v1::CreateTokenRequest&,
                   Reply<v1::CreateTokenResponse>);
  void Reissue(const Caller&, const v1::ReissueAgentRequest&,
               Reply<v1::CreateTokenResponse>);
  void ListTokens(const Caller&, const v1::ListTokensRequest&,
                  Reply<v1::ListTokensResponse>);
  void RevokeToken(const Caller&, const v1::RevokeTokenRequest&,
                   Reply<v1::Token>);
  void ListRefusals(const Caller&, const v1::ListRefusalsRequest&,
                    Reply<v1::ListRefusalsResponse>);
  // A fresh token of this caller, and the answer that shows its secret.
  struct NewTokenMade {
    TokenRecord token;
    v1::CreateTokenResponse response;
  };
  NewTokenMade MakeToken(const Caller& caller,
                         const v1::CreateTokenRequest& request,
                         std::optional<AgentId> agent) const;
  // What the caller hears when the store does not admit `request`.
  absl::Status Refused(const EnrollmentRequest& request,
                       const absl::Status& status);
  // The store has admitted the machine: certify its key.
  void Certify(const Caller& caller, std::string csr_pem,
               const MachineRecord& machine, Reply<v1::RegisterResponse> reply);

  const Clock& clock_;
  Fleet& fleet_;
  StoreClient& store_;
  const CertificateAuthority& authority_;
  const Addresses& addresses_;
  RefusalLog refusals_;
};

// What to paste on a machine that has the agent installed. The token stands in
// a here-document, so that no process shows it.
// `replace`: whatever identity that machine has now is given up.
std::string JoinScript(const std::string& web_url, const std::string& web_pin,
                       const std::string& secret, bool replace = false);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_ENROLLMENT_HANDLERS_H_
