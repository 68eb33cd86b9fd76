#!/bin/sh
# links.sh BUILD PROGRAM...: what the build took from where. Programs named must not load libtorch; nothing compiled or
# linked may come from /usr/local, which a user's machine does not have.
set -eu
build=$1
shift
status=0
for program in "$@"; do
  if readelf -d "$program" | grep -E 'NEEDED.*(torch|c10)'; then
    echo "$program loads libtorch, which its sources must not need"
    status=1
  fi
done
dependencies=$(ninja -C "$build" -t deps)
[ -n "$dependencies" ] || { echo "$build: ninja knows no dependency: nothing was built?"; exit 1; }
if printf '%s\n' "$dependencies" | grep -n ' /usr/local/' || grep -n '/usr/local/' "$build/build.ninja"; then
  echo "the build reads from /usr/local"
  status=1
fi
exit $status
