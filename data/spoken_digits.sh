#!/bin/sh
# spoken_digits.sh FOLDER: the words zero to nine, spoken by espeak-ng, as
#   FOLDER/{train,test}/{zero ... nine}/VOICE_SPEED_PITCH.wav
# mono, 16 kHz, 16 bits, at most a second, silence at the ends cut off, peak at -1 dB; testing_list.txt names those of
# test, as Speech Commands does. A voice is an accent and a variant; no variant of test speaks in train. Needs espeak-ng
# and sox; the same versions of both make the same bytes. A file appears when it is whole.
set -eu

accents="en-us en-gb en-gb-scotland en-gb-x-rp en-029 en-us-nyc"
train="m1 m2 m3 m4 m6 m8 f1 f2 f3 f4 croak adam Alicia Andrea belinda Denis linda Michael steph zac grandma"
test="m5 m7 f5 Alex Annie"
words="zero one two three four five six seven eight nine"

# one FOLDER SIDE VOICE SPEED PITCH: its ten words.
if [ "$1" = one ]; then
  folder=$2 side=$3 voice=$4 speed=$5 pitch=$6
  raw=$folder/raw.$$.wav
  name=$(printf '%s' "$voice" | tr + -)_${speed}_$pitch
  for word in $words; do
    espeak-ng -v "$voice" -s "$speed" -p "$pitch" -w "$raw" "$word"
    # A fade at the end, turned round: sox knows where a sound begins.
    sox -D -R -V1 "$raw" -b 16 "$raw.cut.wav" rate -h 16000 silence 1 0.001 0.8% reverse silence 1 0.001 0.8% reverse \
      trim 0 1 reverse fade t 0.01 reverse gain -n -1
    mv "$raw.cut.wav" "$folder/$side/$word/$name.wav"
  done
  rm -f "$raw"
  exit
fi

folder=$1
for word in $words; do mkdir -p "$folder/train/$word" "$folder/test/$word"; done
# Each voice speaks twice, the voices in turn at other speeds (words a minute) and pitches (0 to 99).
number=0
for side in train test; do
  eval "variants=\$$side"
  for variant in $variants; do
    for accent in $accents; do
      case $((number % 3)) in
        0) manners="140:40 180:60" ;;
        1) manners="155:65 195:45" ;;
        *) manners="165:50 210:35" ;;
      esac
      for manner in $manners; do echo "$side $accent+$variant ${manner%:*} ${manner#*:}"; done
      number=$((number + 1))
    done
  done
done | xargs -P "$(nproc 2>/dev/null || echo 2)" -L 1 sh "$0" one "$folder"
(cd "$folder" && find test -name '*.wav' | LC_ALL=C sort >testing_list.txt)
