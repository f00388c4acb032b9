"""docs/environment.md lists every environment variable that the code reads."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
READS = re.compile(r"""os\.(?:environ(?:\.get|\.pop|\.setdefault)?|getenv)\s*[\[(]\s*([^\])]+?)\s*[\]),]""")


def variables_read() -> set[str]:
    found = set()
    for folder in ("aid_kernels", "aid_pipeline", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            for name in READS.findall(text):
                constant = re.search(rf'^{re.escape(name)}(?:: \w+)? = "(\w+)"', text, re.MULTILINE)
                found.add(constant[1] if constant else name.split(",")[0].strip("\"'"))
    return found


def test_every_variable_is_documented() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    found = variables_read()
    assert "AID_KERNELS_IMPL" in found
    assert found <= listed, f"not on the page: {sorted(found - listed)}"
    assert {name for name in listed if name.startswith("AID")} <= found, "listed but never read"
