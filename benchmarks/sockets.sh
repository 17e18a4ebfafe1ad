#!/bin/sh
# Streams and datagrams with kephas beside loops of system calls: sh benchmarks/sockets.sh BUILD; --help says more.
set -eu
exec env PYTHONDONTWRITEBYTECODE=1 python3 "$(dirname "$0")/sockets" "$@"
