# HADAL_NVCC: the compiler of CUDA 13 or newer, in PATH or at one of HADAL_NVCC_PLACES; the configure step stops where
# there is none. Also run alone, by its test: cmake -D HADAL_NVCC_PLACES=... -P nvcc.cmake
if(NOT DEFINED HADAL_NVCC_PLACES)
  set(HADAL_NVCC_PLACES /usr/local/cuda/bin ${CMAKE_CURRENT_LIST_DIR}/../.cuda/nvidia/cu13/bin)
endif()
find_program(HADAL_NVCC nvcc PATHS ${HADAL_NVCC_PLACES})
if(NOT HADAL_NVCC)
  message(FATAL_ERROR "HADAL_CUDA is on, but nvcc is neither in PATH nor in /usr/local/cuda/bin. "
                      "'./setup --cuda' brings it; or use the preset 'release'.")
endif()
execute_process(COMMAND ${HADAL_NVCC} --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
string(REGEX MATCH "release ([0-9]+)" nvcc_release "${nvcc_version}")
if(NOT nvcc_release OR CMAKE_MATCH_1 LESS 13)
  message(FATAL_ERROR "HADAL_CUDA is on, but ${HADAL_NVCC} is no CUDA 13 or newer (it says: ${nvcc_release}). "
                      "'./setup --cuda' brings one; or use the preset 'release'.")
endif()
