"""Page of an examination: a table with errors and speed-ups over stock, and plain words on what is slow or wrong."""

from __future__ import annotations

from ..interpolated_attention import Choice
from .examine import Examination, Row

COLUMNS = ("layer", "mode", "heads", "ms", "error", "over stock", "over sdpa", "kept")
# below this share of stock PyTorch's speed a shape is called slow
SLOW = 0.97


def page(found: Examination) -> str:
    """The examination as text."""
    device = found.machine["device"]
    lines = [f"{device}: {', '.join(f'{name} {value}' for name, value in found.machine.items() if name != 'device')}"]
    lines += ["", *_table([COLUMNS, *(_cells(row) for row in found.rows)]), ""]
    lines += [
        "ms: what is kept, on that many heads. Over stock: faster than PyTorch's attention on concatenated keys, a",
        "call for each source. Over sdpa: than the package's own stock recipe. Error: the largest of a sample, against",
        "float64.",
        "",
        *words(found),
    ]
    return "\n".join(lines)


def words(found: Examination) -> list[str]:
    """What is slow or wrong, and why, a line each."""
    lines = [f"Triton serves nothing here: {reason}." for reason in found.unsupported]
    for row in found.rows:
        name = f"{row.shape.layer}, {row.mode}"
        if row.measurement is None:
            lines.append(f"{name}: nothing could be compared; the reference's result is not finite.")
            continue
        faults = [outcome for outcome in row.measurement.outcomes if outcome.fault is not None]
        lines += [f"{name}: {outcome.choice} is not used: {outcome.fault}." for outcome in faults]
        share = _over(row.stock_ms, row)
        if share is not None and share < SLOW:
            lines.append(f"{name}: slow, {share:.2f}x of stock PyTorch; nothing faster passed its check.")
        kernel = _best(row, "triton")
        kept = row.measurement.time_of(row.measurement.choice)
        if kernel and kept and row.measurement.choice.implementation == "sdpa":
            lines.append(f"{name}: the kernel takes {kernel / kept:.2f} of what is kept, so stock attention serves it.")
    if found.unreached:
        lines.append(f"Not reached in time, run it again for these alone: {'; '.join(found.unreached)}.")
    lines += [line for line in found.said if "is not used" not in line]
    lines.append(f"{len(found.rows)} calls in {found.seconds:.0f} s. Choices are kept in {found.folder}.")
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    measurement = row.measurement
    if measurement is None:
        return (row.shape.layer, row.mode, "", "", "", "", "", "not measured")
    kept = measurement.choice
    error = next((outcome.error for outcome in measurement.outcomes if outcome.choice == kept), None)
    milliseconds = measurement.time_of(kept)
    return (
        row.shape.layer,
        row.mode,
        f"{measurement.heads} of {row.shape.heads}",
        "failed" if milliseconds is None else f"{milliseconds:.2f}",
        "-" if error is None else f"{error:.1e}",
        _times(_over(row.stock_ms, row)),
        _times(_over(measurement.time_of(Choice("sdpa", route="merged")), row)),
        str(kept),
    )


def _best(row: Row, implementation: str) -> float | None:
    """The least time of an implementation's candidates that passed."""
    outcomes = () if row.measurement is None else row.measurement.outcomes
    times = [each.milliseconds for each in outcomes if each.choice.implementation == implementation]
    return min((time for time in times if time is not None), default=None)


def _over(milliseconds: float | None, row: Row) -> float | None:
    kept = None if row.measurement is None else row.measurement.time_of(row.measurement.choice)
    return None if milliseconds is None or not kept else milliseconds / kept


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = (0, 1, len(widths) - 1)
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
