"""`aid compare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ..spec import DEFAULT_FRAMES, DEFAULT_GUIDANCE, DEFAULT_STEPS
from . import options as shared
from .console import console, errors, report_errors
from .options import claim, command_from, needed
from .progress import progress_bar, quiet_libraries

_METHODS = "Rows: tei, di, aid-o, aid-i, cross-fade and the ablation's; see docs/metrics.md."


@dataclass(frozen=True)
class CompareOptions:
    """Options of `aid compare`."""

    prompt_a: Annotated[str, typer.Argument(metavar="A", help="What the first frame shows.")]
    prompt_b: Annotated[str, typer.Argument(metavar="B", help="What the last frame shows.")]
    out: shared.Out = None
    methods: Annotated[str, typer.Option(help=_METHODS)] = "tei,di,aid-o,aid-i,cross-fade"
    seed: Annotated[list[int] | None, typer.Option(help="Of the noise; may be repeated for more sets of rows.")] = None
    frames: shared.Frames = int(DEFAULT_FRAMES)
    beta: shared.Beta = "3,3"
    warmup: shared.Warmup = 0.5
    num_inference_steps: shared.Steps = DEFAULT_STEPS
    guidance_scale: shared.Guidance = DEFAULT_GUIDANCE
    model: shared.Model = "miniature"
    device: shared.Device = "auto"
    dtype: shared.Dtype = "auto"


@command_from(CompareOptions)
def compare(options: CompareOptions) -> None:
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
            prompt_a=options.prompt_a,
            prompt_b=options.prompt_b,
            seeds=tuple(options.seed or (0,)),
            frames=options.frames,
            methods=tuple(name.strip() for name in options.methods.split(",")),
            beta=options.beta,
            warmup=options.warmup,
            num_inference_steps=options.num_inference_steps,
            guidance_scale=options.guidance_scale,
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
