#!/bin/sh
# includes_selftest.sh FOLDER_OF_THIS_FILE: includes.sh must refuse one violation of each rule, and pass what is allowed.
set -eu
here=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

fresh_tree() {
  rm -rf "$tree"
  mkdir -p "$tree/core/base" "$tree/core/cuda" "$tree/samplers" "$tree/modalities/images" "$tree/modalities/media" \
    "$tree/modalities/audio" "$tree/text/tokens" "$tree/experiments" "$tree/tests/core"
  echo '#include <vector>' >"$tree/core/base/ok.h"
}

# refused FILE HEADER: an include of HEADER in FILE is named with file and line.
refused() {
  fresh_tree
  printf '\n#include %s\n' "$2" >"$tree/$1"
  if output=$(sh "$here/includes.sh" "$tree"); then
    echo "not refused: $2 in $1"
    failed=1
  else
    case $output in
      "$1:2: includes "*) ;;
      *)
        echo "refused without naming $1:2: $output"
        failed=1
        ;;
    esac
  fi
}

allowed() {
  fresh_tree
  echo "#include $2" >"$tree/$1"
  if ! output=$(sh "$here/includes.sh" "$tree"); then
    echo "wrongly refused: $output"
    failed=1
  fi
}

refused core/x.h '"samplers/sampler.h"'
refused core/x.cpp '"modalities/images/codec.h"'
refused core/x.cpp '"experiments/run.h"'
refused core/base/x.h '<ATen/core/Tensor.h>'
refused core/base/x.h '<c10/util/Half.h>'
refused core/base/x.h '"core/latent.h"'
refused core/x.cpp '<torch/torch.h>'
refused core/x.cpp '<torch/nn/module.h>'
refused core/x.cpp '<torch/nn.h>'
refused tests/core/test_x.cpp '<torch/torch.h>'
refused core/x.cpp '<c10/cuda/CUDAGuard.h>'
refused core/x.cpp '"../base/ok.h"'
refused core/x.cpp '<sndfile.h>'
refused experiments/x.cpp '<libavcodec/avcodec.h>'
refused samplers/x.cpp '<ATen/ATen.h>'
refused samplers/x.cpp '"modalities/images/codec.h"'
refused samplers/x.cpp '"experiments/run.h"'
refused core/x.cpp '"text/conditioner.h"'
refused samplers/x.cpp '"text/tokens/tokenizer.h"'
refused text/x.cpp '"samplers/sampler.h"'
refused text/x.cpp '"modalities/images/codec.h"'
refused text/tokens/x.cpp '<ATen/ATen.h>'
refused text/tokens/x.cpp '"core/latent.h"'
refused text/tokens/x.cpp '"text/conditioner.h"'
refused modalities/images/x.cpp '"samplers/sampler.h"'
refused modalities/images/x.cpp '"modalities/audio/codec.h"'
refused modalities/images/x.cpp '"experiments/run.h"'
allowed text/x.cpp '"core/published.h"'
allowed text/tokens/x.cpp '"core/io/json_guard.h"'
allowed modalities/images/x.cpp '"text/conditioner.h"'
allowed core/x.cpp '<ATen/ATen.h>'
allowed core/cuda/x.cpp '<c10/cuda/CUDAGuard.h>'
allowed modalities/images/x.cpp '"modalities/media/video.h"'
allowed modalities/images/x.cpp '"modalities/images/codec.h"'
allowed modalities/media/x.cpp '<libavcodec/avcodec.h>'
allowed experiments/x.cpp '"experiments/run.h"'
allowed tests/core/test_x.cpp '"experiments/run.h"'
exit $failed
