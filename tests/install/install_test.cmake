# SPDX-License-Identifier: Apache-2.0
# Installs corda into a fresh folder, runs it in an empty environment, and builds a program against it.
# Arguments: BUILD (build folder of corda), SOURCE (its source), WORK (scratch folder), GENERATOR, MAKE_PROGRAM.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed with ${status}: ${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix")
run(env -i "${WORK}/prefix/bin/corda" --version)
if(NOT output MATCHES "^corda [0-9]+[.][0-9]+")
  message(FATAL_ERROR "unexpected version: ${output}")
endif()
run("${CMAKE_COMMAND}" -S "${SOURCE}/tests/install/consumer" -B "${WORK}/consumer" -G "${GENERATOR}"
    "-DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}"
    "-DCMAKE_PREFIX_PATH=${WORK}/prefix" -DCMAKE_BUILD_TYPE=Release)
run("${CMAKE_COMMAND}" --build "${WORK}/consumer")
run(env -i "${WORK}/consumer/consumer" "${SOURCE}/tests/golden/tokenizer/small/byte_level_gpt2")
if(NOT output MATCHES "settings, [0-9]+ tokens")
  message(FATAL_ERROR "unexpected output: ${output}")
endif()
file(REMOVE_RECURSE "${WORK}")
