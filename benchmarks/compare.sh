#!/bin/sh
# Measures kephas beside a bare epoll loop and other libraries' servers; --help says how, docs/contributing.md what for.
# A run ends after 25 minutes at most; the same command goes on where it stopped.
#
#   sh benchmarks/compare.sh [OPTION...] [BUILD_DIR] [NAME=COMMAND...]
set -eu
LC_ALL=C
PYTHONDONTWRITEBYTECODE=1
export LC_ALL PYTHONDONTWRITEBYTECODE
exec python3 "$(dirname "$0")/compare" "$@"
