#include "agent/link/grpc_log.h"

#include "fmt/format.h"
#include "grpc/support/log.h"
#include "libprotocol/base/log.h"

namespace muster::agent {

void TakeGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* said) {
    Log(kWarning, "grpc",
        {{"text", said->message},
         {"at", fmt::format("{}:{}", said->file, said->line)}});
  });
}

}  // namespace muster::agent
