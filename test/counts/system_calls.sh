#!/bin/sh
# Usage: system_calls.sh BENCH KEPHAS_ECHO BARE_LOOP
# Counts the system calls of the echo servers per message, with strace, and compares them with the bare epoll loop.
set -eu
LC_ALL=C
export LC_ALL
bench=$1 kephas=$2 bare=$3
dir=$(mktemp -d)
. "$(dirname "$0")/echo_server.sh"
trap 'stop_server; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

command -v strace >/dev/null || { echo "skipped: there is no strace"; exit 77; }
strace -c -o "$dir/probe" true 2>"$dir/refused" || { echo "skipped: strace may not trace: $(cat "$dir/refused")"; exit 77; }

connections=50
failed=0

count() { # SYSCALL COLUMN: calls (4) or errors (5) in the summary of the last run
    awk -v name="$1" -v column="$2" '$NF == name { print column == 4 ? $4 : (NF == 6 ? $5 : 0); found = 1 }
        END { if (!found) print 0 }' "$dir/summary"
}

# measure NAME IN_FLIGHT MESSAGES COMMAND...: sets reads, failed_reads, writes, controls, waits, futexes, per message
measure() {
    name=$1 in_flight=$2 messages=$3
    shift 3
    start_server strace -f -c -o "$dir/summary" -- "$@"
    "$bench" "ws://127.0.0.1:$port/ws" --connections $connections --depth "$in_flight" --messages "$messages" \
        --command 0x0100 --verify --unordered >/dev/null
    stop_server
    # with what each connection costs once
    per() { awk -v count="$1" -v sent="$messages" 'BEGIN { printf "%.3f", count / sent }'; }
    read_calls=$(($(count recvfrom 4) + $(count recvmsg 4) + $(count read 4) + $(count readv 4)))
    read_errors=$(($(count recvfrom 5) + $(count recvmsg 5) + $(count read 5) + $(count readv 5)))
    reads=$(per $((read_calls - read_errors)))
    failed_reads=$(per "$read_errors")
    writes=$(per $(($(count sendto 4) + $(count sendmsg 4) + $(count write 4) + $(count writev 4))))
    controls=$(per "$(count epoll_ctl 4)")
    waits=$(per "$(count epoll_wait 4)")
    futexes=$(per "$(count futex 4)")
    printf '%-24s %9s %8s %12s %8s %10s %11s %8s\n' "$name" "$in_flight" "$reads" "$failed_reads" "$writes" "$controls" \
        "$waits" "$futexes"
}

per_burst() { awk -v calls="$1" -v messages="$in_flight" 'BEGIN { print calls / messages }'; }

at_most() { # WHAT VALUE LIMIT
    awk -v value="$2" -v limit="$3" 'BEGIN { exit !(value <= limit) }' && return
    echo "FAILED: $name, $in_flight in flight: $2 $1 per message, more than $3"
    failed=1
}

printf '%-24s %9s %8s %12s %8s %10s %11s %8s\n' "per message" "in flight" read "failed read" write epoll_ctl epoll_wait futex
measure "bare epoll loop" 1 10000 "$bare"
bare_waits=$waits
measure "kephas-echo, on_strand" 1 10000 "$kephas" --dispatch on_strand
at_most "reads" "$reads" 1.05
at_most "failed reads" "$failed_reads" 0.05
at_most "writes" "$writes" 1.05
at_most "calls of epoll_ctl" "$controls" 0.05
at_most "calls of futex" "$futexes" 0.01
at_most "calls of epoll_wait" "$waits" "$(awk -v bare="$bare_waits" 'BEGIN { print bare + 0.5 }')"
for policy in serial pool; do
    measure "kephas-echo, $policy" 1 10000 "$kephas" --dispatch $policy
    at_most "failed reads" "$failed_reads" 0.05
    at_most "writes" "$writes" 2.1  # with those that wake a thread
    at_most "calls of epoll_ctl" "$controls" 1.05
done
measure "bare epoll loop" 32 60000 "$bare"
bare_reads=$reads
measure "kephas-echo, on_strand" 32 60000 "$kephas" --dispatch on_strand
at_most "reads" "$reads" "$(awk -v bare="$bare_reads" 'BEGIN { print 1.5 * bare + 0.01 }')"
at_most "writes" "$writes" "$(awk -v reads="$reads" 'BEGIN { print reads + 0.01 }')"
at_most "calls of epoll_ctl" "$controls" 0.01
at_most "calls of futex" "$futexes" 0.01
for policy in serial pool; do
    measure "kephas-echo, $policy" 32 60000 "$kephas" --dispatch $policy
    at_most "writes" "$writes" 0.2
    at_most "calls of epoll_ctl" "$controls" 0.1
    at_most "calls of futex" "$futexes" "$(per_burst 6)"
done

# Two threads that read and write, two that run handlers: on the strand no thread wakes or waits for another. The others hand
# each burst to another thread, which wakes it, sends, and wakes the first: about 3 per burst, more where two want one lock.
for in_flight in 1 32; do
    for policy in on_strand serial pool; do
        # some 80 calls of futex belong to the start and the connections, however many messages follow
        case $in_flight-$policy in
            1-on_strand) messages=30000 ;;
            1-*) messages=10000 ;;
            *) messages=60000 ;;
        esac
        measure "2 + 2 threads, $policy" $in_flight $messages "$kephas" --dispatch $policy --io-threads 2 --pool-threads 2
        if [ $policy = on_strand ]; then
            at_most "calls of futex" "$futexes" 0.01
            at_most "failed reads" "$failed_reads" 0.05
            at_most "writes" "$writes" "$(awk -v reads="$reads" 'BEGIN { print reads + 0.01 }')"
        else
            at_most "calls of futex" "$futexes" "$(per_burst 8)"
        fi
    done
done
exit $failed
