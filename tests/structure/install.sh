#!/bin/sh
# install.sh ROOT BUILD: an installed Thaw serves a project of its own: installs to a temporary folder, then configures,
# builds and runs examples/out-of-tree against it.
set -eu
root=$1 build=$2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cmake --install "$build" --prefix "$place/prefix" >"$place/log" || { cat "$place/log"; exit 1; }
if grep -rl "$root" "$place/prefix/include" "$place/prefix/lib/cmake"; then
  echo "installed files name the checkout they were built in"
  exit 1
fi
cmake -S "$root/examples/out-of-tree" -B "$place/build" -G Ninja "-DCMAKE_PREFIX_PATH=$place/prefix" \
  -DCMAKE_BUILD_TYPE=Release
cmake --build "$place/build"
"$place/build/out_of_tree"
