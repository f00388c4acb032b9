"""`aid models` and `aid info`: what can be loaded, and what this installation selects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from .console import console

if TYPE_CHECKING:
    from aid_kernels.doctor import Shape


def models() -> None:
    """List models to use with --model, and which of them are on this machine."""
    console.print(models_table())


def info() -> None:
    """Show versions, the GPU, and which implementation of the operator serves what, and why."""
    console.print(environment_table())
    console.print(implementations(), highlight=False)
    console.print(measured_choices(), highlight=False)


def models_table() -> Table:
    """Examples of models of every supported family, and where they are."""
    from huggingface_hub import try_to_load_from_cache

    from ..miniature import MODEL_PATH
    from ..models import KNOWN_MODELS, MINIATURE

    table = Table(title="Any diffusers model of these families; for example", box=SIMPLE)
    table.add_column("--model", no_wrap=True)
    for name in ("family", "pixels", "where"):
        table.add_column(name)
    for known in KNOWN_MODELS:
        if known.id == MINIATURE:
            where = "this package" if (MODEL_PATH / "model_index.json").is_file() else "missing: reinstall"
        else:
            cached = isinstance(try_to_load_from_cache(known.id, "model_index.json"), str)
            where = "local cache" if cached else "hub"
        table.add_row(known.id, known.family, str(known.pixels), where)
    return table


def environment_table() -> Table:
    """Versions, machine and environment variables."""
    import torch

    from aid_kernels import AUTO_VARIABLE, IMPL_VARIABLE

    from ..io.machine import machine, versions
    from ..precision import usual_dtype

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = Table("what", "value", title="This installation", box=SIMPLE)
    for name, value in {**versions(), **machine(device)}.items():
        table.add_row(name, str(value))
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        table.add_row("GPU memory", f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f}")
    table.add_row("dtype auto", "{}: {}".format(*usual_dtype(device)))
    table.add_row(IMPL_VARIABLE, os.environ.get(IMPL_VARIABLE) or "not set (auto)")
    table.add_row(AUTO_VARIABLE, os.environ.get(AUTO_VARIABLE) or "not set (measure)")
    return table


def implementations() -> Group:
    """The selected implementation for attention layers of known models here, and why not the others."""
    import torch

    from aid_kernels.doctor import MODELS

    from ..precision import has_fast_bfloat16

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtypes = [torch.bfloat16, torch.float16, torch.float32] if device == "cuda" else [torch.float32]
    if device == "cpu" and has_fast_bfloat16():
        dtypes.insert(0, torch.bfloat16)
    table = Table("attention layer", "dtype", "served by", "because", title=f"Implementations on {device}", box=SIMPLE)
    reasons: list[str] = []
    for shape in (shape for shapes in MODELS.values() for shape in shapes):
        for dtype in dtypes:
            implementation, *why = _served(shape, dtype, device)
            reasons += [line for line in why if line not in reasons]
            notes = " ".join(f"({reasons.index(line) + 1})" for line in why)
            table.add_row(shape.layer, str(dtype).removeprefix("torch."), implementation, notes)
    return Group(table, *(f"({number}) {line}" for number, line in enumerate(reasons, 1)))


def measured_choices() -> Group:
    """What was measured on this machine, by `auto` or by `aid doctor`: candidates, errors, times, choice."""
    import torch

    from aid_kernels import measured_here

    folder, entries = measured_here("cuda" if torch.cuda.is_available() else "cpu")
    table = Table("call", "candidate", "ms", "error", "", title="Measured on this machine", box=SIMPLE)
    for bucket, measurement in entries:
        name = str(bucket)
        for outcome in measurement.outcomes:
            kept = "kept" if outcome.choice == measurement.choice else outcome.fault or ""
            time, error = (
                "-" if value is None else format(value, form)
                for value, form in ((outcome.milliseconds, ".3g"), (outcome.error, ".1e"))
            )
            table.add_row(name, str(outcome.choice), time, error, kept)
            name = ""
    nothing = f"Nothing was measured on this machine yet ({folder}); aid doctor does."
    return Group(table, f"Kept in {folder}.") if entries else Group(nothing)


def _served(shape: Shape, dtype: Any, device: str) -> list[str]:
    """The implementation, why that one, and every reason against the others."""
    import torch

    from aid_kernels import InterpolationPlan, explain

    plan = InterpolationPlan.sequence([0.0, 0.5, 1.0], device=device)
    query, key = (
        torch.empty(3, shape.heads, length, shape.head_dim, dtype=dtype, device=device)
        for length in (shape.query_length, shape.key_length)
    )
    found = explain(query, key, key, plan)
    refused = [f"not {name}: {reason}" for name, reasons in found.unsupported_reasons.items() for reason in reasons]
    return [found.implementation, f"{found.implementation}: {found.reason}", *refused]
