"""Page of families: the table of docs/families.md from the records."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .groups import GROUPS

START, END = "<!-- generated: families -->\n", "<!-- end of families -->"
STATUSES = ("works", "refused", "wrong", "error", "not tried")
COLUMNS = ("chunk", "inner", "none", "denoising", "guide", "two seeds")
LONGEST = 220


def table(document: dict[str, Any]) -> str:
    """The generated part of the page."""
    records = document["classes"]
    made_with = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    lines = [f"Tried with {made_with}.", "", f"| group | classes | {' | '.join(STATUSES)} |"]
    lines.append(f"|---|--:|{'--:|' * len(STATUSES)}")
    for group in GROUPS:
        counts = Counter(record["status"] for record in records.values() if record["group"] == group)
        lines.append(f"| {group} | {counts.total()} | {' | '.join(str(counts[s]) for s in STATUSES)} |")
    for group in GROUPS:
        members = {name: record for name, record in records.items() if record["group"] == group}
        if members:
            lines += ["", f"### {group.capitalize()}", *_works(members), *_others(members)]
    if document["without_prompt"]:
        names = ", ".join(name.removesuffix("Pipeline") for name in document["without_prompt"])
        lines += ["", "### No prompt", "", f"Nothing to interpolate between, so not tried: {names}."]
    return "\n".join(lines) + "\n"


def with_table(page: str, document: dict[str, Any]) -> str:
    """The page with its generated part made anew."""
    before, rest = page.split(START, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{START}{table(document)}{END}{after}"


def _works(members: dict[str, Any]) -> list[str]:
    served = {name: record for name, record in members.items() if record["status"] == "works"}
    if not served:
        return []
    lines = ["", f"| works | endpoints | {' | '.join(COLUMNS)} |", f"|---|--:|{'---|' * len(COLUMNS)}"]
    notes: list[str] = []
    for name, record in served.items():
        words = [_word(record["checks"][column].replace(name, "the class"), notes) for column in COLUMNS]
        lines.append(f"| {_shown(name, record)} | {_gap(record)} | {' | '.join(words)} |")
    return [*lines, *([""] if notes else []), *(f"{i}. {note}" for i, note in enumerate(notes, 1))]


def _others(members: dict[str, Any]) -> list[str]:
    rest = {name: record for name, record in members.items() if record["status"] != "works"}
    if not rest:
        return []
    lines = ["", "| does not | | why |", "|---|---|---|"]
    for name, record in sorted(rest.items(), key=lambda item: STATUSES.index(item[1]["status"])):
        lines.append(f"| {_shown(name, record)} | {record['status']} | {_escaped(record['why'])} |")
    return lines


def _word(said: str, notes: list[str]) -> str:
    """A cell: "yes", or "no" with the number of the reason below the table."""
    if said == "yes":
        return said
    reason = _escaped(said.split(": ", 1)[-1])
    if reason not in notes:
        notes.append(reason)
    return f"{said.split(':')[0]} ({notes.index(reason) + 1})"


def _gap(record: dict[str, Any]) -> str:
    gap = record["endpoints"]
    if record.get("float64"):
        return f"{gap:.0e} in float64"
    if gap <= 1e-4:
        return "exact" if gap == 0 else f"{gap:.0e}"
    return f"{gap:.0e}, a stock batch {record['stock_batch']:.0e}"


def _shown(name: str, record: dict[str, Any]) -> str:
    return name.removesuffix("Pipeline") + (" (deprecated)" if record.get("deprecated") else "")


def _escaped(text: str) -> str:
    short = text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " ..."
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_")):
        short = short.replace(sign, shown)
    return short
