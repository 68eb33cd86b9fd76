#!/bin/sh
# drums_full.sh FOLDER: single hits of the drum kits in the Debian package hydrogen-drumkits, as
#   FOLDER/{clap,cymbal,hat,kick,percussion,rim,snare,tom}/KIT_FILE.wav
# mono, 16 kHz, 16 bits, at most a second, silence at the start cut off, faded at the cut, levels as they are among the
# layers of a kit. Classes come from the instruments' names in drumkit.xml; names that say nothing are passed over. The
# kits are under GPL, CC-BY and CC-BY-SA: FOLDER/copyright. Needs apt-get, dpkg-deb and sox.
set -eu

folder=$1
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -qq hydrogen-drumkits && dpkg-deb -x hydrogen-drumkits_*.deb .)
cp "$work/usr/share/doc/hydrogen-drumkits/copyright" "$folder/copyright"

# "CLASS FILE" of each layer; a tag a line is how Hydrogen writes them.
for kit in "$work"/usr/share/hydrogen/data/drumkits/*/; do
  prefix=$(basename "$kit" | tr -cd 'A-Za-z0-9')
  awk '
    function text(line) { sub(/^[^>]*>/, "", line); sub(/<.*$/, "", line); return line }
    /<instrument>/ { class = ""; is_named = 0 }
    /<name>/ && !is_named {
      is_named = 1
      name = tolower(text($0))
      if (name ~ /hat|(^| )o?hh/) class = "hat"
      else if (name ~ /kick|bass ?drum/) class = "kick"
      else if (name ~ /snare/) class = "snare"
      else if (name ~ /rim|stick|click/) class = "rim"
      else if (name ~ /(^| )(floor )?tom/) class = "tom"
      else if (name ~ /crash|ride|splash|china|cymbal/) class = "cymbal"
      else if (name ~ /clap|snap/) class = "clap"
      else if (name ~ /bell|agogo|clave|woodblock|tambourine|maraca|bongo|conga|djembe|cajon/) class = "percussion"
    }
    /<filename>/ && class != "" { print class, text($0) }' "$kit/drumkit.xml" | sort -u >"$work/layers"
  while read -r class file; do
    [ -f "$kit/$file" ] || continue
    name=${prefix}_$(printf '%s' "${file%.*}" | tr -c 'A-Za-z0-9\n' -)
    mkdir -p "$folder/$class"
    sox -D -R -V1 -G "$kit/$file" -b 16 "$folder/$class/$name.wav" remix - rate -h 16000 silence 1 0.001 0.5% \
      reverse silence 1 0.001 0.1% reverse trim 0 1 reverse fade t 0.02 reverse </dev/null
    # Of what is below the threshold throughout nothing is left.
    [ "$(wc -c <"$folder/$class/$name.wav")" -gt 300 ] || rm "$folder/$class/$name.wav"
  done <"$work/layers"
done
