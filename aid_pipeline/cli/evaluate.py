"""Command `aid evaluate`: measures of sequences in folders, or of those of a file of prompts, as a report."""

from __future__ import annotations

from dataclasses import make_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as shared
from .console import console, errors, report_errors
from .options import claim, command_from, needed, refuse
from .progress import progress_bar, quiet_libraries
from .spec_options import spec_arguments, spec_options

# prompts, guide and seed are columns of the file, noise is not a file's; --distance is that of the measures
_WITHOUT = ("guide", "negative_prompt", "seed", "latents", "select")
_SOURCE = Annotated[str, typer.Argument(metavar="DIR|PROMPTS.csv", help="Frames, or prompts to sample them from.")]
_RESAMPLES = Annotated[int, typer.Option(help="Bootstrap resamples for the intervals of FID and KID.")]
_PLOTS = Annotated[bool, typer.Option(help="Also draw distances.png, boxes.png and strips.png.")]
_SPEC = spec_options(without=_WITHOUT)

EvaluateOptions = make_dataclass(
    "EvaluateOptions",
    [
        ("source", _SOURCE),
        ("out", shared.Out, None),
        ("preset", shared.Preset, "miniature"),
        ("distance", shared.Distance, None),
        ("features", shared.Features, None),
        ("resamples", _RESAMPLES, 200),
        ("plots", _PLOTS, True),
        *shared.PLACE,
        *_SPEC,
    ],
    frozen=True,
)
# of sequences that are generated from prompts; a folder's frames are there already
_GENERATION = tuple(name for name, *_ in (*shared.PLACE, *_SPEC))


@command_from(EvaluateOptions)
def evaluate(context: typer.Context, options: Any) -> None:
    """Measure sequences: smoothness, consistency, fidelity, CLIP scores, beside a pixel cross-fade.

    DIR holds the frames of one sequence, or folders that do. PROMPTS.csv has a first line prompt_a,prompt_b and, if
    wanted, seed, guide, negative_prompt; its sequences are sampled into --out/sequences, and a stopped command goes on.

        aid evaluate runs/first --out runs/first-measured

        aid evaluate prompts.csv --out runs/evaluation --mode inner --beta 3,3

    Writes evaluation.json, evaluation.md and plots. Exit codes: 0 done, 2 bad input, 1 failure.
    """
    with report_errors(errors):
        from ..errors import ArgumentError
        from ..studies.evaluation.run import requests_of

        out, source = needed(options.out), Path(options.source)
        if options.resamples < 0:
            raise ArgumentError(f"resamples must be 0 or more, got {options.resamples}")
        request: dict[str, Any] = {"command": "evaluate", "source": str(source.resolve())}
        request |= {name: getattr(options, name) for name in ("preset", "distance", "features")}
        from_prompts = source.suffix.lower() == ".csv"
        if from_prompts:
            request |= {name: getattr(options, name) for name in _GENERATION}
            where = {name: getattr(options, name) for name, *_ in shared.PLACE}
            requests = requests_of(source, spec_arguments(options, without=_WITHOUT), **where)
        else:
            refuse(context, _GENERATION, "is for a CSV of prompts; a folder's frames are as they are")
            from ..metrics.frame_folder import sequence_folders

            folders = sequence_folders(options.source, out)
        from ..metrics.presets import preset
        from ..studies.plots import check_matplotlib

        if options.plots:
            check_matplotlib()
        quiet_libraries()
        instruments = preset(options.preset, options.distance, options.features)
        if from_prompts:
            for one in requests:
                one.check()
        claim(out, request)
        if from_prompts:
            folders = _generated(requests, out / "sequences")
        try:
            _measure(folders, instruments, options.resamples, out, options.plots)
        except KeyboardInterrupt:
            said = "interrupted while measuring; all sequences are kept, and the same command measures again"
            errors.print(said, soft_wrap=True)
            raise typer.Exit(1) from None


def _generated(requests: list[Any], out: Path) -> list[Path]:
    from ..studies.evaluation.prompts_file import generate_sequences
    from ..studies.evaluation.time_left import TimeLeft

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
            return generate_sequences(requests, out, sequence)
        except KeyboardInterrupt:
            console.print("interrupted; finished sequences are kept, and the same command goes on", soft_wrap=True)
            raise typer.Exit(1) from None


def _measure(folders: list[Path], instruments: Any, resamples: int, out: Path, plots: bool) -> None:
    from rich.markup import escape

    from ..metrics.intervals import Estimate
    from ..studies.evaluation.run import evaluate as run

    with progress_bar(console) as bar:

        def each(folders: Any) -> Any:
            return bar.track(folders, description="measuring")

        result, files = run(folders, instruments, resamples, out, plots, each)
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
