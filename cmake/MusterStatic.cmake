# MUSTER_STATIC_AGENT: link everything statically, so that one file runs on any
# Linux. The distribution's packages export shared libraries; each has an
# archive beside it, except fmt and spdlog, which are used as headers here.
# mold resolves archives in any order, so no link groups are needed.

if(NOT MOLD)
  message(FATAL_ERROR "MUSTER_STATIC_AGENT needs mold: apt-get install mold")
endif()

# Points the imported target at the archive beside its shared library.
function(muster_use_archive target)
  get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
  if(NOT configurations)
    set(configurations NOTFOUND)
  endif()
  foreach(suffix "" ${configurations})
    string(PREPEND suffix _)
    string(REGEX REPLACE "_$" "" suffix "${suffix}")
    get_target_property(library ${target} IMPORTED_LOCATION${suffix})
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${library}")
    if(library MATCHES "\\.so[.0-9]*$" AND EXISTS "${archive}")
      set_property(TARGET ${target} PROPERTY IMPORTED_LOCATION${suffix} ${archive})
    endif()
  endforeach()
endfunction()

# Makes the imported target a header-only one. It keeps a location, because an
# imported library must have one: libpthread.a is empty since glibc 2.34.
function(muster_use_headers target definition)
  set_target_properties(${target} PROPERTIES
    IMPORTED_LOCATION_NONE /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/libpthread.a
    INTERFACE_COMPILE_DEFINITIONS "${definition}")
endfunction()

get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target ${imported})
  get_target_property(type ${target} TYPE)
  if(type MATCHES "SHARED_LIBRARY|UNKNOWN_LIBRARY")
    muster_use_archive(${target})
  endif()
endforeach()
muster_use_headers(fmt::fmt FMT_HEADER_ONLY=1)
muster_use_headers(spdlog::spdlog SPDLOG_FMT_EXTERNAL)
add_link_options(-static)
