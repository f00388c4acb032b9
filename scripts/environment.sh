# Sourced by the other scripts: a virtual environment in .venv with this package and the extras given in $1.
# Without an NVIDIA driver the CPU build of torch goes in first, so that nothing drags in CUDA packages;
# with one, the torch that is already there is kept and seen from inside the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

has_nvidia_driver() {
  [ -e /proc/driver/nvidia/version ] || [ -e /dev/nvidiactl ] || command -v nvidia-smi >/dev/null 2>&1
}

find_python() {
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "$name"
      return
    fi
  done
  echo "No Python >= 3.11 found; set PYTHON=/path/to/python3." >&2
  return 1
}

extras=$1
# what was installed, so that a second run of a script starts at once
stamp=.venv/installed-$(cat pyproject.toml scripts/environment.sh | cksum | cut -d' ' -f1)-$extras

if [ ! -e "$stamp" ]; then
  python=$(find_python)
  if [ ! -x .venv/bin/python ]; then
    if has_nvidia_driver && "$python" -c 'import torch' 2>/dev/null; then
      "$python" -m venv --system-site-packages .venv
    else
      "$python" -m venv .venv
    fi
  fi
  if ! has_nvidia_driver && ! .venv/bin/python -c 'import torch' 2>/dev/null; then
    .venv/bin/python -m pip install --quiet torch==2.13.0
  fi
  .venv/bin/python -m pip install --quiet --editable ".[$extras]"
  touch "$stamp"
fi
