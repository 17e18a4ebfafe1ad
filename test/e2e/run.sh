#!/bin/sh
# Tests of the chat example (its JavaScript client, the page in Chromium, a foreign WebSocket client), of compression, and
# of the load tool and the C++ client with a foreign server.
#   KEPHAS_CHAT=build/examples/js-chat/kephas-chat test/e2e/run.sh [client.test.mjs] [foreign.test.mjs] [tls.test.mjs] [chat.test.mjs]
#   KEPHAS_ECHO=build/benchmarks/kephas-echo test/e2e/run.sh deflate.test.mjs
#   KEPHAS_COMMAND_CLIENT=build/examples/command-client/kephas-command-client test/e2e/run.sh command-client.test.mjs
#   KEPHAS_BENCH=build/benchmarks/kephas-bench test/e2e/run.sh bench.test.mjs
# CHROMIUM names the browser, /usr/bin/chromium by default. Exit status 77: skipped, something is not there;
# where CI is set nothing may be skipped. Two at a time would install over each other.
set -eu
: "${KEPHAS_CHAT:=}" "${KEPHAS_ECHO:=}" "${KEPHAS_BENCH:=}" "${KEPHAS_COMMAND_CLIENT:=}"
[ -n "$KEPHAS_CHAT$KEPHAS_ECHO$KEPHAS_BENCH$KEPHAS_COMMAND_CLIENT" ] ||
  { echo "KEPHAS_CHAT has to name the kephas-chat binary, or KEPHAS_ECHO kephas-echo, KEPHAS_BENCH kephas-bench, KEPHAS_COMMAND_CLIENT kephas-command-client" >&2; exit 2; }
[ -z "$KEPHAS_CHAT" ] || KEPHAS_CHAT=$(realpath -- "$KEPHAS_CHAT")
[ -z "$KEPHAS_ECHO" ] || KEPHAS_ECHO=$(realpath -- "$KEPHAS_ECHO")
[ -z "$KEPHAS_BENCH" ] || KEPHAS_BENCH=$(realpath -- "$KEPHAS_BENCH")
[ -z "$KEPHAS_COMMAND_CLIENT" ] || KEPHAS_COMMAND_CLIENT=$(realpath -- "$KEPHAS_COMMAND_CLIENT")
export KEPHAS_CHAT KEPHAS_ECHO KEPHAS_BENCH KEPHAS_COMMAND_CLIENT
cd -- "$(dirname -- "$0")"

skip() {
  echo "skipped: $1" >&2
  [ -z "${CI:-}" ] || exit 1
  exit 77
}
[ $# -gt 0 ] || set -- client.test.mjs foreign.test.mjs tls.test.mjs chat.test.mjs
command -v node >/dev/null || skip "node is not installed"
case " $* " in
  *" tls.test.mjs "*) command -v openssl >/dev/null || skip "openssl is not installed" ;;
esac
case " $* " in
  *" chat.test.mjs "*) [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || skip "there is no ${CHROMIUM:-/usr/bin/chromium}" ;;
esac

# what is installed already needs no network
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || skip "npm ci has failed"
  cp package-lock.json node_modules/.installed
fi

exec node --test --test-reporter=spec "$@"
