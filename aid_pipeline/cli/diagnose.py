"""`aid diagnose`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ..spec import DEFAULT_FRAMES, DEFAULT_GUIDANCE, DEFAULT_STEPS
from . import options as shared
from .console import console, errors, report_errors
from .options import claim, command_from, needed
from .progress import progress_bar, quiet_libraries


@dataclass(frozen=True)
class DiagnoseOptions:
    """Options of `aid diagnose`."""

    prompt_a: Annotated[str, typer.Argument(metavar="A", help="What the first picture shows.")]
    prompt_b: Annotated[str, typer.Argument(metavar="B", help="What the second picture shows.")]
    out: shared.Out = None
    noises: Annotated[int, typer.Option(help="Repetitions with other noise; each is a dot in the plots.")] = 4
    seed: Annotated[int, typer.Option(help="Of the first noise.")] = 0
    frames: shared.Frames = int(DEFAULT_FRAMES)
    warmup: shared.Warmup = 0.5
    num_inference_steps: shared.Steps = DEFAULT_STEPS
    guidance_scale: shared.Guidance = DEFAULT_GUIDANCE
    distance: shared.Distance = None
    model: shared.Model = "miniature"
    device: shared.Device = "auto"
    dtype: shared.Dtype = "auto"


@command_from(DiagnoseOptions)
def diagnose(options: DiagnoseOptions) -> None:
    """Study a model's attention as the paper did: one picture's keys and values replaced by another's.

    Self-attention and cross-attention are replaced apart, during the whole generation; box plots show how far the
    result is from both pictures. Beside it the adjacent distances of TEI, AID-O and AID-I along t.

        aid diagnose "a red sphere" "a blue cube" --out runs/diagnosis

    Writes diagnosis.json, replacement.png, profile.png and pictures.png. Exit codes: 0 done, 2 bad input, 1 failure.
    """
    with report_errors(errors):
        from ..models import check_model, load_model
        from ..studies.diagnosis.run import DiagnosisSettings
        from ..studies.diagnosis.run import diagnose as run

        folder = needed(options.out)
        names = DiagnosisSettings.__dataclass_fields__
        settings = DiagnosisSettings(**{name: getattr(options, name) for name in names})
        check_model(options.model)
        from ..metrics.distances import distance
        from ..studies.plots import check_matplotlib

        check_matplotlib()
        quiet_libraries()
        measure = distance(options.distance or "miniature")
        pipe = load_model(options.model, None, options.device, options.dtype)
        pipe.set_progress_bar_config(disable=True)
        request = {"command": "diagnose", "model": options.model, "distance": options.distance, **settings.to_json()}
        claim(folder, request)
        with progress_bar(console) as bar:
            task = bar.add_task("noises", total=settings.noises)
            found = run(pipe, settings, measure, folder, lambda done, total: bar.update(task, completed=done))
        for name, values in found.distances.items():
            console.print(f"{name}: {sum(values) / len(values):.4f} ({len(values)} noises)", highlight=False)
        console.print(f"distance: {found.distance}", highlight=False, soft_wrap=True, markup=False)
        console.print(str(folder), highlight=False, soft_wrap=True, markup=False)
