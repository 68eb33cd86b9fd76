# Install rules: headers and list.def files under include/thaw, static libraries, find_package(Thaw).
include(CMakePackageConfigHelpers)

set(thaw_package "${CMAKE_INSTALL_LIBDIR}/cmake/Thaw")
get_property(thaw_libraries GLOBAL PROPERTY THAW_LIBRARIES)
install(TARGETS thaw_flags ${thaw_libraries} EXPORT ThawTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
set_target_properties(thaw_flags PROPERTIES EXPORT_NAME flags)
if(TARGET thaw)
  install(TARGETS thaw RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
if(TARGET thaw_cuda)
  install(TARGETS thaw_cuda LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
install(EXPORT ThawTargets NAMESPACE Thaw:: DESTINATION "${thaw_package}")

foreach(folder core samplers text modalities experiments)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${folder}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/thaw"
    FILES_MATCHING PATTERN "*.h" PATTERN "list.def" PATTERN "core/cuda" EXCLUDE)
endforeach()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/ThawConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/ThawConfig.cmake" INSTALL_DESTINATION "${thaw_package}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ThawConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/ThawConfig.cmake" "${PROJECT_BINARY_DIR}/ThawConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/ThawDependencies.cmake" "${PROJECT_SOURCE_DIR}/cmake/ThawTorch.cmake"
  DESTINATION "${thaw_package}")
