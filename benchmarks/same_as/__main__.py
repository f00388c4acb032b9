"""`python -m benchmarks.same_as OLD [RESULT ...]`: does this tree compute what an older checkout computes?

Runs the same work in both: the stock operator on the committed CPU cases, with masks and banks, and short sequences of
the miniature; for results of selection and of the comparison those too. Where every ATen operation, but for those on
whole numbers alone, has the same shapes, strides, dtypes and place, and every result the same bits, the results'
"sources" are recorded anew, with what they were proven the same as. Where not, it says the first difference and writes
nothing. Times are not compared.

`--bits` compares results alone, for results of selection and of the comparison, by the images that they are made of:
code that does a little more for the same bits, or other things at sizes that the miniature has not, changes none of
their figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.common.result_files import RESULTS, Result
from benchmarks.common.sources import COMPARISON, MEASURED, SELECTION, SEQUENCE, STOCK, Tree, recorded

TRACE = Path(__file__).with_name("trace.py")
WORK = {
    STOCK: ("operator",),
    SEQUENCE: ("operator", "sequence"),
    SELECTION: ("operator", "sequence", "selection"),
    COMPARISON: ("operator", "sequence", "comparison"),
}


def trace(root: Path, workload: str, measured: Path, folder: Path) -> Path:
    """The file of what a tree does, traced in a process of its own.

    Raises:
        SystemExit: it failed there.
    """
    out = folder / f"{workload}-{len(list(folder.iterdir()))}.txt"
    call = [sys.executable, "-P", "-W", "ignore", str(TRACE), workload, str(out), str(measured)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(call, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{workload} failed in {root}:\n{done.stderr[-2000:]}")
    return out


def first_difference(before: Path, after: Path, bits: bool = False) -> str:
    """Where two traces part, or nothing.

    Args:
        bits: compare results alone, whatever the operations.
    """
    result = "the start"
    with before.open(encoding="utf-8") as first, after.open(encoding="utf-8") as second:
        wanted = [(line for line in trace if not bits or line.startswith("-> ")) for trace in (first, second)]
        for then, now in zip_longest(*wanted, fillvalue="nothing more"):
            if then != now:
                return f"after {result}:\n  then {then.strip()[:400]}\n  now  {now.strip()[:400]}"
            if then.startswith("-> "):
                result = f"the result {then[3:].rpartition(':')[0]!r}"
    return ""


def parts(result: Result) -> Iterator[dict[str, Any]]:
    """What of a result has sources of its own: all of it, and its memory where that was measured apart."""
    yield from (part for part in (result, result.get("memory")) if part and "sources" in part)


def chosen(named: list[str], old: Path, results: Path, root: Path) -> dict[str, Result]:
    """The results to record anew: those named, else all that are stale here and were not in the old tree.

    Raises:
        SystemExit: a named one has no sources, or its code had changed before the old tree.
    """
    before, now, found = Tree.read(old), Tree.read(root), {}
    for name in named or MEASURED:
        path = results / name
        result = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        told = [part["sources"] for part in parts(result)]
        already = [one for sources in told for one in before.changed(sources)]
        if named and (already or not told):
            reason = f"{', '.join(already)} changed since" if already else "it has no sources"
            raise SystemExit(f"{name} was not measured with the code of {old}: {reason}")
        if told and not already and (named or any(map(now.changed, told))):
            found[name] = result
    return found


def record(name: str, result: Result, commit: str, results: Path, root: Path) -> None:
    """Write a result with the digests of this tree."""
    for part in parts(result):
        part["sources"] = recorded(MEASURED[name], root)
        part["sources_proven_same_as"] = [*part.get("sources_proven_same_as", []), commit]
    path = results / name
    second = path.read_text("utf-8").split("\n", 2)[1]
    path.write_text(json.dumps(result, indent=len(second) - len(second.lstrip())) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None, root: Path = machine.ROOT, results: Path = RESULTS) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_as", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="checkout that the results are not stale in")
    parser.add_argument("results", nargs="*", metavar="RESULT", help=f"{', '.join(MEASURED)}; default: the stale ones")
    parser.add_argument("--bits", action="store_true", help="compare results alone; of results without times")
    options = parser.parse_intermixed_args(arguments)
    if unknown := set(options.results) - MEASURED.keys():
        parser.error(f"no result {', '.join(sorted(unknown))}; known are {', '.join(MEASURED)}")
    timed = [name for name in options.results if MEASURED[name] in (STOCK, SEQUENCE)]
    if options.bits and (timed or not options.results):
        parser.error(f"--bits is for named results whose figures are no times, not {', '.join(timed) or 'for all'}")
    old = options.old.resolve()
    found = chosen(options.results, old, results, root)
    if not found:
        print("no result is stale here that was not in the old tree")
        return 0
    work = list(dict.fromkeys(workload for name in found for workload in WORK[MEASURED[name]]))
    if options.bits:
        work.remove("operator")
    with tempfile.TemporaryDirectory() as folder:
        for workload in work:
            one, two = (trace(tree, workload, results / "cpu" / "operator.json", Path(folder)) for tree in (old, root))
            difference = first_difference(one, two, options.bits)
            if difference:
                print(f"{workload}: the trees differ {difference}\nnothing is recorded")
                return 1
            print(f"{workload}: the same", flush=True)
    for name, result in found.items():
        record(name, result, machine.commit_of(old) + (" (bits)" if options.bits else ""), results, root)
        print(f"recorded the sources of {name} anew; run python -m benchmarks.report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
