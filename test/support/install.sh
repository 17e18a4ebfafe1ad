# Installs what is missing of the named groups on Debian, as root or with sudo:
#   sh test/support/install.sh build            what it takes to build the library and the examples
#   sh test/support/install.sh build test       and what the tests need besides
#   sh test/support/install.sh peers            what benchmarks/compare.sh builds other libraries' servers with
# Nothing is downloaded when nothing is missing. Elsewhere than on Debian it does nothing: the build says what it misses.
set -eu

group_build="g++ meson ninja-build pkg-config libasio-dev libwebsocketpp-dev rapidjson-dev libfmt-dev zlib1g-dev libssl-dev libcli11-dev"
group_test="ccache clang-19 libclang-rt-19-dev doctest-dev libbenchmark-dev cmake python3 strace procps openssl chromium"
group_peers="g++ libasio-dev libwebsocketpp-dev libboost-dev golang-go golang-github-gorilla-websocket-dev"

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || exit 0

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for group in "$@"; do
    case $group in
        build) packages=$group_build ;;
        test) packages=$group_test ;;
        peers) packages=$group_peers ;;
        *) echo "install.sh: unknown group '$group'" >&2; exit 2 ;;
    esac
    for package in $packages; do
        installed "$package" || missing="$missing $package"
    done
    if [ "$group" != build ]; then
        # by command: a Node from elsewhere brings its own npm, and Debian's would not install beside it
        command -v node >/dev/null || missing="$missing nodejs"
        command -v npm >/dev/null || missing="$missing npm"
    fi
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "As root: apt-get install --no-install-recommends$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "Installing$missing"
log=$(mktemp)
# -o: in a root file system without locales and terminals nothing must ask a question
if ! { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    exit 1
fi
rm -f "$log"
