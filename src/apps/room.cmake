# What `hadal version` says about this build.
target_compile_definitions(hadal_apps PRIVATE HADAL_VERSION="${PROJECT_VERSION}" HADAL_BUILD_TYPE="${CMAKE_BUILD_TYPE}")

# The demonstration's configuration travels inside the binary.
file(READ ${CMAKE_SOURCE_DIR}/configs/demo.toml HADAL_DEMO_CONFIG)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/configs/demo.toml)
configure_file(${CMAKE_SOURCE_DIR}/src/apps/demo_config.h.in ${CMAKE_BINARY_DIR}/generated/apps/demo_config.h @ONLY)
target_include_directories(hadal_apps PRIVATE ${CMAKE_BINARY_DIR}/generated)
