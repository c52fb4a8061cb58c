#include "agent/app/environment.h"

#include <stdlib.h>
#include <string.h>

namespace muster::agent {

Secret TakeSecret(const std::string& name) {
  char* value = getenv(name.c_str());
  if (value == nullptr) return Secret();
  Secret taken{std::string(value)};
  explicit_bzero(value, strlen(value));
  unsetenv(name.c_str());
  return taken;
}

}  // namespace muster::agent
