"""`aid diagnose`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..spec import DEFAULT_GUIDANCE, DEFAULT_STEPS
from . import options
from .options import claim, needed


def diagnose(
    prompt_a: Annotated[str, typer.Argument(metavar="A", help="What the first picture shows.")],
    prompt_b: Annotated[str, typer.Argument(metavar="B", help="What the second picture shows.")],
    out: options.Out = None,
    noises: Annotated[int, typer.Option(help="Repetitions with other noise; each is a dot in the plots.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the first noise.")] = 0,
    frames: options.Frames = 7,
    warmup: options.Warmup = 0.5,
    num_inference_steps: options.Steps = DEFAULT_STEPS,
    guidance_scale: options.Guidance = DEFAULT_GUIDANCE,
    distance: options.Distance = None,
    model: options.Model = "miniature",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Study a model's attention as the paper did: one picture's keys and values replaced by another's.

    Self-attention and cross-attention are replaced apart, during the whole generation; box plots show how far the
    result is from both pictures. Beside it the adjacent distances of TEI, AID-O and AID-I along t.

        aid diagnose "a red sphere" "a blue cube" --out runs/diagnosis

    Writes diagnosis.json, replacement.png, profile.png and pictures.png. Exit codes: 0 done, 2 bad input, 1 failure.
    """
    from .console import console, errors, report_errors
    from .progress import progress_bar, quiet_libraries

    with report_errors(errors):
        from ..conditioning.prompts import check_prompts
        from ..config import AIDConfig
        from ..errors import ArgumentError
        from ..io.output_folder import write_atomically, write_json
        from ..models import check_model, load_model
        from ..sampling.stock_arguments import check_numbers

        folder = needed(out)
        for name, value, least in (("noises", noises, 1), ("frames", frames, 3), ("seed", seed, 0)):
            if value < least:
                raise ArgumentError(f"{name} must be at least {least}, got {value}")
        AIDConfig(warmup=warmup)
        check_prompts(prompt_a, prompt_b, None, None, 2)
        check_numbers(num_inference_steps, guidance_scale, "pt", "auto")
        check_model(model)
        from ..metrics.distances import distance as distance_named
        from ..studies.plots import check_matplotlib

        check_matplotlib()
        quiet_libraries()
        measure = distance_named(distance or "miniature")
        asked = {"prompt_a": prompt_a, "prompt_b": prompt_b, "noises": noises, "seed": seed, "frames": frames}
        asked |= {"warmup": warmup, "num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        pipe = load_model(model, None, device, dtype)
        pipe.set_progress_bar_config(disable=True)
        claim(folder, {"command": "diagnose", "model": model, "distance": distance, **asked})
        from ..io.provenance import model_identity
        from ..studies.diagnosis.study import study

        with progress_bar(console) as bar:
            task = bar.add_task("noises", total=noises)
            found = study(
                pipe,
                prompt_a,
                prompt_b,
                measure,
                noises,
                frames,
                seed,
                warmup,
                num_inference_steps,
                guidance_scale,
                progress=lambda done, total: bar.update(task, completed=done),
            )
        for name, content in found.plots().items():
            write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        write_json(folder / "diagnosis.json", {"model": model_identity(pipe), "arguments": asked, **found.figures()})
        for name, values in found.distances.items():
            console.print(f"{name}: {sum(values) / len(values):.4f} ({len(values)} noises)", highlight=False)
        console.print(f"distance: {found.distance}", highlight=False, soft_wrap=True, markup=False)
        console.print(str(folder), highlight=False, soft_wrap=True, markup=False)
