#!/usr/bin/env bash
# Sets everything up and runs the tests; --fast leaves out the slow ones, all other arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" dev
if [ "${1:-}" = --fast ]; then
  shift
  set -- -m "not slow" "$@"
fi
# one thread a worker: two workers with all cores each would fight
OMP_NUM_THREADS=1 exec .venv/bin/python -m pytest -n 2 --dist worksteal "$@"
