# SPDX-License-Identifier: Apache-2.0
message(STATUS "")
message(STATUS "corda ${PROJECT_VERSION}")
message(STATUS "  build type    ${CMAKE_BUILD_TYPE}")
message(STATUS "  compiler      ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ccache ${CORDA_CCACHE}")
message(STATUS "  LibTorch      ${Torch_VERSION} in ${CORDA_TORCH_LIBRARY_DIR}")
message(STATUS "  CUDA          ${CUDAToolkit_VERSION}, cuSOLVER ${CORDA_CUSOLVER}, architectures ${TORCH_CUDA_ARCH_LIST}")
message(STATUS "  tests         ${CORDA_TESTS}, warnings as errors ${CORDA_WERROR}, ASan ${CORDA_ASAN}, TSan ${CORDA_TSAN}")
message(STATUS "")
