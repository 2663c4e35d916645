#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the build of corda needs on Debian 12 or Ubuntu 24.04, then configures and builds.
# Everything that is not an apt package goes below build/. May be run again at any time; says what it skips.
#
#   scripts/bootstrap.sh [--preset NAME] [--venv DIR] [--no-build]
#   . scripts/bootstrap.sh        # as a library: bootstrap_tools, bootstrap_build PRESET [--target NAME ...] [cmake argument ...]

CORDA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CORDA_VENV=${CORDA_VENV:-$CORDA_ROOT/build/venv}
CORDA_LOG=$CORDA_ROOT/build/bootstrap.log

TORCH_PIN='torch==2.11.0'
NUMPY_PIN='numpy==2.3.5'
ARROW_PIN='pyarrow==22.0.0'  # for its C++ library, which reads Parquet
CMAKE_PIN='cmake==4.1.2'
NINJA_PIN='ninja==1.13.0'
# Without the pin of nvidia-nvvm pip takes one whose output this ptxas rejects.
NVCC_PINS=('cuda-toolkit[nvcc,cccl,crt]==13.0.2' 'nvidia-nvvm==13.0.88')
APT_PACKAGES=(g++ git pkg-config ccache python3 python3-venv libcli11-dev libspdlog-dev libfmt-dev
  nlohmann-json3-dev libgtest-dev libgmock-dev libyaml-cpp-dev libsentencepiece-dev libpcre2-dev
  libutf8proc-dev zlib1g-dev libzstd-dev)

say() { printf '%s\n' "-- $*" >&2; }
die() { printf '%s\n' "error: $*" >&2; exit 1; }

# Runs a command with its output in the log only.
logged() { { printf '\n$ %s\n' "$*"; "$@"; } >>"$CORDA_LOG" 2>&1; }

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

free_gigabytes() { df -Pk "$1" | awk 'NR == 2 {print int($4 / 1048576)}'; }

bootstrap_apt() {
  command -v dpkg-query >/dev/null ||
    die "this is not Debian or Ubuntu; install the libraries listed in scripts/bootstrap.sh by hand, then run cmake --preset cpu."
  local missing=() package
  for package in "${APT_PACKAGES[@]}"; do
    case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
      'install ok installed') ;;
      *) missing+=("$package") ;;
    esac
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "apt packages: all ${#APT_PACKAGES[@]} there, skipped"
    return
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; } ||
      die "these packages are missing and there is neither root nor sudo to install them: ${missing[*]}"
    as_root=(sudo)
  fi
  say "apt packages: installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -q -y)
  if ! logged "${apt[@]}" install --no-install-recommends "${missing[@]}"; then
    logged "${apt[@]}" update ||
      die "apt-get update failed, so these packages cannot be installed (no network?): ${missing[*]}; see $CORDA_LOG"
    logged "${apt[@]}" install --no-install-recommends "${missing[@]}" ||
      die "apt-get could not install ${missing[*]} ($(free_gigabytes /usr) GB free below /usr); see $CORDA_LOG"
  fi
}

# pip_install VENV REQUIREMENT ...
pip_install() {
  local venv=$1
  shift
  mkdir -p "$CORDA_ROOT/build/tmp"
  if ! TMPDIR=$CORDA_ROOT/build/tmp logged "$venv/bin/python" -m pip install --disable-pip-version-check \
      --no-input --progress-bar off --no-cache-dir "$@"; then
    rm -rf "$CORDA_ROOT/build/tmp"
    if tail -n 40 "$CORDA_LOG" | grep -q 'No space left'; then
      die "the disk of $CORDA_ROOT/build is full: $* did not fit; free about 8 GB and run this again."
    fi
    return 1
  fi
  rm -rf "$CORDA_ROOT/build/tmp"
}

