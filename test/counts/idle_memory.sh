#!/bin/sh
# Usage: idle_memory.sh LOAD KEPHAS_ECHO EPOLL_ECHO LIMIT
# Fails if an idle connection costs the server more than LIMIT resident bytes. The bare loop's is printed beside it.
set -eu
load=$1 kephas=$2 bare=$3 limit=$4
dir=$(mktemp -d)
. "$(dirname "$0")/echo_server.sh"
trap 'stop_server; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

bytes_each() { # COMMAND...: sets bytes
    ulimit -S -n "$(ulimit -H -n)"
    start_server -- "$@"
    report=$("$load" --port "$port" --server-pid "$server" --idle --connections 5000 --json)
    stop_server
    bytes=${report##*_per_connection\":}
    bytes=${bytes%%.*}
}

bytes_each "$bare"
echo "bare epoll loop: $bytes resident bytes per idle connection"
bytes_each "$kephas" --dispatch on_strand
echo "kephas-echo: $bytes resident bytes per idle connection; the limit is $limit"
[ "$bytes" -le "$limit" ]
