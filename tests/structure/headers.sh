#!/bin/sh
# headers.sh plain|torch ROOT COMPILER FLAG...: each header compiles alone, and twice over.
# plain: the folders that are free of torch, compiled without libtorch's include path, so that torch reached through
# another header is caught too. torch: all other headers.
set -eu
kind=$1 root=$2
shift 2
cd "$root"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
plain='core/base core/math core/io samplers text/tokens modalities/media'
case $kind in
  plain)
    # shellcheck disable=SC2086  # a list of folders
    headers=$(find $plain -name '*.h' | sort)
    ;;
  torch)
    headers=$(find core text modalities experiments -name '*.h' | sort |
      grep -vE '^(core/(base|math|io|cuda)|text/tokens|modalities/media)/')
    ;;
esac
[ -n "$headers" ] || { echo "no header was found: wrong folder?"; exit 1; }

# xargs appends the header after the compiler and its flags; the inner shell takes it from the end.
# shellcheck disable=SC2016  # expanded by the inner shell
printf '%s\n' "$headers" | xargs -P "$(nproc)" -n 1 sh -c '
  for header in "$@"; do :; done
  printf "#include \"%s\"\n#include \"%s\"\n" "$header" "$header" >"$0/$$.cpp"
  i=1 count=$#
  while [ "$i" -lt "$count" ]; do set -- "$@" "$1"; shift; i=$((i + 1)); done
  shift
  "$@" -fsyntax-only -I. "$0/$$.cpp" || { echo "$header does not compile alone"; exit 1; }' "$scratch" "$@"
echo "$(printf '%s\n' "$headers" | wc -l) headers compile alone"
