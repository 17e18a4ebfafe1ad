#!/bin/sh
# Usage: idle_memory.sh BENCH KEPHAS_ECHO BARE_LOOP LIMIT TLS_LIMIT
# Fails if an idle connection costs the server more than LIMIT resident bytes, or one over TLS more than TLS_LIMIT.
# The bare loop's is printed beside it.
set -eu
bench=$1 kephas=$2 bare=$3 limit=$4 tls_limit=$5
dir=$(mktemp -d)
. "$(dirname "$0")/echo_server.sh"
trap 'stop_server; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

bytes_each() { # CONNECTIONS SCHEME COMMAND...: sets bytes
    connections=$1 scheme=$2
    shift 2
    ulimit -S -n "$(ulimit -H -n)"
    start_server -- "$@"
    report=$("$bench" "$scheme://127.0.0.1:$port/ws" --pid "$server" --idle --connections "$connections" --json --insecure)
    stop_server
    bytes=${report##*_per_connection\":}
    bytes=${bytes%%.*}
}

bytes_each 5000 ws "$bare"
echo "bare epoll loop: $bytes resident bytes per idle connection"
bytes_each 5000 ws "$kephas" --dispatch on_strand
echo "kephas-echo: $bytes resident bytes per idle connection; the limit is $limit"
[ "$bytes" -le "$limit" ] || exit 1

command -v openssl >/dev/null || { echo "skipped: there is no openssl to make a certificate with"; exit 77; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/openssl" || { cat "$dir/openssl"; exit 1; }
bytes_each 1500 wss "$bare" --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem"
echo "bare epoll loop over TLS: $bytes resident bytes per idle connection"
bytes_each 1500 wss "$kephas" --dispatch on_strand --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem"
echo "kephas-echo over TLS: $bytes resident bytes per idle connection; the limit is $tls_limit"
[ "$bytes" -le "$tls_limit" ]
