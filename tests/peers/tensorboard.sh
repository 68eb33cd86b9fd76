#!/bin/sh
# tensorboard.sh ROOT PROGRAM: a small training, interrupted once, whose event files the tensorboard package reads back.
# Needs the package, in python3 itself or in build/python:
#   python3 -m pip install --target build/python --only-binary=:all: tensorboard==2.21.0
set -eu
root=$1 program=$2
cd "$root"
export PYTHONPATH="$root/build/python${PYTHONPATH:+:$PYTHONPATH}"
if ! python3 -c 'import tensorboard' 2>/dev/null; then
  echo "skipped: the tensorboard package is missing (see the head of tests/peers/tensorboard.sh)"
  exit 77
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat >"$place/small.yaml" <<'END'
seed: 3
precision: float32
dataset: {type: mnist, path: data/mnist, split: train, range: [0, 512]}
backbone: {type: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
train: {steps: 30, batch: 16, checkpoint_every: 5, preview_every: 10, validate_every: 15, log_every: 2}
sampler: ddim
grid: {type: trailing, steps: 2}
END
"$program" train "$place/small.yaml" "out=$place/run" 2>/dev/null &
child=$!
# Killed behind its first checkpoint, so that events of steps done twice are there to be dropped.
while [ ! -e "$place/run/checkpoints/step_0000005.json" ] && kill -0 "$child" 2>/dev/null; do sleep 0.01; done
kill -KILL "$child" 2>/dev/null || true
wait "$child" || true
"$program" train "$place/small.yaml" "out=$place/run"
python3 tests/peers/tensorboard_check.py "$place/run"
