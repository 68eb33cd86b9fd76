#!/bin/sh
# tidy.sh ROOT [FILE...]: clang-tidy (.clang-tidy in ROOT) over the sources that need no libtorch, or those named. Any
# finding fails. Needs no build: the flags are the ones that matter to what is read.
set -eu
cd "$1"
shift
tidy=
for name in clang-tidy clang-tidy-14 clang-tidy-15 clang-tidy-16 clang-tidy-18 clang-tidy-19; do
  if command -v "$name" >/dev/null 2>&1; then tidy=$name && break; fi
done
if [ -z "$tidy" ]; then
  echo "skipped: clang-tidy is missing (apt-get install clang-tidy)"
  exit 77
fi
if [ "$#" -eq 0 ]; then
  # shellcheck disable=SC2046  # names without blanks
  set -- $(find core/base core/math core/io samplers text/tokens -name '*.cpp' | sort)
fi
[ "$#" -gt 0 ] || { echo "no source file was found: wrong folder?"; exit 1; }
status=0
# Findings go to stdout; stderr only counts those suppressed in system headers, unless clang-tidy itself fails.
# shellcheck disable=SC2016  # expanded by the inner shell
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 sh -c '
  "$0" --config-file=.clang-tidy --quiet --warnings-as-errors="*" "$@" -- -std=c++20 -march=x86-64-v3 -Wall -Wextra -I. 2>"${TMPDIR:-/tmp}/tidy.$$" ||
    { grep -v "warnings generated" "${TMPDIR:-/tmp}/tidy.$$"; rm "${TMPDIR:-/tmp}/tidy.$$"; exit 1; }
  rm "${TMPDIR:-/tmp}/tidy.$$"' "$tidy" || status=1
echo "$# files read by $tidy $("$tidy" --version | sed -n 's/.*version \([0-9.]*\).*/\1/p' | head -n 1)"
exit "$status"
