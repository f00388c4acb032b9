#!/usr/bin/env bash
# Sets everything up and makes a sequence of seven frames with the miniature, in runs/demo.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" video
exec .venv/bin/aid interpolate "a red sphere" "a blue cube" --frames 7 --seed 6 --out runs/demo "$@"
