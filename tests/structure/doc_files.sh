#!/bin/sh
# Code that a page shows as a file of the repository is that file: `<!-- file: PATH -->` before the block.
set -eu
cd "$(dirname "$0")/../.."
found=0
for page in docs/*.md README.md; do
  for path in $(sed -n 's/^<!-- file: \(.*\) -->$/\1/p' "$page"); do
    shown=$(awk -v mark="<!-- file: $path -->" '
      $0 == mark { wanted = 1; next }
      wanted && /^```/ { if (inside) exit; inside = 1; next }
      wanted && inside { print }' "$page")
    if [ "$shown" != "$(cat "$path")" ]; then
      echo "$page: the block of $path is not that file as it is."
      exit 1
    fi
    found=$((found + 1))
  done
done
[ "$found" -ge 1 ] || { echo "no page shows a file: the marks have changed."; exit 1; }
echo "$found blocks agree."
