#!/bin/sh
# Installs what is missing, builds, and runs every test, from any directory of a plain clone:
#   sh test/run.sh           everything
#   sh test/run.sh quick     the release build without the end-to-end and stress tests, for daily use
# The last line is "N passed, N failed"; the exit code tells the same. Every configuration counts each of its tests,
# and one that cannot be built counts as one failed test while the others still run.
set -u
cd "$(dirname "$0")/.." || exit 1

mode=${1:-all}
case $mode in
    all | quick) ;;
    *) echo "usage: sh test/run.sh [quick]" >&2; exit 2 ;;
esac

if ! sh test/support/install.sh build test; then
    echo "The packages could not be installed."
    echo "0 passed, 1 failed"
    exit 1
fi

# thousands of connections need as many descriptors
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

passed=0
failed=0
summary=
last=$(date +%s)

# add NAME PASSED FAILED: a line of the summary, with the time since the line before
add() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    now=$(date +%s)
    summary="$summary$(printf '%-16s %4d passed, %d failed  %5d s' "$1" "$2" "$3" $((now - last)))
"
    last=$now
}

# broken NAME LOG: a configuration that could not be built, or a tool that failed
broken() {
    echo "-- $1 failed; the end of $2:"
    tail -n 40 "$2"
    add "$1" 0 1
}

# configure DIR COMPILER COMPILER++ [OPTION...]: makes the build directory, or brings one that is there to these options
configure() {
    dir=$1
    cc=$2
    cxx=$3
    shift 3
    if [ -f "$dir/build.ninja" ] && meson setup --reconfigure "$dir" "$@"; then
        return 0
    fi
    rm -rf "$dir"
    env CC="ccache $cc" CXX="ccache $cxx" meson setup "$dir" "$@"
}

# build NAME DIR COMPILER COMPILER++ [OPTION...]: configures and, for the release, builds everything.
# The other configurations build what their tests need when they run.
build() {
    name=$1
    log=$2.log # beside the directory, which may be made anew
    shift
    echo "== $name: build"
    if configure "$@" >"$log" 2>&1 && { [ "$name" != release ] || meson compile -C "$1" >>"$log" 2>&1; }; then
        return 0
    fi
    broken "$name" "$log"
    return 1
}

# address space randomisation of recent kernels is more than the sanitizers of g++ 12 can place
fixed_addresses=
if setarch "$(uname -m)" -R true 2>/dev/null; then # not allowed in every container
    fixed_addresses="setarch $(uname -m) -R"
fi

# run_tests NAME DIR [ARGUMENT of meson test...]: builds what the chosen tests need, runs and counts them
run_tests() {
    name=$1
    dir=$2
    shift 2
    log=$dir/meson-logs/run-$name
    rm -f "$log".*
    echo "== $name"
    prefix=$fixed_addresses
    [ "$dir" = build ] && prefix= # browsers rely on randomised addresses
    $prefix meson test -C "$dir" --logbase "run-$name" --print-errorlogs "$@" >"$log.out" 2>&1
    code=$?
    if [ -f "$log.json" ]; then
        # the tests that were skipped or did not pass, then "PASSED FAILED"
        counts=$(python3 test/support/count_results.py "$log.json")
        set -- $(echo "$counts" | tail -n 1)
        if [ "$2" -gt 0 ]; then
            grep -vE '^ *[0-9]+/[0-9]+ .* OK |^\[[0-9]+/[0-9]+\]' "$log.out"
        elif [ "$code" -ne 0 ]; then
            broken "$name" "$log.out"
            return
        fi
        echo "$counts" | sed '$d'
        add "$name" "$1" "$2"
    elif [ "$code" -eq 0 ] && grep -q 'No suitable tests defined' "$log.out"; then
        add "$name" 0 0
    else
        broken "$name" "$log.out"
    fi
}

export ASAN_OPTIONS=detect_leaks=1:halt_on_error=1:abort_on_error=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/test/support/tsan.supp

# the packages of Node for the end-to-end tests
if [ "$mode" = all ] && [ -f test/e2e/package-lock.json ] &&
    ! cmp -s test/e2e/package-lock.json test/e2e/node_modules/.kephas-lock.json; then
    echo "== node packages"
    if npm ci --prefix test/e2e --no-audit --no-fund >build-npm.log 2>&1; then
        cp test/e2e/package-lock.json test/e2e/node_modules/.kephas-lock.json
        rm -f build-npm.log
    else
        broken 'node packages' build-npm.log
    fi
fi

# (a) what users run: other checks take the binaries from here
if build release build gcc g++ --buildtype=release; then
    run_tests release build --no-suite e2e --no-suite stress
    if [ "$mode" = all ]; then
        # one at a time: they measure, and start browsers and thousands of connections
        run_tests e2e build --suite e2e --num-processes 1
        run_tests stress build --suite stress --num-processes 1
    fi
fi

if [ "$mode" = all ]; then
    lean='-Dexamples=false -Dbenchmarks=false'

    # (b) memory and undefined behaviour
    if build asan build-asan gcc g++ --buildtype=debug -Db_sanitize=address,undefined $lean; then
        run_tests asan build-asan --suite unit --suite net --suite threads --timeout-multiplier 4
    fi

    # (c) data races
    if build tsan build-tsan gcc g++ --buildtype=debug -Doptimization=1 -Db_sanitize=thread $lean; then
        run_tests tsan build-tsan --suite threads --suite net --timeout-multiplier 6
    fi

    # (d) the other compiler, its sanitizers, and the fuzz targets over their corpora
    if build clang build-clang clang-19 clang++-19 --buildtype=debug -Doptimization=1 -Dfuzzing=true $lean; then
        run_tests clang build-clang --suite unit --timeout-multiplier 4
    fi
fi

echo
printf '%s' "$summary"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
