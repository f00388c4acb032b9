"""docs/environment.md lists every environment variable that the code reads."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
READS = re.compile(r"""os\.(?:environ(?:\.get|\.pop|\.setdefault)?|getenv)\s*[\[(]\s*([^\])]+?)\s*[\]),]""")
CONSTANT = re.compile(r'^(\w*VARIABLE) = "(\w+)"', re.MULTILINE)


def variables_read() -> set[str]:
    folders = ("aid_kernels", "aid_pipeline", "benchmarks")
    texts = [path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {name.split(",")[0] for text in texts for name in READS.findall(text)}
    constants = {name: value for text in texts for name, value in CONSTANT.findall(text)}
    return {constants.get(name, name.strip("\"'")) for name in found}


def test_every_variable_is_documented() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    found = variables_read()
    assert "AID_KERNELS_IMPL" in found
    assert found <= listed, f"not on the page: {sorted(found - listed)}"
    assert {name for name in listed if name.startswith("AID")} <= found, "listed but never read"
