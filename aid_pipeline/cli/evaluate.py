"""`aid evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..spec import DEFAULT_GUIDANCE, DEFAULT_STEPS
from . import options
from .options import claim, needed, refuse

if TYPE_CHECKING:
    from rich.console import Console

OF_GENERATION = (
    *("model", "device", "dtype", "frames", "mode", "fuse_self", "warmup", "beta"),
    *("num_inference_steps", "guidance_scale", "chunk"),
)


def evaluate(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="DIR|PROMPTS.csv", help="Frames, or prompts to make them of.")],
    out: options.Out = None,
    preset: options.Preset = "miniature",
    distance: options.Distance = None,
    features: options.Features = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for the intervals of FID and KID.")] = 200,
    plots: Annotated[bool, typer.Option(help="Also draw distances.png, boxes.png and strips.png.")] = True,
    model: options.Model = "miniature",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    frames: options.Frames = 7,
    mode: Annotated[str, typer.Option(help="outer, inner, none (TEI) or denoising (DI).")] = "outer",
    fuse_self: Annotated[bool, typer.Option(help="Frames also attend to themselves.")] = True,
    warmup: options.Warmup = 0.5,
    beta: options.Beta = None,
    num_inference_steps: options.Steps = DEFAULT_STEPS,
    guidance_scale: options.Guidance = DEFAULT_GUIDANCE,
    chunk: Annotated[int | None, typer.Option(help="Rows per denoiser call; less needs less memory.")] = None,
) -> None:
    """Measure sequences: smoothness, consistency, fidelity, CLIP scores, beside a pixel cross-fade.

    DIR holds the frames of one sequence, or folders that do. PROMPTS.csv has a first line prompt_a,prompt_b and, if
    wanted, seed, guide, negative_prompt; its sequences are made into --out/sequences, and a stopped command goes on.

        aid evaluate runs/first --out runs/first-measured

        aid evaluate prompts.csv --out runs/evaluation --mode inner --beta 3,3

    Writes evaluation.json, evaluation.md and plots. Exit codes: 0 done, 2 bad input, 1 failure.
    """
    from .console import console, errors, report_errors
    from .progress import quiet_libraries

    with report_errors(errors):
        from ..errors import ArgumentError

        folder = needed(out)
        if resamples < 0:
            raise ArgumentError(f"resamples must be 0 or more, got {resamples}")
        made_of_prompts = Path(source).suffix.lower() == ".csv"
        request: dict[str, Any] = {"command": "evaluate", "source": str(Path(source).resolve())}
        request |= {"preset": preset, "distance": distance, "features": features}
        if made_of_prompts:
            if frames < 3:
                raise ArgumentError(f"frames must be at least 3 to be measured, got {frames}: nothing lies between")
            generation = {name: context.params[name] for name in OF_GENERATION}
            request |= generation
            requests = _requests(Path(source), generation)
        else:
            refuse(context, OF_GENERATION, "is for a CSV of prompts; a folder's frames are as they are")
            from ..metrics.frame_folder import sequence_folders

            folders = sequence_folders(source, folder)
        from ..metrics.presets import preset as instruments_named
        from ..studies.plots import check_matplotlib

        if plots:
            check_matplotlib()
        quiet_libraries()
        instruments = instruments_named(preset, distance, features)
        if made_of_prompts:
            for request_of_one in requests:
                request_of_one.check()
        claim(folder, request)
        if made_of_prompts:
            folders = _made(requests, folder / "sequences", console)
        try:
            _measure(folders, instruments, resamples, folder, plots, console)
        except KeyboardInterrupt:
            said = "interrupted while measuring; all sequences are kept, and the same command measures again"
            errors.print(said, soft_wrap=True)
            raise typer.Exit(1) from None


def _requests(source: Path, generation: dict[str, Any]) -> list[Any]:
    from ..coefficients import BetaPrior
    from ..config import AIDConfig
    from ..studies.evaluation.prompts_file import read_prompts, requests_for

    chosen = dict(generation)
    where = {name: chosen.pop(name) for name in ("model", "device", "dtype")}
    config = AIDConfig(**{name: chosen.pop(name) for name in ("mode", "fuse_self", "warmup")})
    chunk, beta = chosen.pop("chunk"), chosen.pop("beta")
    chosen |= {"chunk": "auto" if chunk is None else chunk, "config": config}
    chosen |= {"coefficients": None if beta is None else BetaPrior.parse(beta)}
    return requests_for(read_prompts(source), chosen, **where)


def _made(requests: list[Any], out: Path, console: Console) -> list[Path]:
    from ..studies.evaluation.prompts_file import make_sequences
    from ..studies.evaluation.time_left import TimeLeft
    from .progress import progress_bar

    left: list[TimeLeft] = []
    with progress_bar(console) as bar:
        task = bar.add_task("sequences", total=None)

        def sequence(done: int, total: int) -> None:
            bar.update(task, total=total, completed=done)
            if not left:
                left.append(TimeLeft(total))
                if total < len(requests):
                    console.print(f"{len(requests) - total} of {len(requests)} sequences are there already")
            elif not console.is_terminal:
                console.print(left[0].advance(), highlight=False)

        try:
            return make_sequences(requests, out, sequence)
        except KeyboardInterrupt:
            console.print("interrupted; finished sequences are kept, and the same command goes on", soft_wrap=True)
            raise typer.Exit(1) from None


def _measure(
    folders: list[Path], instruments: Any, resamples: int, out: Path, with_plots: bool, console: Console
) -> None:
    from rich.markup import escape

    from ..metrics.frame_folder import read_frames
    from ..metrics.intervals import Estimate
    from ..studies.evaluation.measure import measure, summarise
    from ..studies.evaluation.report import write_report
    from .progress import progress_bar

    measured = []
    with progress_bar(console) as bar:
        for folder in bar.track(folders, description="measuring"):
            measured.append(measure(read_frames(folder), instruments))
    result = summarise(measured, instruments, resamples)
    files = write_report(out, result, measured, with_plots)
    for title, row in result["summary"]["rows"].items():
        figures = ", ".join(f"{name} {Estimate(**row[name]).text()}" for name in ("smoothness", "consistency"))
        kid = row["kid"]["value"] * 1000
        console.print(
            f"{title}: {figures}, FID {Estimate(**row['fid']).text(2)}, KID x 1000 {kid:.2f}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    console.print(f"{instruments.line()}.", highlight=False, soft_wrap=True, markup=False)
    console.print(f"{escape(str(out))}: {', '.join(files)}", highlight=False, soft_wrap=True)
