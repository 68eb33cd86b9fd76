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
"$place/build/out_of_tree" list samplers | grep -x ddim
# An own dataset and an own backbone through the whole pipeline.
"$place/build/out_of_tree" list backbones | grep -x plain
"$place/build/out_of_tree" run "$root/examples/out-of-tree/checkers.yaml" "out=$place/run"
test -s "$place/run/report.html" && test -s "$place/run/model/model.safetensors"
