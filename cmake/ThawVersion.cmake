# The version and the commit a build was made from, in one small generated file that is rewritten only when they change.

function(thaw_add_version target)
  set(output "${PROJECT_BINARY_DIR}/generated/version.cpp")
  set(write_version ${CMAKE_COMMAND} "-DTHAW_SOURCE=${PROJECT_SOURCE_DIR}" "-DTHAW_OUTPUT=${output}"
    "-DTHAW_VERSION=${PROJECT_VERSION}" -P "${PROJECT_SOURCE_DIR}/cmake/WriteVersion.cmake")
  # Runs at every build: the commit is in .git/HEAD, a loose ref, packed-refs or a worktree's folder, and git knows.
  add_custom_target(thaw_write_version COMMAND ${write_version} BYPRODUCTS "${output}" VERBATIM)
  set_source_files_properties("${output}" PROPERTIES GENERATED ON)
  get_target_property(type ${target} TYPE)
  if(NOT type STREQUAL "INTERFACE_LIBRARY")
    target_sources(${target} PRIVATE "${output}")
    add_dependencies(${target} thaw_write_version)
  endif()
endfunction()
