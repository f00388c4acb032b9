"""Overview of the committed results: what made each, at which commit, and whether it is stale."""

from __future__ import annotations

from benchmarks.common.result_files import Result
from benchmarks.report.collect import Results, table


def overview(results: Results) -> str:
    """A line for every result, and a paragraph for every stale one."""
    rows: list[list[object]] = []
    stale = []
    for place, result in sorted(results.all(), key=lambda one: one[0]):
        said = results.stale(result)
        rows.append(
            [f"`{place}`", f"`{result.get('command', '-')}`", _commit(result), "stale" if said else "up to date"]
        )
        stale += [f"`{place}`: {said.strip()}"] if said else []
    return "\n\n".join([table(["result", "made by", "commit", "code"], rows, 4).strip(), *stale])


def _commit(result: Result) -> str:
    """Where it was measured, and up to which its code was proven to compute the same."""
    known = [result.get("machine", {}).get("commit", "-"), *result.get("sources_proven_same_as", [])[-1:]]
    return " = ".join(known)
