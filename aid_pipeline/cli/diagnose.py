"""Command `aid diagnose`: a study of what self- and cross-attention of a model carry."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Annotated, Any

import typer

from . import options as shared
from .console import console, errors, report_errors
from .options import claim, command_from, needed
from .progress import progress_bar, quiet_libraries
from .spec_options import spec_of, spec_options

# the sequences' modes and spacing are the study's, each noise has a seed of its own, and nothing has a guide
_WITHOUT = ("mode", "fuse_self", "coefficients", "select", "guide", "latents")
_NOISES = Annotated[int, typer.Option(help="Repetitions with other noise; each is a dot in the plots.")]

DiagnoseOptions = make_dataclass(
    "DiagnoseOptions",
    [
        ("prompt_a", shared.PromptA),
        ("prompt_b", shared.PromptB),
        ("out", shared.Out, None),
        ("noises", _NOISES, 4),
        *spec_options(without=_WITHOUT),
        ("distance", shared.Distance, None),
        *shared.PLACE,
    ],
    frozen=True,
)


@command_from(DiagnoseOptions)
def diagnose(options: Any) -> None:
    """Study a model's attention as the paper did: one image's keys and values replaced by another's.

    Self-attention and cross-attention are replaced apart, during the whole generation; box plots show how far the
    result is from both images. Beside it the adjacent distances of TEI, AID-O and AID-I along t.

        aid diagnose "a red sphere" "a blue cube" --out runs/diagnosis

    Writes diagnosis.json, replacement.png, profile.png and images.png. Exit codes: 0 done, 2 bad input, 1 failure.
    """
    with report_errors(errors):
        from ..models import check_model, load_model
        from ..studies.diagnosis.run import DiagnosisSettings
        from ..studies.diagnosis.run import diagnose as run

        folder = needed(options.out)
        settings = DiagnosisSettings(spec_of(options, without=_WITHOUT), options.noises)
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
