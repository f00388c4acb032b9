"""`aid doctor`: checks and measures attention on this machine, fills the cache, writes one file for a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import console, errors, report_errors

if TYPE_CHECKING:
    from aid_kernels.doctor import Shape


def doctor(
    model: Annotated[
        str | None,
        typer.Option(help="miniature, sd15, sdxl, sd3, flux, or a model as for interpolate; default: those five."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16; auto: by the device.")] = "auto",
    out: Annotated[Path, typer.Option(help="File to attach to a report.")] = Path("aid-doctor.json"),
) -> None:
    """Check and measure attention on this machine, keep the fastest, and say what is slow or wrong."""
    with report_errors(errors):
        import torch

        from aid_kernels.doctor import MODELS, examine, page

        from ..errors import ArgumentError
        from ..precision import DTYPES, denoiser_dtype, usual_dtype

        if dtype not in DTYPES:
            raise ArgumentError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if model is None:
            shapes = [shape for named in MODELS.values() for shape in named]
        else:
            shapes = list(MODELS[model]) if model in MODELS else _shapes_of(model, dtype)
        chosen = denoiser_dtype(usual_dtype(device)[0] if dtype == "auto" else dtype)
        with console.status("measuring") as status:
            found = examine(shapes, device, chosen, say=lambda line: status.update(f"measuring {line}"))
        console.print(page(found), highlight=False, soft_wrap=True, markup=False)
        document: dict[str, Any] = found.to_json() | {"page": page(found).splitlines()}
        out.write_text(json.dumps(document, indent=1) + "\n")
        console.print(f"Attach {out} to a report.", highlight=False, soft_wrap=True, markup=False)


def _shapes_of(model: str, dtype: str) -> list[Shape]:
    """The attention calls of a model, seen in one denoising step of three frames.

    Raises:
        AIDError: as `load_model` and `interpolate`.
    """
    from aid_kernels.doctor import Shape

    from ..config import AIDConfig
    from ..interpolation import interpolate
    from ..models import load_model

    pipe = load_model(model, dtype=dtype)
    # a single step would be past the usual share of interpolated ones
    sequence = interpolate(
        pipe, "a photo", "a drawing", frames=3, config=AIDConfig(warmup=1.0), num_inference_steps=1,
        output_type="latent",
    )  # fmt: skip
    shapes: dict[tuple[int, ...], Shape] = {}
    for item in sequence.settings["choices"]:
        call, layers = item["call"], item["layers"]
        size = call["query_length"], call["key_length"], call["head_dim"]
        name = f"{layers[0] if layers else model} ({len(layers)} layers)"
        # the record does not tell heads apart, and speed per head depends on them little
        shapes.setdefault(size, Shape(name, 8, *size))
    return list(shapes.values())
