# Shared by the scripts in tools/; source it.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export ROOT

# die MESSAGE…: one clear line, and the end.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# say MESSAGE…: progress, on stderr so that results can be piped.
say() { printf '%s\n' "$*" >&2; }

# Lets a second clone, and a second build folder, find the first one's objects.
use_ccache() { export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1; }

# need_space DIR MIB WHAT: dies if the file system of DIR has less than MIB free.
need_space() {
  local dir=$1 free
  while [[ ! -d $dir ]]; do dir=$(dirname "$dir"); done
  free=$(df --output=avail -BM "$dir" | tail -1 | tr -dc 0-9)
  ((free >= $2)) || die "disk full: $3 needs $2 MiB at $1, only $free MiB are free"
}

# configure PRESET [CMAKE OPTION…]: quiet unless it fails.
configure() {
  local preset=$1 log
  shift
  mkdir -p "$ROOT/build"
  log=$ROOT/build/configure-$preset.log
  say "Configuring ($preset)"
  (cd "$ROOT" && cmake --preset "$preset" "$@") >"$log" 2>&1 </dev/null && return
  ! grep -qE 'The C(XX)? compiler|CMAKE_C(XX)?_COMPILER' "$log" ||
    die "no C++ compiler that works: apt-get install --reinstall g++ (what cmake says is in $log)"
  grep -A6 -m1 'CMake Error' "$log" >&2 || tail -5 "$log" >&2
  die "cmake could not configure preset $preset; all of it is in $log"
}

# build PRESET [TARGET…]: shows ninja's own progress.
build() {
  local preset=$1
  shift
  say "Building ($preset), $(nproc) jobs"
  # Goes on after an error, so that one run says all of them.
  (cd "$ROOT" && NINJA_STATUS='[%f/%t %es] ' cmake --build --preset "$preset" -j"$(nproc)" \
    ${1:+--target "$@"} -- -k 0) >&2 </dev/null || die "the build of preset $preset failed"
}
