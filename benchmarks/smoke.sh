#!/bin/sh
# Usage: smoke.sh LOAD SERVER [ARGUMENT...]
# Starts the echo server, puts a little load of many shapes on it, and checks that nothing is lost or altered.
# The server must print "listening on ADDRESS:PORT" and end on SIGTERM.
set -eu
load=$1
shift
dir=$(mktemp -d)
mkfifo "$dir/out"
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

"$@" >"$dir/out" &
server=$!
exec 3<"$dir/out"
port=
while read -r line <&3; do
    case $line in *'listening on '*) port=${line##*:}; break ;; esac
done
port=${port%%[!0-9]*}
[ -n "$port" ] || { echo "the server does not listen"; exit 1; }
cat <&3 >/dev/null &  # so that what it says later never blocks it

# connections, in flight, payload, messages and further options of each shape
while read -r connections in_flight payload messages more; do
    # shellcheck disable=SC2086  # the options are words
    report=$("$load" --port "$port" --server-pid "$server" --json --connections "$connections" --in-flight "$in_flight" \
        --payload "$payload" --messages "$messages" $more)
    echo "$report"
    case $report in
        *"\"clean_closes\":$connections}") ;;
        *) echo "not every connection ended with a pong and a close"; exit 1 ;;
    esac
done <<SHAPES
1 1 0 50 --command none
3 8 0 300 --command none
3 8 0 300
1 1 32 100
20 1 32 400
20 32 32 4000
5 4 5 300
4 7 121 300
4 7 122 300
4 7 125 300 --command none
4 7 126 300 --command none
4 7 126 300 --command none --opcode text
4 16 1000 2000 --unordered
3 3 65535 100 --command none
3 3 65536 100 --command none
2 5 65531 100 --opcode text
3 2 1048576 30
2 4 1048576 20 --unordered
SHAPES

"$load" --port "$port" --server-pid "$server" --idle --connections 200
kill "$server"
code=0
wait "$server" || code=$?
server=
[ "$code" -eq 0 ] || [ "$code" -eq 143 ] || { echo "the server ended with $code"; exit 1; }
