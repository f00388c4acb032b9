#!/usr/bin/env bash
# Generates the images of README.md and docs/ again, with the miniature; needs an environment with this package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p docs/images

# name, then the options of `aid interpolate`
strip() {
  local name=$1
  shift
  "$python" -m aid_pipeline interpolate "$@" --no-video --out "$work/$name"
  cp "$work/$name/sequence.png" "docs/images/$name.png"
}

first="a shiny red sphere on a wooden floor at sunset"
last="a shiny blue cube on a wooden floor at sunset"
strip outer "$first" "$last" --mode outer
strip inner "$first" "$last" --mode inner
strip none "$first" "$last" --mode none
strip denoising "$first" "$last" --mode denoising
strip guided "$first" "$last" --mode outer --guide "a shiny purple cone on a wooden floor at sunset"
