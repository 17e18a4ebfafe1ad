#!/bin/sh
# Installs what is missing, builds a release and starts the chat; its arguments go to the chat, see --help.
set -eu
cd "$(dirname "$0")/.."

sh test/support/install.sh build

log=build-release.log
if ! { [ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false -Dbenchmarks=false; } >"$log" 2>&1 ||
    ! meson compile -C build-release >>"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
fi
rm -f "$log"

http_port=3000
previous=
for argument in "$@"; do
    case $argument in --http-port=*) http_port=${argument#*=} ;; esac
    [ "$previous" = --http-port ] && http_port=$argument
    previous=$argument
done
echo "The chat: http://localhost:$http_port/ (Ctrl+C ends it)"
exec build-release/examples/js-chat/kephas-chat "$@"
