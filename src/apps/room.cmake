# What `hadal version` says about this build.
target_compile_definitions(hadal_apps PRIVATE HADAL_VERSION="${PROJECT_VERSION}" HADAL_BUILD_TYPE="${CMAKE_BUILD_TYPE}")