venv_has() {  # venv_has VENV NAME==VERSION (read from metadata, local parts such as +cu130 ignored)
  "$1/bin/python" - "${2%%==*}" "${2##*==}" 2>/dev/null <<'PYTHON'
import importlib.metadata as metadata, sys
sys.exit(metadata.version(sys.argv[1]).split("+")[0] != sys.argv[2])
PYTHON
}

bootstrap_torch() {
  local python=$CORDA_VENV/bin/python
  if [ -x "$python" ] && "$python" -c "import torch; assert torch.__version__.split('+')[0] == '${TORCH_PIN##*==}'" 2>/dev/null; then
    say "LibTorch: $TORCH_PIN is in $CORDA_VENV, skipped"
    return
  fi
  if [ ! -x "$python" ] || ! "$python" -m pip --version >/dev/null 2>&1; then
    local system=/usr/bin/python3
    [ -x "$system" ] || system=$(command -v python3) || die "there is no python3."
    "$system" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$system is older than Python 3.11."
    say "virtual environment: making $CORDA_VENV"
    logged "$system" -m venv --clear "$CORDA_VENV" || die "could not make the virtual environment $CORDA_VENV; see $CORDA_LOG"
  fi
  local free
  free=$(free_gigabytes "$CORDA_VENV")
  [ "$free" -ge 9 ] || die "LibTorch needs about 9 GB of disk while it is installed and $CORDA_VENV has $free GB free."
  say "LibTorch: installing $TORCH_PIN (4.6 GB with its CUDA libraries; a few minutes)"
  pip_install "$CORDA_VENV" "$TORCH_PIN" "$NUMPY_PIN" || die "could not install $TORCH_PIN from PyPI (no network?); see $CORDA_LOG"
}

# Parquet and Arrow files; without it everything else works.
bootstrap_arrow() {
  if venv_has "$CORDA_VENV" "$ARROW_PIN"; then
    say "Arrow: $ARROW_PIN is in $CORDA_VENV, skipped"
    return
  fi
  say "Arrow: installing $ARROW_PIN (150 MB)"
  pip_install "$CORDA_VENV" --no-deps "$ARROW_PIN" ||
    say "Arrow: $ARROW_PIN could not be installed; corda is built without Parquet (see $CORDA_LOG)"
}

