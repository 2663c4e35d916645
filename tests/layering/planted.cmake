# SPDX-License-Identifier: Apache-2.0
# The check of the layers finds each kind of violation where one is planted, and none in a sound tree.
# Arguments: SCRATCH (a folder to write), LAYERS (the list).
cmake_minimum_required(VERSION 3.24)

# run(EXPECTED PATH TEXT): a tree of two sound files and one more.
function(run expected path text)
  file(REMOVE_RECURSE "${SCRATCH}")
  file(WRITE "${SCRATCH}/src/core/a.cpp" "#include \"corda/core/error.h\"\n#include <string>\n")
  file(WRITE "${SCRATCH}/include/corda/io/b.h" "#include \"corda/core/file.h\"\n#include <ATen/ATen.h>\n")
  file(WRITE "${SCRATCH}/${path}" "// first\n${text}\n")
  execute_process(COMMAND "${CMAKE_COMMAND}" "-DROOT=${SCRATCH}" "-DLAYERS=${LAYERS}" -DLEAST=3 -P "${CMAKE_CURRENT_LIST_DIR}/check.cmake"
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  if(expected STREQUAL "")
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "a sound file was refused: ${path}: ${text}\n${output}")
    endif()
  else()
    string(FIND "${output}" "${expected}" at)
    if(result EQUAL 0 OR at LESS 0)
      message(FATAL_ERROR "not found: ${path}: ${text}\nexpected: ${expected}\nfound: ${output}")
    endif()
  endif()
endfunction()

run("" "src/train/c.cpp" "#include \"corda/model/model.h\"\n#include \"own.h\"\n#include \"kernels/tensors.h\"")
run("" "tools/corda/c.cpp" "#include <CLI/CLI.hpp>\n#include \"corda/train/train.h\"")
run("src/core/c.cpp includes corda/io/tensor.h: 'core' does not stand above 'io'" "src/core/c.cpp" "#include \"corda/io/tensor.h\"")
run("src/io/c.cu includes jinja/text.h: 'io' does not stand above 'jinja'" "src/io/c.cu" "  #  include \"jinja/text.h\"")
run("'train' does not stand above 'eval'" "include/corda/train/c.h" "#include \"corda/eval/eval.h\"")
run("'model' does not stand above 'data'" "src/model/cuda/c.cuh" "#include \"data/formats.h\"")
run("it works on tensors by name" "src/merge/c.cpp" "#include \"corda/model/model.h\"")
run("it compiles without torch" "src/data/c.cpp" "#include <torch/torch.h>")
run("a public header shows no type" "include/corda/core/c.h" "#include <nlohmann/json.hpp>")
run("the folder 'novel' stands on no line" "src/novel/c.cpp" "#include \"corda/core/error.h\"")
run("only 2 files" "src/core/a.cpp" "")
file(REMOVE_RECURSE "${SCRATCH}")
