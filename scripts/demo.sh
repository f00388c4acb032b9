#!/usr/bin/env bash
# Sets everything up and runs the main job.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" video
exec .venv/bin/python -m aid_kernels.demo "$@"
