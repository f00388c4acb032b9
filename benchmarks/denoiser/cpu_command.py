"""The command line that benchmarks of the miniature on a CPU share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks.common import result_files, sources
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.denoiser.unets import miniature_weights


def run_command(
    name: str,
    about: str | None,
    rows: Callable[[BenchmarkSettings], Iterable[Row]],
    page: Callable[[result_files.Result], str],
    arguments: list[str] | None,
) -> None:
    """`python -m benchmarks.NAME`: measures `rows` in fp32 and writes NAME.json and `page` of it as NAME.md."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--out", type=Path, default=result_files.CPU, help="folder to write to; default %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--smoke", action="store_true", help="as little as runs the code")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = BenchmarkSettings(torch.device("cpu"), torch.float32, options.smoke)
    result = result_files.new(f"python -m benchmarks.{name}", settings, sources.SEQUENCE)
    result |= {"weights": miniature_weights(), "rows": result_files.printed(rows(settings))}
    result_files.write(result, options.out, name, page(result))
