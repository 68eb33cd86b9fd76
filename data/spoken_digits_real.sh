#!/bin/sh
# spoken_digits_real.sh FOLDER: zero to nine as a person says them, once, from the Debian package
# asterisk-core-sounds-en-wav (Allison Smith, CC-BY-SA 3.0: FOLDER/copyright), as FOLDER/{zero ... nine}/allison.wav:
# 16 kHz made of 8 kHz, so silent above 4 kHz, otherwise as data/spoken_digits.sh makes them. Needs apt-get, dpkg-deb, sox.
set -eu

folder=$1
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -qq asterisk-core-sounds-en-wav && dpkg-deb -x asterisk-core-sounds-en-wav_*.deb .)
cp "$work/usr/share/doc/asterisk-core-sounds-en-wav/copyright" "$folder/copyright"
digit=0
for word in zero one two three four five six seven eight nine; do
  mkdir -p "$folder/$word"
  sox -D -R -V1 "$work/usr/share/asterisk/sounds/en_US_f_Allison/digits/$digit.wav" -b 16 "$folder/$word/allison.wav" \
    rate -h 16000 silence 1 0.001 0.8% reverse silence 1 0.001 0.8% reverse trim 0 1 reverse fade t 0.01 reverse gain -n -1
  digit=$((digit + 1))
done
