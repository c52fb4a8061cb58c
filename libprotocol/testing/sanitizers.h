#ifndef MUSTER_LIBPROTOCOL_TESTING_SANITIZERS_H_
#define MUSTER_LIBPROTOCOL_TESTING_SANITIZERS_H_

namespace muster {

// Whether this is a build for the thread sanitizer. glibc starts the threads of
// its resolver behind the sanitizer's back, and the first allocation there ends
// the program: a test that looks up a name cannot run.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif
#else
constexpr bool kThreadSanitizer = false;
#endif

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_TESTING_SANITIZERS_H_
