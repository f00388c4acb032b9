"""The pages beside committed results are what their JSON says."""

import json

import pytest

from benchmarks.common.result_files import RESULTS
from benchmarks.denoiser import steps, throughput
from benchmarks.operator import cpu as operator_cpu
from benchmarks.paper import precision, table
from benchmarks.sequence import cpu as sequence_cpu
from benchmarks.sequence import selection_page

PAGES = {
    "cpu/operator": operator_cpu.markdown,
    "cpu/sequence": sequence_cpu.markdown,
    "cpu/denoiser": steps.markdown,
    "cpu/throughput": throughput.markdown,
    "cpu/selection": selection_page.page,
    "cpu/per_round/selection": selection_page.page,
    "paper/paper": table.page,
    "paper/precision": precision.page,
}


@pytest.mark.parametrize("name", PAGES)
def test_committed_pages(name: str) -> None:
    result = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    assert PAGES[name](result) == (RESULTS / f"{name}.md").read_text("utf-8")
