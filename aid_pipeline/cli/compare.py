"""`aid compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..spec import DEFAULT_GUIDANCE, DEFAULT_STEPS
from . import options
from .options import claim, needed


def compare(
    prompt_a: Annotated[str, typer.Argument(metavar="A", help="What the first frame shows.")],
    prompt_b: Annotated[str, typer.Argument(metavar="B", help="What the last frame shows.")],
    out: options.Out = None,
    methods: Annotated[
        str, typer.Option(help="Rows: tei, di, aid-o, aid-i, cross-fade and the ablation's; see docs/metrics.md.")
    ] = "tei,di,aid-o,aid-i,cross-fade",
    seed: Annotated[list[int] | None, typer.Option(help="Of the noise; may be repeated for more sets of rows.")] = None,
    frames: options.Frames = 7,
    beta: options.Beta = "3,3",
    warmup: options.Warmup = 0.5,
    num_inference_steps: options.Steps = DEFAULT_STEPS,
    guidance_scale: options.Guidance = DEFAULT_GUIDANCE,
    model: options.Model = "miniature",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Show methods side by side: a row each, from the same noise, to choose by eye.

    For figures instead, with fidelity among them, use `aid evaluate`.

        aid compare "a red sphere" "a blue cube" --out runs/comparison --seed 0 --seed 1

    Writes comparison.html (one file, nothing else needed) and comparison.png, anew after each seed.

    Exit codes: 0 done, 2 bad input, 1 failure.
    """
    from .console import console, errors, report_errors
    from .progress import progress_bar, quiet_libraries

    with report_errors(errors):
        from ..coefficients import BetaPrior
        from ..conditioning.latents import check_seed
        from ..conditioning.prompts import check_prompts
        from ..errors import ArgumentError
        from ..io.output_folder import write_json
        from ..models import check_model, load_model
        from ..sampling.stock_arguments import check_numbers
        from ..studies.comparison.methods import all_methods, make, pick, runs

        folder, seeds = needed(out), seed or [0]
        if frames < 3:
            raise ArgumentError(f"frames must be at least 3 to compare what lies between, got {frames}")
        if len(set(seeds)) < len(seeds):
            raise ArgumentError(f"every seed once, got {', '.join(map(str, seeds))}")
        for one in seeds:
            check_seed(one)
        prior = BetaPrior.parse(beta or "1,1")
        rows = pick([name.strip() for name in methods.split(",")], all_methods(prior, warmup))
        runs(rows, frames)
        check_prompts(prompt_a, prompt_b, None, None, 2)
        check_numbers(num_inference_steps, guidance_scale, "pt", "auto")
        check_model(model)
        quiet_libraries()
        pipe = load_model(model, None, device, dtype)
        pipe.set_progress_bar_config(disable=True)
        asked = {"prompt_a": prompt_a, "prompt_b": prompt_b, "seeds": seeds, "frames": frames, "methods": list(rows)}
        asked |= {"beta": beta, "warmup": warmup, "num_inference_steps": num_inference_steps}
        asked |= {"guidance_scale": guidance_scale}
        claim(folder, {"command": "compare", "model": model, **asked})
        from ..io.machine import versions
        from ..io.provenance import model_identity

        identity, made = model_identity(pipe), {}
        settings = f"{identity['pipeline']}, {asked_line(asked)}"
        call: dict[str, Any] = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        with progress_bar(console) as bar:
            for one in seeds:
                task = bar.add_task(f"seed {one}", total=None)

                def step(done: int, total: int, task: object = task) -> None:
                    bar.update(task, completed=done, total=total)  # type: ignore[arg-type]

                try:
                    made[one] = dict(make(pipe, prompt_a, prompt_b, rows, frames, one, progress=step, **call))
                except KeyboardInterrupt:
                    if not made:
                        raise
                    done = ", ".join(map(str, made))
                    errors.print(f"interrupted; {folder} has what was done: seed {done}", soft_wrap=True, markup=False)
                    raise typer.Exit(1) from None
                # after each seed, so that an error in the next loses none
                files = _write(folder, prompt_a, prompt_b, rows, made, settings)
        write_json(folder / "comparison.json", {"model": identity, "versions": versions(), "arguments": asked})
        console.print(f"{folder}: {', '.join(files)}", highlight=False, soft_wrap=True, markup=False)


def _write(folder: Path, prompt_a: str, prompt_b: str, rows: Any, made: Any, settings: str) -> list[str]:
    """The page and the picture of all seeds that are made; returns their names."""
    from ..io.output_folder import write_atomically
    from ..studies.comparison.page import html_page, sheet

    files = {
        "comparison.html": html_page(prompt_a, prompt_b, rows, made, settings),
        "comparison.png": sheet(prompt_a, prompt_b, rows, made),
    }
    for name, content in files.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    return list(files)


def asked_line(asked: dict[str, object]) -> str:
    """The settings in one line."""
    return (
        f"{asked['num_inference_steps']} steps, guidance {asked['guidance_scale']:g}, warm-up {asked['warmup']:g}, "
        f"Beta prior {asked['beta']}"
    )
