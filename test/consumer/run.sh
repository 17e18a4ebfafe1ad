#!/bin/sh
# run.sh BUILD_DIR SOURCE_DIR: installs what was built into a folder of its own and builds a program against it,
# with Meson and with CMake, both through pkg-config; then takes kephas as a Meson subproject.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

meson install -C "$build" --no-rebuild --destdir "$work/root" >"$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
pc=$(find "$work/root" -name kephas.pc)
[ -n "$pc" ] || { echo "no kephas.pc"; exit 1; }

# what lies in the folder believes to lie in the prefix
prefix=$(sed -n 's/^prefix=//p' "$pc")
sed -i "s|^prefix=.*|prefix=$work/root$prefix|" "$(dirname "$pc")"/*.pc
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH

# nothing of the build's own tree may be seen
cp -r "$source/test/consumer/program" "$work/program"
cd "$work"

step() {
    name=$1
    shift
    "$@" >"$work/log" 2>&1 || { echo "-- $name failed"; cat "$work/log"; exit 1; }
    echo "$name: ok"
}

step "pkg-config: what Asio's users must agree on" sh -c 'pkg-config --cflags kephas | grep -q -e "-DASIO_SEPARATE_COMPILATION"'
step "meson: configure" meson setup with-meson program
step "meson: build" meson compile -C with-meson
step "meson: run" ./with-meson/consumer

if command -v cmake >/dev/null; then
    step "cmake: configure" cmake -G Ninja -S program -B with-cmake
    step "cmake: build" cmake --build with-cmake
    step "cmake: run" ./with-cmake/consumer
else
    echo "cmake: not installed, left out"
fi

# as a subproject, without the package: configured only, its sources are those just compiled
mkdir program/subprojects
ln -s "$source" program/subprojects/kephas
PKG_CONFIG_PATH=
step "subproject: configure" meson setup as-subproject program --force-fallback-for=kephas
