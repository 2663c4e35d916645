# SPDX-License-Identifier: Apache-2.0
# `cmake --install` puts the program, the libraries and a package that find_package(corda) reads.
include(CMakePackageConfigHelpers)

get_property(corda_libraries GLOBAL PROPERTY CORDA_LIBRARIES)
install(TARGETS ${corda_libraries} EXPORT cordaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS corda RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/corda" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT cordaTargets NAMESPACE corda:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/corda)
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/cordaConfig.cmake.in" "${PROJECT_BINARY_DIR}/cordaConfig.cmake"
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/corda)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/cordaConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/cordaConfig.cmake" "${PROJECT_BINARY_DIR}/cordaConfigVersion.cmake"
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/corda)
