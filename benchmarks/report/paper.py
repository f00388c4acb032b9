"""The paper's comparison, for the page on metrics."""

from __future__ import annotations

from benchmarks.paper.table import claim_rows, main_rows, papers_rows
from benchmarks.report.collect import Results

PAGE = "benchmarks/results/paper/paper.md"


def comparison(results: Results) -> str:
    """Table 1 here and in the paper, and which of its orderings hold."""
    if results.paper is None:
        return "Not run yet; `python -m benchmarks.paper` does.\n"
    summary, settings = results.paper["summary"], results.paper["settings"]
    lines = [
        f"{summary['sequences']} sequences a method on {settings['model']['name']} ({settings['model']['dtype']}, "
        f"{settings['frames']} frames, {settings['num_inference_steps']} steps), steps by "
        f"{settings['instruments']['distance']}, fidelity by {settings['instruments']['features']}.",
        f"The whole page, with the ablation and AID beside TEI at the same spacing: [paper.md](../{PAGE}).",
        "",
        *main_rows(summary),
        "",
        *papers_rows(),
        "",
        *claim_rows(summary),
    ]
    return results.stale(results.paper) + "\n".join(lines)
