# What is installed where, and the packages made of it. Included after the
# rooms: it only names their programs.
#
#   component  program                         with it
#   gateway    bin/muster-gateway              unit, /etc/muster/gateway.toml
#   agent      bin/muster-agent                unit, /etc/muster/agent.toml
#              lib/muster/muster-exec
#   musterctl  bin/musterctl
#
# tools/dev/package makes them all, and a tar.gz with a static agent.

# All programs side by side in the build tree too, so that it can be run from.
foreach(program muster-gateway muster-agent muster-exec musterctl)
  if(TARGET ${program})
    set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  endif()
endforeach()

function(muster_install program destination component)
  if(TARGET ${program})
    install(TARGETS ${program} DESTINATION ${destination} COMPONENT ${component})
  endif()
endfunction()
muster_install(muster-gateway bin gateway)
muster_install(muster-agent bin agent)
muster_install(muster-exec lib/muster agent)
muster_install(musterctl bin musterctl)

# Units name the programs by their full path, so the prefix is decided when
# configuring; the presets say /usr.
foreach(component gateway agent)
  set(unit ${CMAKE_BINARY_DIR}/packaging/muster-${component}.service)
  configure_file(packaging/${component}/muster-${component}.service.in ${unit} @ONLY)
  install(FILES ${unit} DESTINATION lib/systemd/system COMPONENT ${component})
  install(FILES packaging/${component}/${component}.toml DESTINATION /etc/muster COMPONENT ${component})
endforeach()
foreach(component gateway agent musterctl)
  install(FILES LICENSE RENAME copyright COMPONENT ${component}
    DESTINATION share/doc/$<IF:$<STREQUAL:${component},musterctl>,musterctl,muster-${component}>)
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME muster)
set(CPACK_PACKAGE_VENDOR Muster)
set(CPACK_PACKAGE_CONTACT "The Muster maintainers <maintainers@muster.invalid>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL gateway agent musterctl)
set(CPACK_COMPONENT_GATEWAY_DESCRIPTION "gateway of a Muster fleet
 Knows for every machine whether it can be reached, and runs commands there.")
set(CPACK_COMPONENT_AGENT_DESCRIPTION "agent of a Muster fleet
 Speaks for this machine to a Muster gateway and runs its commands.")
set(CPACK_COMPONENT_MUSTERCTL_DESCRIPTION "command line of a Muster fleet
 Lists machines, runs commands on them and manages tokens.")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_MUSTERCTL_PACKAGE_NAME musterctl)
# Floors: third_party/debian-packages.txt says why.
set(floors "libabsl20220623 (>= 20220623.1-1+deb12u1), libprotobuf32 (>= 3.21.12-3+deb12u1)")
set(CPACK_DEBIAN_GATEWAY_PACKAGE_DEPENDS "passwd, ${floors}, libsqlite3-0 (>= 3.40.1-2+deb12u2)")
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "${floors}")
foreach(component gateway agent)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME muster-${component})
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_STRICT_PERMISSION ON)
  foreach(script conffiles postinst prerm postrm)
    list(APPEND CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/${component}/${script})
  endforeach()
endforeach()
include(CPack)
