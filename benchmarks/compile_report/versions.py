"""`python -m benchmarks.compile_report.versions`: what the installed Triton makes of the kernels, beside others.

Compiles one kernel of each kind for every GPU target and adds the lines to versions.csv, under the version that is
installed; versions.md shows all of them. With --further also numbers of sources and head sizes that the report leaves
out. Another version: `pip install --target FOLDER --no-deps triton==3.8.0`, then the command with PYTHONPATH=FOLDER:.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from aid_kernels.interpolated_attention.tuning.tile_sizes import TARGETS, LaunchConfig
from benchmarks.common import result_files
from benchmarks.compile_report.specialisations import HOPPER, MANY, PROMPT, Specialisation

RESULTS = result_files.RESULTS / "compile_report" / "versions.csv"
BLACKWELL = "sm_100"
SPLIT = LaunchConfig(128, 64, 8, 2, pad=True, descriptors=True)


@dataclass(frozen=True)
class VersionLine:
    """One kernel as one version of Triton compiles it; the counts are the largest of any of its main loops."""

    triton: str
    target: str
    kernel: str
    head_dim: int
    registers: int
    spilled_bytes: int
    programs: int
    waits: int
    load_waits: int
    barriers: int
    copies: int
    loads: int
    in_order: int
    problem: str


Wanted = tuple[Specialisation, LaunchConfig | None]


def wanted(further: bool) -> Iterator[Wanted]:
    for target in TARGETS:
        yield Specialisation(target, "outer", "bfloat16", 64, 2, False), None
        for dim in (72, 88) if further else ():
            yield Specialisation(target, "outer", "bfloat16", dim, 2, False), None
    yield Specialisation(HOPPER, "outer", "bfloat16", 64, 2, True), None
    yield Specialisation(HOPPER, "outer", "bfloat16", 64, 2, False, PROMPT), None
    yield Specialisation(HOPPER, "inner_premixed", "bfloat16", 64, 2, False), None
    yield Specialisation(BLACKWELL, "outer", "bfloat16", 64, 2, False), SPLIT
    for dim, sources in ((64, 1), (64, MANY), (96, 2), (128, 2), (256, 2)) if further else ():
        yield Specialisation(HOPPER, "outer", "bfloat16", dim, sources, False), None


def compile_wanted(each: Wanted) -> VersionLine:
    import triton

    from benchmarks.compile_report.compiled_kernel import compile_launch, read_resources
    from benchmarks.compile_report.loops import main_loops, problems, read_loops
    from benchmarks.compile_report.specialisations import describe, make_launch

    case, config = each
    launch = make_launch(case, config)
    row = describe(case, launch)
    name = row.kernel + (", loops split among warps" if config else "")
    counted = ("waits", "load_waits", "barriers", "copies", "loads", "in_order")
    try:
        compiled = compile_launch(launch, case.target)
        found = read_resources(compiled, case.target)
        loops = []
        if not case.target.startswith("gfx"):
            tiles, programs = launch.constants["TILES"], max(1, found.programs)
            loops = read_loops(compiled.asm["cubin"], case.target, tiles, row.warps, programs, itemsize=2)
    except Exception as error:  # noqa: BLE001 - whatever a version's compiler raises is its line
        text = " ".join(str(error).split())[-200:]
        numbers = dict.fromkeys(("registers", "spilled_bytes", "programs", *counted), 0)
        problem = f"{type(error).__name__}: {text}"
        return VersionLine(triton.__version__, case.target, name, case.head_dim, **numbers, problem=problem)
    most = {key: max((getattr(loop, key) for loop in main_loops(loops)), default=0) for key in counted}
    faults = problems(loops, [])
    if config is not None and "setmaxnreg" not in compiled.asm["ptx"]:
        faults.append("loops are not split among warps")
    return VersionLine(
        triton.__version__, case.target, name, case.head_dim, found.registers, found.spilled, found.programs, **most,
        problem="; ".join(faults),
    )  # fmt: skip


def merged(old: Iterable[VersionLine], new: Iterable[VersionLine]) -> list[VersionLine]:
    """Old lines with new ones in place of those of the same version and kernel, newest version first."""
    lines = {(line.triton, line.target, line.kernel, line.head_dim): line for line in (*old, *new)}
    return sorted(
        lines.values(),
        key=lambda line: (TARGETS.index(line.target), line.kernel, line.head_dim, [-n for n in _release(line.triton)]),
    )


def table(lines: Iterable[VersionLine]) -> str:
    names = [field.name for field in fields(VersionLine)]
    head = [
        "# The kernels by versions of Triton",
        "",
        "Written by `python -m benchmarks.compile_report.versions`, once with each version. bf16, 1,001 queries and",
        "keys where no other number is named; counts are of the machine code and the largest of any main loop,",
        "`in_order` is a model. 0 where the code or the chip's table does not tell.",
        "",
        f"| {' | '.join(names)} |",
        "|---" * len(names) + "|",
    ]
    rows = [[str(getattr(line, name)) or "-" for name in names] for line in lines]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows), ""])


def read(path: Path) -> list[VersionLine]:
    if not path.exists():
        return []
    kinds: dict[str, Any] = {field.name: str if field.type == "str" else int for field in fields(VersionLine)}
    with path.open(encoding="utf-8", newline="") as file:
        return [VersionLine(**{name: kinds[name](cell) for name, cell in row.items()}) for row in csv.DictReader(file)]


def write(lines: list[VersionLine], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.DictWriter(file, [field.name for field in fields(VersionLine)], lineterminator="\n")
        sheet.writeheader()
        sheet.writerows(map(asdict, lines))
    path.with_suffix(".md").write_text(table(lines), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--further", action="store_true", help="more head sizes and numbers of sources")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the .csv; the page is beside it")
    parser.add_argument("--jobs", type=int, default=2, help="processes that compile")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        new = []
        for line in pool.imap(compile_wanted, wanted(arguments.further)):
            new.append(line)
            print(*asdict(line).values(), flush=True)
    write(merged(read(arguments.out), new), arguments.out)
    return 0


def _release(version: str) -> list[int]:
    return [int(part) for part in version.split("+")[0].split(".") if part.isdigit()]


if __name__ == "__main__":
    sys.exit(main())
