"""The site's hook: links keep their meaning, whatever folder they are written in."""

from pathlib import Path

import pytest

from tools import site


@pytest.mark.parametrize(
    ("source", "link", "there"),
    [
        ("README.md", "docs/sequences.md", "sequences.md"),
        ("README.md", "docs/images/outer.png", "images/outer.png"),
        ("README.md", "benchmarks/results/cpu/operator.md", "benchmarks/results/cpu/operator.md"),
        ("README.md", "https://arxiv.org/abs/2403.17924", "https://arxiv.org/abs/2403.17924"),
        ("README.md", "#install", "#install"),
        ("docs/metrics.md", "../README.md#install", "index.md#install"),
        ("docs/metrics.md", "../benchmarks/results/paper/paper.md", "benchmarks/results/paper/paper.md"),
        ("docs/api/metrics.md", "../metrics.md", "../metrics.md"),
        ("benchmarks/results/cpu/operator.md", "../../../docs/performance.md", "../../../performance.md"),
    ],
)
def test_a_link(source: str, link: str, there: str) -> None:
    assert site.rewritten(f"[![x](y)]({link}) and [z]({link})", source).count(f"]({there})") == 2


def test_code_and_anchors_are_left_alone() -> None:
    text = "`plan[0](x)` [here](#install)"
    assert site.targets(text, "README.md") == ["x"]
    assert "[here](#install)" in site.rewritten(text, "README.md")


def test_the_first_page_is_the_readme() -> None:
    assert "docs/sequences.md" in site.targets((site.ROOT / "README.md").read_text(), "README.md")


def test_the_start_page_holds_no_text_of_its_own() -> None:
    lines = Path(site.ROOT / "docs" / "index.md").read_text().splitlines()
    assert lines == ["<!-- README.md, put here by tools/site.py -->"]
