#!/bin/sh
# Makes the sounds of this folder anew, from the Debian package sonic-pi-samples:  sh data/drums/make.sh
# Needs apt-get, dpkg-deb and sox (apt-get install sox). Takes no sound whose own entry in the package's copyright file
# is not CC0.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -qq sonic-pi-samples && dpkg-deb -x sonic-pi-samples_*.deb .)
samples=$work/usr/share/sonic-pi/samples
# Of the paragraphs of the copyright file with "License: CC0": name, who made it, where it is from.
awk 'BEGIN { RS = ""; FS = "\n" } /\nLicense: CC0/ {
  by = from = ""
  for (i = 1; i <= NF; ++i) {
    if ($i ~ /^Copyright:/) by = substr($i, 12)
    if ($i ~ /^Source:/) from = substr($i, 9)
  }
  for (i = 1; i <= NF; ++i)
    if (match($i, /etc\/samples\/.*\.flac/)) print substr($i, RSTART + 12, RLENGTH - 17) "\t" by "\t" from
}' "$work/usr/share/doc/sonic-pi-samples/copyright" >"$work/cc0"
printf 'sound\tby\tfrom\n' >"$here/sources.tsv"

# take CLASS NAME...: mono, 16 kHz, 16 bits, from the first sound on at most a second, faded at the cut, peak at -1 dB.
take() {
  class=$1
  shift
  mkdir -p "$here/$class"
  rm -f "$here/$class"/*.wav
  for name in "$@"; do
    awk -F '\t' -v OFS='\t' -v name="$name" -v class="$class" '$1 == name { $1 = class "/" name ".wav"; print; found = 1 }
      END { exit !found }' "$work/cc0" >>"$here/sources.tsv" || {
      echo "$name: not CC0 by its own entry" >&2
      exit 1
    }
    # Twice: only of a file does fade know the end.
    sox -D -R -V1 "$samples/$name.flac" -b 32 "$work/cut.wav" remix - rate -h 16000 \
      silence 1 0.001 0.5% reverse silence 1 0.001 0.3% reverse trim 0 0.99
    sox -D -R -V1 "$work/cut.wav" -b 16 "$here/$class/$name.wav" fade t 0 -0 0.02 gain -n -1
  done
}

take cymbal drum_cymbal_closed drum_cymbal_hard drum_cymbal_open drum_cymbal_pedal drum_cymbal_soft \
  drum_splash_hard drum_splash_soft elec_cymbal
take electronic elec_beep elec_bell elec_blip elec_blip2 elec_blup elec_bong elec_chime elec_flip elec_ping elec_plip \
  elec_pop elec_tick elec_triangle elec_twang elec_twip elec_wood
take kick bd_808 bd_ada bd_boom bd_fat bd_gas bd_haus bd_klub bd_pure bd_sone bd_tek bd_zome bd_zum \
  drum_bass_hard drum_bass_soft drum_heavy_kick elec_hollow_kick elec_soft_kick
take snare drum_snare_hard drum_snare_soft sn_dolf sn_dub sn_zome \
  elec_filt_snare elec_hi_snare elec_lo_snare elec_mid_snare elec_snare
take tabla tabla_dhec tabla_ghe1 tabla_ghe2 tabla_ghe3 tabla_ghe4 tabla_ghe5 tabla_ghe6 tabla_ghe7 tabla_ghe8 \
  tabla_ke1 tabla_ke2 tabla_ke3 tabla_na tabla_na_o tabla_na_s tabla_re tabla_tas1 tabla_tas2 tabla_tas3 \
  tabla_te1 tabla_te2 tabla_te_m tabla_te_ne tabla_tun1 tabla_tun2 tabla_tun3
take tom drum_tom_hi_hard drum_tom_hi_soft drum_tom_lo_hard drum_tom_lo_soft drum_tom_mid_hard drum_tom_mid_soft \
  elec_fuzz_tom
