"""`python -m benchmarks.gpu --out DIR`: everything that is to be measured on a GPU, in one command, under 9 minutes.

Machine and versions; the kernels' tests, and nothing more where one fails; ceilings; tuning; every peer on every layer;
whole denoisers; many users; `--plan` lists it. No network, no weights. Time that runs short ends a part early and
cleanly: DIR always holds what was measured so far, in at most 8 files and 16 MB. `--smoke` runs every part small on a
CPU, kernels interpreted: it tries the code and measures nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.common import machine, result_files, sources
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.gpu import parts as gpu_parts
from benchmarks.gpu.files import RunFolder

DIRECTORY_VARIABLE = "AID_KERNELS_CONFIG_DIR"
RESERVE = 5.0  # seconds at the end, for the files
SMOKE_MINUTES = 30.0  # of a machine as slow as any


def main(arguments: list[str] | None = None) -> int:
    options, parser = _options(arguments)
    start = time.monotonic()
    minutes = options.minutes or (SMOKE_MINUTES if options.smoke else 9.0)
    end = start + 60 * minutes - (0.0 if options.smoke else RESERVE)
    settings = BenchmarkSettings(
        device=torch.device("cpu" if options.smoke else "cuda"), smoke=options.smoke, deadline=end, seed=options.seed
    )
    parts = gpu_parts.chosen(options.only)
    if options.plan:
        print(gpu_parts.plan(parts, settings, minutes))
        return 0
    if options.out is None:
        parser.error("--out DIR is needed: where the results go")
    if options.smoke:
        # before anything imports the kernels
        os.environ.setdefault("TRITON_INTERPRET", "1")
    elif not torch.cuda.is_available():
        parser.error("no CUDA device; --smoke tries the code on a CPU")
    elif os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        parser.error("TRITON_INTERPRET is set, which GPUs exclude; unset it")
    try:
        folder = _folder(options.out, options.commit, settings)
    except ValueError as error:
        parser.error(str(error))
    print(machine.line(folder.about["machine"]))
    print(", ".join(f"{name} {text}" for name, text in folder.about["machine"].items()), flush=True)
    if options.only == [gpu_parts.MACHINE]:
        folder.finish()
        return 0
    return run(folder, parts, settings)


def run(folder: RunFolder, parts: list[gpu_parts.PartOfRun], settings: BenchmarkSettings) -> int:
    """The tests, then the parts; 0 if the tests are green and no part broke."""
    from benchmarks.gpu import correctness

    now = time.monotonic()
    until = settings.deadline if not parts else now + gpu_parts.MOST_OF_CORRECTNESS * (settings.deadline - now)
    print("== correctness", flush=True)
    outcome = correctness.check(dataclasses.replace(settings, deadline=until))
    folder.write_log(outcome.log)
    folder.add(outcome.row)
    print(_line(outcome.row), flush=True)
    if not outcome.green:
        print("the tests are not green: nothing is timed", flush=True)
        folder.finish()
        return 1
    broken = 0
    modules = [(part, part.load()) for part in parts]
    for place, (part, module) in enumerate(modules):
        print(f"== {part.name}", flush=True)
        if isinstance(module, str):
            folder.add({"part": part.name, "problem": module})
            print(module, flush=True)
            broken += settings.smoke
            continue
        left = [one.estimated_minutes(settings) for _, one in modules[place:] if not isinstance(one, str)]
        until = gpu_parts.deadline_of_first(left, time.monotonic(), settings.deadline)
        broken += not _run_part(part.name, module, dataclasses.replace(settings, deadline=until), folder)
        folder.write()
    folder.finish()
    print(f"wrote {folder.folder}; {broken} parts broke; {max(0.0, settings.time_left()):.0f} s were left", flush=True)
    return 1 if broken else 0


def _run_part(name: str, module: ModuleType, settings: BenchmarkSettings, folder: RunFolder) -> bool:
    """All rows of a part, each kept as it comes; whether it came to its end without an error."""
    if settings.expired():
        folder.add({"part": name, "problem": "no time was left"})
        return True
    rows = []
    try:
        for row in module.run(settings):
            rows.append(row)
            folder.add(row)
            print(_line(row), flush=True)
        if name == "tune":
            written = module.write(folder.folder, rows, folder.about["machine"], settings)
            if written and not settings.smoke:
                # the parts that follow run with what was found
                os.environ[DIRECTORY_VARIABLE] = str(folder.folder.resolve())
    except Exception as error:  # noqa: BLE001 - one part that breaks must not take the others' results along
        traceback.print_exc()
        folder.add({"part": name, "problem": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
        return False
    finally:
        if settings.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _folder(out: Path, commit: str | None, settings: BenchmarkSettings) -> RunFolder:
    from aid_kernels.interpolated_attention.tuning.files import file_name

    about: dict[str, Any] = result_files.new("python -m benchmarks.gpu", settings, sources.GPU)
    about["machine"] = machine.describe_gpu(settings.device, commit)
    return RunFolder(out, about, file_name(about["machine"]["gpu"]))


def _options(arguments: list[str] | None) -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for the results, empty, new, or an earlier run's")
    parser.add_argument("--minutes", type=float, help="hard limit of the whole run (9)")
    parser.add_argument(
        "--only", nargs="+", choices=gpu_parts.NAMES, metavar="PART", help=f"some of {', '.join(gpu_parts.NAMES)}"
    )
    parser.add_argument("--plan", action="store_true", help="say what would be run, and for how long; run nothing")
    parser.add_argument("--smoke", action="store_true", help="small, on the CPU; not among benchmarks/results")
    parser.add_argument("--seed", type=int, default=0, help="of all random data (%(default)s)")
    parser.add_argument("--commit", help="what the code is at, where git cannot tell")
    options = parser.parse_args(arguments)
    if options.minutes is not None and options.minutes <= 0:
        parser.error(f"--minutes must be above 0, got {options.minutes:g}")
    return options, parser


def _line(row: Row) -> str:
    """A row to read while it runs."""
    hidden = ("part", "smoke", "heads", "query_length", "key_length", "head_dim", "rounds", "masked")
    shown = {name: value for name, value in row.items() if name not in hidden}
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items()
    )


if __name__ == "__main__":
    sys.exit(main())
