#!/bin/sh
# style.sh ROOT: what holds for every source file: ASCII only, at most 400 lines.
set -eu
cd "$1"
# shellcheck disable=SC2016  # awk's own variables
find core samplers text modalities experiments tests examples benchmarks -type f \( -name '*.h' -o -name '*.cpp' \) | sort |
  LC_ALL=C xargs awk '
    FNR == 1 { files++ }
    /[^\t -~]/ { printf "%s:%d: a character outside ASCII\n", FILENAME, FNR; bad = 1 }
    FNR == 401 { printf "%s: more than 400 lines\n", FILENAME; bad = 1 }
    END { if (!files) { print "no source file was found: wrong folder?"; bad = 1 } exit bad }'
