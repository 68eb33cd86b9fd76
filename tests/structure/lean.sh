#!/bin/sh
# lean.sh PROGRAM: the lean program needs of the machine only libc, libstdc++ and libtorch with what that brings.
set -eu
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ -n "$needed" ] || { echo "$1: no dynamic section was read"; exit 1; }
others=$(printf '%s\n' "$needed" | grep -vE '^(libc10|libtorch_cpu|libstdc\+\+|libgcc_s|libm|libc|ld-linux.*)\.so' || true)
if [ -n "$others" ]; then
  echo "the lean program also needs:" $others
  exit 1
fi
printf 'needs: %s\n' "$(printf '%s ' $needed)"
