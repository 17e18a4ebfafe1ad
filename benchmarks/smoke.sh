#!/bin/sh
# Usage: smoke.sh BENCH [--wss | --broadcast | --broadcast-command | --calls] SERVER [ARGUMENT...]
# Starts the echo server, puts a little load of many shapes on it, and checks that nothing is lost or altered.
# The server must print "listening on ADDRESS:PORT" and end on SIGTERM. With --wss it gets --tls-cert and --tls-key, with
# a certificate that is made here; with --broadcast it sends what one connection says to all others;
# with --broadcast-command it does so with command 0x0100, and not with everything;
# with --calls it answers calls of math.add and of nothing else, echoes command 0x0100, and no other tests are made.
set -eu
bench=$1
shift
scheme=ws
broadcast=
calls=
case $1 in
    --wss) scheme=wss; shift ;;
    --broadcast) broadcast=--broadcast; shift ;;
    --calls) calls=yes; shift ;;
    --broadcast-command) broadcast='--broadcast --command 0x0100'; shift ;;
esac
dir=$(mktemp -d)
mkfifo "$dir/out"
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

if [ $scheme = wss ]; then
    command -v openssl >/dev/null || { echo "skipped: there is no openssl to make a certificate with"; exit 77; }
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/openssl" || { cat "$dir/openssl"; exit 1; }
    set -- "$@" --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem"
fi
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

url=$scheme://127.0.0.1:$port/ws
run() { # CONNECTIONS OPTION...
    connections=$1
    shift
    report=$("$bench" "$url" --pid "$server" --json --connections "$connections" --verify "$@" $trust) || exit 1
    echo "$report"
    case $report in
        *"\"clean_closes\":$connections}") ;;
        *) echo "not every connection ended with a pong and a close"; exit 1 ;;
    esac
}
measured() { # COUNT: of the last report
    case $report in
        *"\"messages\":$1,"*) ;;
        *) echo "not $1 messages were measured"; exit 1 ;;
    esac
}

trust=
if [ $scheme = wss ]; then
    # the certificate is compared with those that are trusted
    if "$bench" "$url" --messages 1 --connections 1 2>"$dir/refused"; then echo "an unknown certificate was accepted"; exit 1; fi
    grep -q certificate "$dir/refused" || { cat "$dir/refused"; exit 1; }
    SSL_CERT_FILE=$dir/cert.pem "$bench" "$url" --messages 1 --connections 1 --command 0x0100
    trust=--insecure
fi

stop_server() {
    kill "$server"
    code=0
    wait "$server" || code=$?
    server=
    [ "$code" -eq 0 ] || [ "$code" -eq 143 ] || { echo "the server ended with $code"; exit 1; }
}

if [ -n "$calls" ]; then
    run 5 --depth 32 --messages 3000 --call math.add --params '[2,40]' --expect 42
    measured 3000
    run 3 --threads 2 --depth 4 --messages 300 --call math.add --params '{"a":1.5,"b":-3}' --expect=-1.5
    measured 300
    run 5 --rate 2000 --seconds 0.1 --warmup 0.02 --call math.add --params '[2,40]' --expect 42
    measured 200
    for wrong in '--params [2,40] --expect 41' '--params [2,"x"]' '--params [2,40] --expect-echo'; do
        # shellcheck disable=SC2086  # the options are words
        if "$bench" "$url" --call math.add $wrong --messages 100 2>"$dir/complaint"; then echo "not noticed: $wrong"; exit 1; fi
        cat "$dir/complaint"
    done
    run 5 --depth 4 --messages 300 --command 0x0100 --unordered
    stop_server
    exit
fi

if [ -n "$broadcast" ]; then
    # connections, depth, size, messages: deliveries, as many for each message as there are others
    while read -r connections depth size messages; do
        # shellcheck disable=SC2086  # the options are words
        run "$connections" $broadcast --depth "$depth" --size "$size" --messages "$messages"
        measured "$messages"
    done <<SHAPES
2 1 32 100
2 8 0 80
101 1 32 3000
101 16 32 32000
5 3 65536 120
3 2 250000 20
1001 2 32 8000
SHAPES
    # shellcheck disable=SC2086  # the options are words
    run 11 $broadcast --seconds 0.05 --warmup 0.01
    # more connections than the limit on open files allows
    if (ulimit -n 60 && "$bench" "$url" --broadcast --connections 61 --messages 60) 2>"$dir/refused"; then
        echo "61 connections with 60 open files"; exit 1
    fi
    grep -q 'open files' "$dir/refused" || { cat "$dir/refused"; exit 1; }
    stop_server
    exit
fi

# connections, depth, size, messages and further options of each shape
while read -r connections depth size messages more; do
    [ "$size" = - ] || more="--size $size $more"
    # shellcheck disable=SC2086  # the options are words
    run "$connections" --depth "$depth" --messages "$messages" $more
    measured "$messages"
done <<SHAPES
1 1 0 50
3 8 0 300
3 8 0 300 --command 0x0100
1 1 32 100 --command 0x0100
20 1 32 400
20 32 32 4000
7 32 32 4001 --threads 3
5 4 5 300
4 7 121 300
4 7 122 300
4 7 125 300
4 7 126 300
4 7 126 300 --text
4 16 1000 2000 --unordered
5 32 - 3000 --call math.add --params [2,40] --expect-echo
3 3 65535 100
3 3 65536 100
2 5 65531 100 --text
3 2 1048576 30
2 4 1048576 20 --unordered
SHAPES
run 5 --depth 4 --seconds 0.05 --warmup 0.01

# connections that come and go: each ends as it should, or the run does not
while read -r connections messages more; do
    [ $scheme = ws ] || continue  # not over TLS
    # shellcheck disable=SC2086  # the options are words
    report=$("$bench" "$url" --pid "$server" --json --verify --reconnect \
        --connections "$connections" --messages "$messages" $more) || exit 1
    case $report in
        *'"loop":"reconnect"'*"\"messages\":$messages,"*"\"clean_closes\":$messages}") ;;
        *) echo "$report: not $messages connections"; exit 1 ;;
    esac
done <<SHAPES
1 30
50 1000
10 501 --threads 3 --command 0x0100 --size 0
20 100 --text --size 70000
3 30 --size 1048576
SHAPES

# each message of an open loop that was due counts, and no other
run 5 --rate 2000 --seconds 0.1 --warmup 0.02
measured 200
run 6 --rate 600 --seconds 0.1 --warmup 0 --threads 3 --size 5000
measured 60

# the page is written
"$bench" "$url" --messages 100 --pid "$server" --html "$dir/page.html" $trust
grep -q '<svg' "$dir/page.html" && grep -q '</html>' "$dir/page.html" || { echo "no page was written"; exit 1; }

"$bench" "$url" --pid "$server" --idle --connections 200 $trust
stop_server
