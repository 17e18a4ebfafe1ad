#!/bin/sh
# Usage: compile_times.sh [COMPILER]
# How long the quick start takes to compile at -O2 (aim: 6 s) and the library on two cores (aim: 4 min), in CPU time and by
# the clock. No test: a busy machine takes longer. include_cost_test.py counts what does not depend on the machine.
set -eu
cxx=${1:-${CXX:-g++}}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
export CCACHE_DISABLE=1

timed() { # WHAT COMMAND...
    python3 - "$@" <<'EOF'
import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{sys.argv[1]:<34} {used.ru_utime + used.ru_stime:7.1f} s CPU {time.monotonic() - start:7.1f} s by the clock")
EOF
}

flags='-std=c++20 -O2 -DASIO_STANDALONE -DASIO_SEPARATE_COMPILATION -DASIO_NO_DEPRECATED -DASIO_RECYCLING_ALLOCATOR_CACHE_SIZE=8'
case $("$cxx" --version) in *clang*) flags="$flags -DASIO_HAS_CO_AWAIT" ;; esac
echo "$("$cxx" --version | head -n 1); $(nproc) cores; load $(cut -d ' ' -f 1 /proc/loadavg)"
for _ in 1 2 3; do
    # shellcheck disable=SC2086  # the flags are words
    timed "the quick start at -O2" "$cxx" $flags -I "$root" -c "$root/examples/quickstart/main.cpp" -o "$dir/main.o"
done
CXX=$cxx meson setup "$dir/build" "$root" --buildtype=release -Dtests=false -Dexamples=false -Dbenchmarks=false >"$dir/log" ||
    { cat "$dir/log"; exit 1; }
timed "the library, two jobs" ninja -C "$dir/build" -j 2
