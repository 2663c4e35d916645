# SPDX-License-Identifier: Apache-2.0
# Everything corda links with. Configure with -DCMAKE_PREFIX_PATH=<torch package>/share/cmake.

find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)

if(TARGET yaml-cpp::yaml-cpp)
  set(CORDA_YAML yaml-cpp::yaml-cpp)
else()
  set(CORDA_YAML yaml-cpp)
endif()

# Torch's package wants its own spelling of the architectures, and probes the GPU where it is unset.
if(NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST} AND NOT TORCH_CUDA_ARCH_LIST)
  set(TORCH_CUDA_ARCH_LIST "${CORDA_CUDA_ARCHITECTURES}")
endif()
find_package(Torch REQUIRED)  # enables CUDA, whose standard can only be asked for afterwards
set(CMAKE_CUDA_STANDARD 17)  # the highest that CMake 3.25 knows a flag for
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)

cmake_path(GET TORCH_LIBRARY PARENT_PATH CORDA_TORCH_LIBRARY_DIR)

# The CUDA libraries that torch itself loads (the nvidia/cu13 wheels), when it came from such wheels;
# otherwise the toolkit's. Linking the ones torch uses avoids two versions in one process.
cmake_path(GET CORDA_TORCH_LIBRARY_DIR PARENT_PATH corda_torch_root)
cmake_path(GET corda_torch_root PARENT_PATH corda_site_packages)
find_library(CORDA_CUSOLVER NAMES libcusolver.so.12 PATHS "${corda_site_packages}/nvidia/cu13/lib" NO_DEFAULT_PATH)
if(NOT CORDA_CUSOLVER)
  find_library(CORDA_CUSOLVER NAMES cusolver libcusolver.so.12 PATHS "${CUDAToolkit_LIBRARY_DIR}" REQUIRED)
endif()
cmake_path(GET CORDA_CUSOLVER PARENT_PATH CORDA_CUDA_LIBRARY_DIR)
# Programs look there alone: a toolkit has libraries of the same names, and CMake's own order of all directories that were
# linked from (a cycle, of which it warns) might prefer them.
list(PREPEND CMAKE_INSTALL_RPATH "${CORDA_TORCH_LIBRARY_DIR}" "${CORDA_CUDA_LIBRARY_DIR}")
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
find_library(CORDA_CUBLAS NAMES libcublas.so.13 cublas PATHS "${CORDA_CUDA_LIBRARY_DIR}" "${CUDAToolkit_LIBRARY_DIR}"
             NO_DEFAULT_PATH REQUIRED)
find_library(CORDA_CUDART NAMES libcudart.so.13 cudart PATHS "${CORDA_CUDA_LIBRARY_DIR}" "${CUDAToolkit_LIBRARY_DIR}"
             NO_DEFAULT_PATH REQUIRED)
find_library(CORDA_CUBLASLT NAMES libcublasLt.so.13 cublasLt PATHS "${CORDA_CUDA_LIBRARY_DIR}" "${CUDAToolkit_LIBRARY_DIR}"
             NO_DEFAULT_PATH REQUIRED)
find_path(CORDA_CUSOLVER_INCLUDE cusolverDn.h
          PATHS ${CUDAToolkit_INCLUDE_DIRS} "${corda_site_packages}/nvidia/cu13/include" NO_DEFAULT_PATH REQUIRED)

# Several GPUs: torch's process groups, whose header wants NCCL's (the wheel that torch loads, or the system's).
if(EXISTS "${corda_torch_root}/include/torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp")
  find_path(CORDA_NCCL_INCLUDE nccl.h PATHS "${corda_site_packages}/nvidia/nccl/include" NO_DEFAULT_PATH)
  find_path(CORDA_NCCL_INCLUDE nccl.h)
endif()

# Parquet and Arrow files are read by Arrow's C++ library, as the pyarrow wheel ships it; beside torch's wheel or where
# CORDA_ARROW_ROOT says. Its soname ends in the version, so the file's name does too.
set(CORDA_ARROW_ROOT "${corda_site_packages}/pyarrow" CACHE PATH "The package folder of pyarrow; without it tables are not read")
file(GLOB corda_arrow_libraries LIST_DIRECTORIES OFF "${CORDA_ARROW_ROOT}/libarrow.so.[0-9]*[0-9]" "${CORDA_ARROW_ROOT}/libparquet.so.[0-9]*[0-9]")
list(LENGTH corda_arrow_libraries corda_arrow_count)
if(corda_arrow_count EQUAL 2 AND EXISTS "${CORDA_ARROW_ROOT}/include/parquet/arrow/reader.h")
  set(CORDA_ARROW ON)
  list(APPEND CMAKE_INSTALL_RPATH "${CORDA_ARROW_ROOT}")
else()
  set(CORDA_ARROW OFF)
endif()
find_library(CORDA_ZSTD NAMES zstd)
find_path(CORDA_ZSTD_INCLUDE zstd.h)

if(CORDA_TESTS)
  find_package(GTest REQUIRED)
endif()