# tool_or_wheel NAME LEAST_VERSION PIN: sets the variable NAME (in capitals) to a program new enough.
tool_or_wheel() {
  local name=$1 least=$2 pin=$3 program version
  for program in "$(command -v "$name" 2>/dev/null)" "$CORDA_VENV/bin/$name"; do
    [ -x "$program" ] || continue
    version=$("$program" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
    if [ -n "$version" ] && version_at_least "$version" "$least"; then
      say "$name: $program ($version), skipped"
      printf -v "${name^^}" %s "$program"
      return
    fi
  done
  say "$name: installing $pin into $CORDA_VENV"
  pip_install "$CORDA_VENV" "$pin" || die "could not install $pin from PyPI (no network?); see $CORDA_LOG"
  printf -v "${name^^}" %s "$CORDA_VENV/bin/$name"
}

bootstrap_nvcc() {
  local nvcc version site root
  for nvcc in "${CUDACXX:-}" "$(command -v nvcc 2>/dev/null)" /usr/local/cuda/bin/nvcc /usr/local/cuda-13.0/bin/nvcc; do
    [ -n "$nvcc" ] && [ -x "$nvcc" ] || continue
    version=$("$nvcc" --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p')
    if [ "${version%%.*}" = 13 ]; then
      say "CUDA toolkit: $nvcc ($version), skipped"
      CUDA_CMAKE=("-DCMAKE_CUDA_COMPILER=$nvcc" "-DCUDA_TOOLKIT_ROOT_DIR=$(dirname "$(dirname "$nvcc")")")
      export CUDACXX=$nvcc
      return
    fi
    say "CUDA toolkit: $nvcc is version ${version:-unknown}, LibTorch was built with 13.0; not used"
  done
  site=$("$CORDA_VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')
  root=$site/nvidia/cu13
  if [ -x "$root/bin/nvcc" ] && venv_has "$CORDA_VENV" "${NVCC_PINS[1]}"; then
    say "CUDA compiler: $root/bin/nvcc, skipped"
  else
    say "CUDA compiler: no CUDA 13 toolkit on this machine, installing nvcc 13.0 into $CORDA_VENV"
    pip_install "$CORDA_VENV" "${NVCC_PINS[@]}" || die "could not install nvcc from PyPI (no network?); see $CORDA_LOG"
  fi
  # CMake looks for the names that the wheels leave out: lib64, libcudart.so, libcusolver.so ...
  [ -e "$root/lib64" ] || ln -s lib "$root/lib64"
  local library plain
  for library in "$root"/lib/lib*.so.*; do
    plain=${library%%.so.*}.so
    [ -e "$plain" ] || ln -s "$(basename "$library")" "$plain"
  done
  CUDA_CMAKE=("-DCMAKE_CUDA_COMPILER=$root/bin/nvcc" "-DCUDAToolkit_ROOT=$root" "-DCUDA_TOOLKIT_ROOT_DIR=$root")
  export CUDACXX=$root/bin/nvcc CUDAToolkit_ROOT=$root CUDA_HOME=$root CUDA_PATH=$root
}

# Everything the build needs. Sets CMAKE, NINJA, CORDA_TORCH_PREFIX, CUDA_CMAKE.
bootstrap_tools() {
  export PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin"
  mkdir -p "$CORDA_ROOT/build" || die "cannot write to $CORDA_ROOT."
  : >"$CORDA_LOG"
  bootstrap_apt
  bootstrap_torch
  bootstrap_arrow
  tool_or_wheel cmake 3.24 "$CMAKE_PIN"
  tool_or_wheel ninja 1.10 "$NINJA_PIN"
  bootstrap_nvcc
  CORDA_TORCH_PREFIX=$("$CORDA_VENV/bin/python" -c \
    'import importlib.util, os; print(os.path.join(os.path.dirname(importlib.util.find_spec("torch").origin), "share/cmake"))')
}

# A compiler that includes torch's headers wants about 2 GB.
build_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo $((cores < memory ? cores : memory))
}

# bootstrap_build PRESET [--target NAME ...] [cmake argument ...]: configures and builds (all, or some targets); the program is build/PRESET/bin/corda.
bootstrap_build() {
  local preset=$1 start=$SECONDS targets=()
  shift
  while [ "${1:-}" = --target ]; do targets+=("$2"); shift 2; done
  [ ${#targets[@]} -gt 0 ] || targets=(all)
  say "configure: cmake --preset $preset"
  (cd "$CORDA_ROOT" && logged "$CMAKE" --preset "$preset" "-DCMAKE_MAKE_PROGRAM=$NINJA" \
    "-DCMAKE_PREFIX_PATH=$CORDA_TORCH_PREFIX" "${CUDA_CMAKE[@]}" "$@") || {
    tail -n 30 "$CORDA_LOG" >&2
    die "cmake could not configure the preset '$preset'; all of its output is in $CORDA_LOG"
  }
  say "build: $(build_jobs) jobs"
  (cd "$CORDA_ROOT" && "$CMAKE" --build "build/$preset" --target "${targets[@]}" --parallel "$(build_jobs)") >&2 || die "the build failed."
  say "build: done in $((SECONDS - start)) s"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  preset=cpu build=1
  while [ $# -gt 0 ]; do
    case $1 in
      --preset) preset=${2:?--preset wants a name}; shift 2 ;;
      --venv) CORDA_VENV=$(readlink -m "${2:?--venv wants a folder}"); shift 2 ;;
      --no-build) build=0; shift ;;
      -h | --help) sed -n '3,8s/^# \{0,1\}//p' "$0"; exit ;;
      *) echo "error: unknown option $1 (see $0 --help)" >&2; exit 2 ;;
    esac
  done
  bootstrap_tools
  [ "$build" = 0 ] || bootstrap_build "$preset"
fi
