# SPDX-License-Identifier: Apache-2.0
# corda_library(core SOURCES a.cpp ... LINK ... PRIVATE_LINK ... [TORCH])
#   Defines the static library corda_core (alias corda::core) with our warnings. TORCH adds LibTorch and
#   the shared precompiled header.
# corda_test(name SOURCES a_test.cpp ... LINK corda::core ... [LABEL unit|cli|gpu|slow] [TIMEOUT seconds] [SHARDS count] [TORCH])
#   Defines one GoogleTest program and registers it with ctest; SHARDS registers so many parts of it, NAME_0 and on, that run beside
#   each other.

function(corda_compile_options target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion;-Wshadow>"
    # False alarms of GCC 12 in std::string.
    "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict;-Wno-stringop-overflow;-Wno-array-bounds;-Wno-stringop-overread>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>"
    "$<$<AND:$<BOOL:${CORDA_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>"
    "$<$<AND:$<BOOL:${CORDA_WERROR}>,$<COMPILE_LANGUAGE:CUDA>>:-Werror=all-warnings>")
  if(CORDA_ASAN)
    # What UBSan finds ends the program, as what ASan finds does.
    target_compile_options(${target} PUBLIC "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined;-fno-sanitize-recover=all;-fno-omit-frame-pointer>")
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
  if(CORDA_TSAN)
    target_compile_options(${target} PUBLIC "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=thread>")
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
endfunction()

# One precompiled header of ATen and autograd, shared by every target that includes them.
function(corda_use_torch target)
  target_link_libraries(${target} PUBLIC torch)
  if(NOT TARGET corda_torch_pch)
    # Not file(WRITE): a newer file at every configure would compile everything again.
    file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/torch_pch.cpp" CONTENT "// Only carries the precompiled header.\n")
    add_library(corda_torch_pch OBJECT "${CMAKE_BINARY_DIR}/torch_pch.cpp")
    target_link_libraries(corda_torch_pch PUBLIC torch)
    corda_compile_options(corda_torch_pch)
    target_precompile_headers(corda_torch_pch PRIVATE <ATen/ATen.h> <ATen/core/grad_mode.h>
                              <string> <vector> <map> <functional>)
  endif()
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    # -fPIE would not match the precompiled header's -fPIC.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
  target_precompile_headers(${target} REUSE_FROM corda_torch_pch)
endfunction()

function(corda_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  set(target corda_${name})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(corda::${name} ALIAS ${target})
  # Torch brings its own CUDA runtime; a second one, linked statically, would not share its state.
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} CUDA_RUNTIME_LIBRARY None)
  target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
                                              "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
                                       PRIVATE "${PROJECT_SOURCE_DIR}/src")
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PUBLIC ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  corda_compile_options(${target})
  if(ARG_TORCH)
    corda_use_torch(${target})
  endif()
  set_property(GLOBAL APPEND PROPERTY CORDA_LIBRARIES ${target})
endfunction()

function(corda_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL;TIMEOUT;SHARDS" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE CORDA_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             CORDA_BINARY="$<TARGET_FILE:corda>")
  corda_compile_options(${name})
  # Tests are compiled once and run for seconds: a quarter to a third of their compile time is saved.
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O1>)
  if(ARG_TORCH)
    corda_use_torch(${name})
  endif()
  set(tests ${name})
  if(ARG_SHARDS)
    set(tests "")
    math(EXPR last "${ARG_SHARDS} - 1")
    foreach(shard RANGE ${last})
      list(APPEND tests ${name}_${shard})
    endforeach()
  endif()
  set(shard 0)
  foreach(test IN LISTS tests)
    add_test(NAME ${test} COMMAND ${name})
    # One thread: the tensors are tiny, and tests run beside each other.
    set(environment OMP_NUM_THREADS=1)
    if(ARG_SHARDS)
      list(APPEND environment GTEST_TOTAL_SHARDS=${ARG_SHARDS} GTEST_SHARD_INDEX=${shard})
    endif()
    if(CORDA_ASAN)
      list(APPEND environment "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/leaks.txt")
    endif()
    set_tests_properties(${test} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${environment}")
    if(ARG_LABEL STREQUAL gpu)
      # Without a GPU every test in it skips with this text; ctest should say so rather than "passed".
      # What matches counts as skipped even where the program fails, so no other skip may match.
      set_tests_properties(${test} PROPERTIES SKIP_REGULAR_EXPRESSION "this machine has no usable GPU")
    endif()
    math(EXPR shard "${shard} + 1")
  endforeach()
endfunction()
