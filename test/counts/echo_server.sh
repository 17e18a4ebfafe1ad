# Sourced: starts echo servers for the scripts beside this file. Needs $dir, a folder that exists.
server=
stop_server() {
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null || :
    wait "$waited_for" 2>/dev/null || :
    server=
}

# start_server [WRAPPER...] -- COMMAND...: sets server, its process id, waited_for, that of the wrapper, and port
start_server() {
    rm -f "$dir/out" "$dir/pid"
    mkfifo "$dir/out"
    wrapper=
    while [ "$1" != -- ]; do wrapper="$wrapper $1"; shift; done
    shift
    # shellcheck disable=SC2016,SC2086  # expanded by the inner shell; the wrapper is words
    $wrapper sh -c 'echo $$ >"$0"; exec "$@"' "$dir/pid" "$@" --port 0 >"$dir/out" &
    waited_for=$!
    exec 3<"$dir/out"
    port=
    while read -r line <&3; do
        case $line in *'listening on '*) port=${line##*:}; break ;; esac
    done
    port=${port%%[!0-9]*}
    [ -n "$port" ] || { echo "does not listen: $*"; exit 1; }
    server=$(cat "$dir/pid")
    cat <&3 >/dev/null & # so that what it says later never blocks it
    exec 3<&-
}
