"""Command `aid compare`: methods of the paper side by side, a row each."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Annotated, Any

import typer

from . import options as shared
from .console import console, errors, report_errors
from .options import claim, command_from, needed
from .progress import progress_bar, quiet_libraries
from .spec_options import spec_of, spec_options

# methods decide the mode and the spacing, `--seed` is repeated, and rows share neither a guide nor noise from a file
_WITHOUT = ("mode", "fuse_self", "coefficients", "select", "seed", "guide", "latents")
_METHODS = Annotated[
    str, typer.Option(help="Rows: tei, di, aid-o, aid-i, cross-fade and the ablation's; see docs/metrics.md.")
]
_SEED = Annotated[list[int] | None, typer.Option(help="Of the noise; may be repeated for more sets of rows.")]

CompareOptions = make_dataclass(
    "CompareOptions",
    [
        ("prompt_a", shared.PromptA),
        ("prompt_b", shared.PromptB),
        ("out", shared.Out, None),
        ("methods", _METHODS, "tei,di,aid-o,aid-i,cross-fade"),
        ("seed", _SEED, None),
        ("beta", shared.Beta, "3,3"),
        *spec_options(without=_WITHOUT),
        *shared.PLACE,
    ],
    frozen=True,
)


@command_from(CompareOptions)
def compare(options: Any) -> None:
    """Show methods side by side: a row each, from the same noise, to choose by eye.

    For figures instead, with fidelity among them, use `aid evaluate`.

        aid compare "a red sphere" "a blue cube" --out runs/comparison --seed 0 --seed 1

    Writes comparison.html (one file, nothing else needed) and comparison.png, anew after each seed.

    Exit codes: 0 done, 2 bad input, 1 failure.
    """
    with report_errors(errors):
        from ..models import check_model, load_model
        from ..studies.comparison.run import ComparisonSettings
        from ..studies.comparison.run import compare as run

        folder = needed(options.out)
        settings = ComparisonSettings(
            spec_of(options, without=_WITHOUT),
            methods=tuple(name.strip() for name in options.methods.split(",")),
            seeds=tuple(options.seed or (0,)),
            beta=options.beta,
        )
        check_model(options.model)
        quiet_libraries()
        pipe = load_model(options.model, None, options.device, options.dtype)
        pipe.set_progress_bar_config(disable=True)
        claim(folder, {"command": "compare", "model": options.model, **settings.to_json()})
        finished: list[int] = []
        with progress_bar(console) as bar:
            tasks = {seed: bar.add_task(f"seed {seed}", total=None, visible=False) for seed in settings.seeds}

            def step(seed: int, done: int, total: int) -> None:
                bar.update(tasks[seed], completed=done, total=total, visible=True)

            try:
                files = run(pipe, settings, folder, finished.append, step)
            except KeyboardInterrupt:
                if not finished:
                    raise
                done = ", ".join(map(str, finished))
                errors.print(f"interrupted; {folder} has what was done: seed {done}", soft_wrap=True, markup=False)
                raise typer.Exit(1) from None
        console.print(f"{folder}: {', '.join(files)}", highlight=False, soft_wrap=True, markup=False)
