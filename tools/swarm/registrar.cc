#include "tools/swarm/registrar.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/wire/json_tree.h"
#include "libprotocol/wire/proto_json.h"
#include "tools/swarm/loopback.h"

namespace muster::swarm {
namespace {

// A gateway that restarts is back within their sum, 15 s.
constexpr int kAttemptsMax = 6;
constexpr absl::Duration kFirstPause = absl::Milliseconds(500);

absl::Status Refusal(const HttpResponse& response) {
  std::string why = fmt::format("HTTP status {}", response.status);
  if (const auto tree = wire::ParseJsonTree(response.body);
      tree.ok() && tree->is_object() && tree->contains("detail") &&
      (*tree)["detail"].is_string()) {
    why += ": " + (*tree)["detail"].get<std::string>();
  }
  const bool may_pass = response.status == 429 || response.status >= 500;
  return absl::Status(may_pass ? absl::StatusCode::kUnavailable
                               : absl::StatusCode::kFailedPrecondition,
                      "the gateway refused a registration: " + why);
}

// Nobody listens and nobody ever did: that is a wrong URL, not a restart.
bool MayPass(const absl::Status& status, bool was_reached) {
  if (FailureClassOf(status) == FailureClass::kRefused) return was_reached;
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

v1::AgentFacts FactsOf(const std::string& name_prefix, int number) {
  v1::AgentFacts facts;
  facts.set_hostname(fmt::format("{}-{:05}", name_prefix, number));
  facts.set_os("muster-swarm");
  facts.set_agent_version(MUSTER_VERSION);
  facts.set_runtime(v1::RUNTIME_KIND_PROCESS);
  return facts;
}

struct Registrar::Worker {
  explicit Worker(const Clock& clock) : loop(clock) {}

  std::unique_ptr<HttpsClient> client;  // Made on the loop, at the first use.
  ThreadEventLoop loop;
};

Registrar::Registrar(const Clock& clock, const IdentityStore& store,
                     Options options)
    : clock_(clock), store_(store), options_(std::move(options)) {
  identities_.resize(static_cast<size_t>(options_.machines));
  for (int i = 0; i < options_.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(clock_));
  }
  for (const auto& worker : workers_) {
    worker->loop.Post([this, &worker = *worker] { Next(worker); });
  }
}

Registrar::~Registrar() {
  Fail(absl::CancelledError("stopped"));
  workers_.clear();
}

Registrar::Progress Registrar::progress() const {
  MutexLock lock(mu_);
  return progress_;
}

std::vector<Identity> Registrar::TakeIdentities() {
  MutexLock lock(mu_);
  return std::move(identities_);
}

void Registrar::Next(Worker& worker) {
  int number;
  {
    MutexLock lock(mu_);
    if (progress_.ended || next_ >= options_.machines) return;
    number = next_++;
  }
  auto kept = store_.Load(number, clock_.Wall());
  if (kept.ok()) {
    Got(number, *std::move(kept), true);
    worker.loop.Post([this, &worker] { Next(worker); });
  } else if (absl::IsNotFound(kept.status())) {
    Try(worker, number, 1);
  } else {
    Fail(kept.status());
  }
}

void Registrar::Try(Worker& worker, int number, int attempt) {
  if (progress().ended) return;
  auto identity = Register(worker, number);
  if (identity.ok()) {
    Got(number, *std::move(identity), false);
    worker.loop.Post([this, &worker] { Next(worker); });
  } else if (attempt < kAttemptsMax &&
             MayPass(identity.status(), progress().registered > 0)) {
    worker.loop.PostAt(
        clock_.Now() + kFirstPause * (1 << (attempt - 1)),
        [this, &worker, number, attempt] { Try(worker, number, attempt + 1); });
  } else {
    Fail(identity.status());
  }
}

absl::StatusOr<Identity> Registrar::Register(Worker& worker, int number) {
  if (options_.token.empty()) {
    return absl::InvalidArgumentError(
        "a registration token is needed: MUSTER_TOKEN or standard input");
  }
  if (!worker.client) {
    ASSIGN_OR_RETURN(worker.client, HttpsClient::Create(options_.gateway));
  }
  ASSIGN_OR_RETURN(Secret key, store_.KeyFor(number));
  v1::RegisterRequest request;
  request.set_token(options_.token.Reveal());
  *request.mutable_facts() = FactsOf(options_.name_prefix, number);
  ASSIGN_OR_RETURN(*request.mutable_csr_pem(),
                   MakeCsr(key, request.facts().hostname()));
  HttpRequest http;
  http.method = "POST";
  http.target = "/api/agents/register";
  http.headers = {{"Content-Type", "application/json"}};
  http.body = wire::ProtoToJson(request);
  ASSIGN_OR_RETURN(const HttpResponse response, worker.client->Fetch(http));
  if (response.status / 100 != 2) return Refusal(response);
  Identity identity{.key_pem = std::move(key), .registration = {}};
  RETURN_IF_ERROR(wire::JsonToProto(response.body, identity.registration,
                                    {.ignore_unknown = true}));
  RETURN_IF_ERROR(store_.Save(number, identity.registration));
  return identity;
}

void Registrar::Got(int number, Identity identity, bool loaded) {
  const std::string& endpoint = identity.registration.endpoint();
  if (!options_.any_endpoint && !IsLoopback(endpoint)) {
    Fail(absl::FailedPreconditionError(fmt::format(
        "the gateway's endpoint {} is not on this machine; if it is yours: "
        "--i-own-this-gateway",
        endpoint)));
    return;
  }
  MutexLock lock(mu_);
  identities_[static_cast<size_t>(number)] = std::move(identity);
  ++(loaded ? progress_.loaded : progress_.registered);
  if (progress_.loaded + progress_.registered == options_.machines &&
      !progress_.ended) {
    progress_.ended = absl::OkStatus();
  }
}

void Registrar::Fail(const absl::Status& why) {
  MutexLock lock(mu_);
  if (!progress_.ended) progress_.ended = why;
}

}  // namespace muster::swarm
