#!/bin/sh
# includes.sh ROOT: reads every #include of the tree and fails with one line for each that the layering forbids.
#   core           nothing of samplers, text, modalities, experiments; core/base, core/math, core/io also no torch and of core
#                  only each other
#   samplers       core only, no torch
#   text           core and itself; text/tokens also no torch and of core only core/base, core/math and core/io
#   modalities/x   core, text, modalities/media and itself
#   everything     not experiments (its own files, tests, examples and benchmarks excepted)
#   torch          never torch/torch.h, torch/all.h, torch/nn*; CUDA headers in core/cuda only; libav and libsndfile in
#                  modalities/media only
set -eu
cd "$1"

find core samplers text modalities experiments tests examples benchmarks cmake -type f \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.def' \) 2>/dev/null | sort >"${TMPDIR:-/tmp}/thaw_includes.$$"
trap 'rm -f "${TMPDIR:-/tmp}/thaw_includes.$$"' EXIT

xargs grep -HnE '^[[:space:]]*#[[:space:]]*include' <"${TMPDIR:-/tmp}/thaw_includes.$$" | awk '
function refuse(reason) { printf "%s:%s: includes %s: %s\n", file, line, header, reason; bad = 1 }
{
  split($0, part, ":"); file = part[1]; line = part[2]
  if (!match($0, /[<"][^>"]+[>"]/)) next
  header = substr($0, RSTART + 1, RLENGTH - 2)
  seen++
  split(file, f, "/"); split(header, h, "/")
  torch = header ~ /^(ATen|c10|torch|caffe2)\//
  torch_free = file ~ /^core\/(base|math|io)\//

  if (header ~ /^torch\/(torch|all)\.h$/ || header ~ /^torch\/(csrc\/api\/include\/torch\/)?nn[.\/]/)
    refuse("takes 10 s and more to compile; use ATen")
  if (header ~ /(^|\/)\.\.\//) refuse("include paths start at the root of the repository")
  if (header ~ /^(ATen|c10)\/cuda\// && file !~ /^core\/cuda\//) refuse("only core/cuda sees CUDA")
  if (header ~ /^(libav|libsw)[a-z]*\/|^sndfile\.h/ && file !~ /^(modalities|tests)\/media\//)
    refuse("only modalities/media sees libav and libsndfile")
  if (h[1] == "experiments" && f[1] !~ /^(experiments|tests|examples|benchmarks)$/) refuse("nothing includes experiments")

  if (f[1] == "core") {
    if (h[1] ~ /^(samplers|text|modalities)$/) refuse("core knows no samplers, no text and no modalities")
    if (torch_free && torch) refuse("core/base, core/math and core/io are free of torch")
    if (torch_free && h[1] == "core" && header !~ /^core\/(base|math|io)\//)
      refuse("core/base, core/math and core/io include of core only each other")
  }
  if (f[1] == "samplers") {
    if (torch) refuse("samplers are free of torch")
    if (h[1] ~ /^(text|modalities)$/) refuse("samplers know no text and no modalities")
  }
  if (f[1] == "text") {
    if (h[1] ~ /^(samplers|modalities)$/) refuse("text knows no samplers and no modalities")
    if (f[2] == "tokens") {
      if (torch) refuse("text/tokens is free of torch")
      if (h[1] == "core" && header !~ /^core\/(base|math|io)\//)
        refuse("text/tokens includes of core only core/base, core/math and core/io")
      if (h[1] == "text" && h[2] != "tokens") refuse("text/tokens includes of text only itself")
    }
  }
  if (f[1] == "modalities") {
    if (h[1] == "samplers") refuse("a modality knows no samplers")
    if (h[1] == "modalities" && h[2] != f[2] && h[2] != "media") refuse("a modality includes no other modality")
  }
}
END {
  if (seen < 1) { print "no #include was found: wrong folder?"; exit 1 }
  if (!bad) printf "%d includes, none against the layering\n", seen
  exit bad
}'
