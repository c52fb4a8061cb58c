# One line per room:
#   muster_library(NAME SOURCES… DEPS…)         a static library muster_NAME
#   muster_test(NAME LABEL unit SOURCES… DEPS…)  one test program, each case a ctest entry
# An integration test that does without gRPC says NO_GRPC: the thread sanitizer
# runs it too. (Nobody instruments the distribution's gRPC, so it cannot see
# what happens there.)

# clang-tidy spends its time in headers of others: a room is looked at as one
# translation unit, which takes a fifth of the time. Product code only: test
# programs repeat names, and their mistakes show when they run.
function(muster_tidy target)
  if(MUSTER_TIDY)
    set_target_properties(${target} PROPERTIES
      UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0 CXX_CLANG_TIDY "${CLANG_TIDY};--quiet")
  endif()
endfunction()

function(muster_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(muster_${name} STATIC ${A_SOURCES})
  target_link_libraries(muster_${name} PUBLIC ${A_DEPS})
  if(MUSTER_UNITY)
    # Several, so that two processors share a large room.
    set_target_properties(muster_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
    # GCC takes a file that is included for a header.
    target_compile_options(muster_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
  muster_tidy(muster_${name})
endfunction()

# Sanitized programs take several times as long.
function(muster_scale_timeout name)
  if(MUSTER_SANITIZE)
    math(EXPR scaled "${${name}} * 4")
    set(${name} ${scaled} PARENT_SCOPE)
  endif()
endfunction()

add_custom_target(no_grpc_tests)

function(muster_test name)
  if(NOT MUSTER_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "NO_GRPC" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 60)
  endif()
  muster_scale_timeout(A_TIMEOUT)
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_DEPS} GTest::gmock GTest::gtest_main)
  if(A_LABEL STREQUAL unit OR A_NO_GRPC)
    add_dependencies(no_grpc_tests ${name})
  elseif(MUSTER_SANITIZE MATCHES thread)
    return()
  endif()
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${A_LABEL} TIMEOUT ${A_TIMEOUT})
endfunction()
