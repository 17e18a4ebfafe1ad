#!/bin/sh
# Compares the CPU time per message of echo servers with that of the bare epoll loop.
#
#   sh benchmarks/compare.sh [-r ROUNDS] [-s SECONDS] [BUILD_DIR] [NAME=COMMAND...]
#
# BUILD_DIR is "build" unless given. Each COMMAND is a server on 127.0.0.1 that echoes WebSocket messages; it is run with
# --port 0 and must print "listening on ADDRESS:PORT", or it contains %p, which becomes a free port. Without any, the
# kephas-echo of the build is compared in each of its ways to dispatch. A server has to be one process, or the process
# that is started the one that does the work; replies may overtake each other.
#
# The servers take turns (A B C A B C ...), each with a new process, and a ratio is taken within a round only: the
# machine may be slow for a while, but then for all of them. Server on CPU 0, load on CPU 1. Prints markdown.
set -eu
LC_ALL=C
export LC_ALL

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
rounds=5
seconds=1
while getopts r:s:h option; do
    case $option in
        r) rounds=$OPTARG ;;
        s) seconds=$OPTARG ;;
        h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
build=build
case ${1-} in
    '' | *=*) ;;
    *) build=$1; shift ;;
esac
bin=$build/benchmarks
[ -x "$bin/bare_loop" ] && [ -x "$bin/kephas-bench" ] || { echo "$bin: nothing built there" >&2; exit 2; }

work=$(mktemp -d)
server=
stop_server() {
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null || :
    wait "$server" 2>/dev/null || :
    server=
}
trap 'stop_server; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# one line per server: name, tab, command
printf 'bare epoll loop\t%s\n' "$bin/bare_loop" >"$work/servers"
if [ $# -eq 0 ] && [ -x "$bin/kephas-echo" ]; then
    for dispatch in on_strand serial pool; do
        printf 'kephas-echo, %s\t%s\n' "$dispatch" \
            "$bin/kephas-echo --io-threads 1 --pool-threads 1 --dispatch $dispatch" >>"$work/servers"
    done
fi
for each; do
    case $each in
        *=*) printf '%s\t%s\n' "${each%%=*}" "${each#*=}" >>"$work/servers" ;;
        *) echo "not NAME=COMMAND: $each" >&2; exit 2 ;;
    esac
done
cat >"$work/shapes" <<'SHAPES'
50 1 32
50 32 32
8 4 16384
SHAPES

pin() { # CPU COMMAND...: in place of this shell, so that its pid is the server's
    if taskset -c "$1" true 2>/dev/null; then exec taskset -c "$@"; fi
    shift
    exec "$@"
}

next_port=$((20000 + $$ % 10000))
start_server() { # COMMAND: sets server and port
    port=
    command=$1
    case $command in
        *%p*)
            next_port=$((next_port + 1))
            port=$next_port
            command=$(printf '%s\n' "$command" | sed "s/%p/$port/g") ;;
        *) command="$command --port 0" ;;
    esac
    rm -f "$work/out"
    mkfifo "$work/out"
    # shellcheck disable=SC2086  # the command is words
    pin 0 $command >"$work/out" &
    server=$!
    exec 3<"$work/out"
    if [ -z "$port" ]; then
        while read -r line <&3; do
            case $line in *'listening on '*) port=${line##*:}; port=${port%%[!0-9]*}; break ;; esac
        done
        [ -n "$port" ] || { echo "does not listen: $command" >&2; exit 1; }
    fi
    cat <&3 >/dev/null & # so that what it says later never blocks it
    exec 3<&-
}

field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }

# results: shape, server, round, CPU us per message
round=1
while [ "$round" -le "$rounds" ]; do
    shape=0
    while read -r connections depth size; do
        shape=$((shape + 1))
        index=0
        while IFS='	' read -r name command; do
            index=$((index + 1))
            start_server "$command"
            report=$(pin 1 "$bin/kephas-bench" "ws://127.0.0.1:$port/ws" --json --pid "$server" --seconds "$seconds" \
                --verify --unordered --command 0x0100 --connections "$connections" --depth "$depth" --size "$size" </dev/null) ||
                { echo "$name: failed" >&2; exit 1; }
            stop_server
            echo "$shape $index $round $(echo "$report" | field server_cpu_us_per_message)" >>"$work/results"
        done <"$work/servers"
    done <"$work/shapes"
    echo "round $round of $rounds done" >&2
    round=$((round + 1))
done

awk -F '\t' -v rounds="$rounds" '
    function median(values, count,    i, j, t) {
        for (i = 2; i <= count; ++i)
            for (j = i; j > 1 && values[j - 1] > values[j]; --j) { t = values[j]; values[j] = values[j - 1]; values[j - 1] = t }
        return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2
    }
    FILENAME ~ /servers$/ { name[++servers] = $1; next }
    FILENAME ~ /shapes$/ { split($0, s, " "); title[++shapes] = s[1] " x " s[2] " x " s[3] " B"; next }
    { split($0, r, " "); cpu[r[1], r[2], r[3]] = r[4] }
    END {
        print "Server CPU in us per message, and times the bare loop: medians of " rounds " interleaved rounds;"
        print "shapes are connections x messages in flight x payload.\n"
        line = "| server |"; rule = "|---|"
        for (i = 1; i <= shapes; ++i) { line = line " " title[i] " | ratio |"; rule = rule "--:|--:|" }
        print line; print rule
        for (k = 1; k <= servers; ++k) {
            line = "| " name[k] " |"
            for (i = 1; i <= shapes; ++i) {
                for (n = 1; n <= rounds; ++n) { us[n] = cpu[i, k, n] + 0; ratio[n] = cpu[i, k, n] / cpu[i, 1, n] }
                line = line sprintf(" %.3g | %.2f |", median(us, rounds), median(ratio, rounds))
            }
            print line
        }
    }' "$work/servers" "$work/shapes" "$work/results"
