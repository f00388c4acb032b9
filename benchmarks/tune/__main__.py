"""`python -m benchmarks.tune`: find the best way to launch the kernel on this GPU, layer by layer, and keep it.

Writes `aid_kernels/configs/<gpu>.json`, which the kernel and `impl="auto"` read. Every candidate is compiled beside,
checked against float64, then timed; the fastest few are timed again in turns with the usual configuration and `sdpa`.
What does not win by more than the noise is not kept. As a part of `python -m benchmarks.gpu` it writes to that run's
folder.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch

from aid_kernels.interpolated_attention.tuning.files import SHIPPED
from benchmarks.common import machine
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.tune import choice
from benchmarks.tune.search import run, write


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the file; default: the package's own, aid_kernels/configs")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop then, with what was found (%(default)g)")
    parser.add_argument(
        "--smoke", action="store_true", help="on the CPU, tiny, interpreted: tries the code; needs --out"
    )
    options = parser.parse_args(arguments)
    if options.smoke and (options.out is None or options.out.resolve() == SHIPPED.resolve()):
        parser.error("--smoke measures nothing: give it --out, a folder other than the package's own")
    if options.smoke:
        os.environ.setdefault("TRITON_INTERPRET", "1")
    elif not torch.cuda.is_available():
        parser.error("no CUDA device; --smoke tries the code on the CPU")
    device = torch.device("cpu" if options.smoke else "cuda")
    settings = BenchmarkSettings(device=device, smoke=options.smoke, deadline=time.monotonic() + 60 * options.minutes)
    rows = []
    for row in run(settings):
        rows.append(row)
        print(tune_line(row), flush=True)
    path = write(options.out or SHIPPED, rows, machine.describe_gpu(device), settings)
    print(f"wrote {path}" if path else "nothing was measured to its end; no file")


def tune_line(row: Row) -> str:
    """A measurement to read while it runs."""
    what = row["peer"] if row["peer"] == "sdpa" else " ".join(f"{k}={v}" for k, v in choice.config_of(row))
    result = row.get("problem") or f"{row['median_ms']:.4f} ms"
    return f"{row['shape']}, {row['mode']}, J={row['sources']}, {row['round']}: {what}: {result}"


if __name__ == "__main__":
    main()
