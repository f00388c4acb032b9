"""The command `aid`: parse, call, print. What it does is in `interpolation.py`, `saving.py` and `models.py`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import ArgumentError
from .commands import register

app = typer.Typer(
    help="Sequences of pictures between two prompts, by attention interpolation (AID).",
    epilog='Start with:  aid interpolate "a red sphere" "a blue cube" --out runs/first',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console, errors = Console(), Console(stderr=True)

EXAMPLES = """
[bold]Examples[/bold]

Seven frames of the small model that comes with the package; no network needed:

    aid interpolate "a red sphere" "a blue cube" --out runs/first

Steer what lies between with a guide, and gather frames where things change:

    aid interpolate "a red sphere" "a blue cube" --out runs/guided \\
        --guide "a purple cone" --beta 3,3

Fifteen frames of SDXL, all steps interpolated, as a gif too:

    aid interpolate "a photo of a cat" "a photo of a dog" --out runs/pets \\
        --model stabilityai/stable-diffusion-xl-base-1.0 \\
        --frames 15 --warmup 1 --gif

Let the frames themselves decide where they lie, so that every step looks equally large:

    aid interpolate "a red sphere" "a blue cube" --out runs/even --select dynamic

The same sequence again, bit for bit:

    aid interpolate --from runs/first/sequence.json --out runs/again

Exit codes: 0 done, 2 bad input, 1 failure.
"""

# Options of `interpolate` that do not change what is made, and so may stand beside --from.
BESIDE_FROM = {"again", "out", "gif", "webp", "video", "fps"}


@app.command(help="Make a sequence of frames between two prompts.\n\n" + EXAMPLES)
def interpolate(
    context: typer.Context,
    prompt_a: Annotated[str | None, typer.Argument(metavar="A", help="What the first frame shows.")] = None,
    prompt_b: Annotated[str | None, typer.Argument(metavar="B", help="What the last frame shows.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files: new or empty.")] = None,
    frames: Annotated[int, typer.Option(help="How many, both ends included.")] = 7,
    mode: Annotated[
        str, typer.Option(help="outer (layout moves), inner (concepts blend), none (TEI), denoising (DI).")
    ] = "outer",
    fuse_self: Annotated[bool, typer.Option(help="Frames also attend to themselves.")] = True,
    warmup: Annotated[float, typer.Option(help="Share of the steps with interpolated attention, 0 to 1.")] = 0.5,
    impl: Annotated[str, typer.Option(help="auto, triton, sdpa or reference; see `aid info`.")] = "auto",
    guide: Annotated[
        list[str] | None, typer.Option(help="Text of the frames between; once, or once per such frame.")
    ] = None,
    coefficients: Annotated[str | None, typer.Option(help='Where the frames lie, such as "0,0.3,0.5,0.7,1".')] = None,
    beta: Annotated[str | None, typer.Option(help='Spacing by a Beta prior, "alpha,beta" such as "3,3".')] = None,
    select: Annotated[
        str | None, typer.Option(help="Choose the spacing by what the frames look like: dynamic or bayes.")
    ] = None,
    distance: Annotated[
        str | None, typer.Option(help="Of --select: miniature, clip:FOLDER, dino:FOLDER or lpips:FILE.")
    ] = None,
    explore: Annotated[int | None, typer.Option(help="Of --select dynamic: frames to make and choose from.")] = None,
    min_gap: Annotated[float | None, typer.Option(help="Of --select dynamic: least gap between frames in t.")] = None,
    per_round: Annotated[
        int | None, typer.Option(help="Of --select dynamic: most new frames a round, such as 8: slower and evener.")
    ] = None,
    latents: Annotated[
        Path | None, typer.Option(help="safetensors file with the noise of both ends, or of all frames.")
    ] = None,
    seed: Annotated[str, typer.Option(help='Of the noise; "0,1" for one per end.')] = "0",
    chunk: Annotated[str, typer.Option(help="Rows per denoiser call, or auto; less needs less memory.")] = "auto",
    num_inference_steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    guidance_scale: Annotated[float, typer.Option(help="Strength of the prompts; 1 is off.")] = 5.0,
    negative_prompt: Annotated[list[str] | None, typer.Option(help="What to avoid; once, or once per end.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; default: the model's.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; default: the model's.")] = None,
    stock: Annotated[
        list[str] | None, typer.Option(help="Another argument of the pipeline, NAME=JSON; may be repeated.")
    ] = None,
    model: Annotated[str, typer.Option(help="miniature, a local folder or a hub id; see `aid models`.")] = "miniature",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.")] = "auto",
    again: Annotated[Path | None, typer.Option("--from", help="Make the sequence of this sequence.json again.")] = None,
    gif: Annotated[bool, typer.Option("--gif", help="Also write sequence.gif.")] = False,
    webp: Annotated[bool, typer.Option("--webp", help="Also write sequence.webp.")] = False,
    video: Annotated[
        bool | None, typer.Option(help="Write sequence.mp4; default: if the video extra is there.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second of moving pictures.")] = 8.0,
) -> None:
    from ..request import Request, read_request
    from .run import make, report_errors

    with report_errors(errors):
        if out is None:
            raise ArgumentError("say where the files go with --out DIR")
        saving: dict[str, Any] = {"gif": gif, "webp": webp, "video": video, "fps": fps}
        if again is not None:
            _refuse_beside_from(context)
            request, as_before = read_request(again)
            saving = {name: value if _given(context, name) else as_before[name] for name, value in saving.items()}
        elif prompt_a is None or prompt_b is None:
            raise ArgumentError('give two prompts, such as aid interpolate "a red sphere" "a blue cube" --out DIR')
        else:
            arguments = {
                "prompt_a": prompt_a,
                "prompt_b": prompt_b,
                "frames": frames,
                "guide": guide[0] if guide and len(guide) == 1 else guide,
                "coefficients": _coefficients(coefficients, beta),
                "latents": None if latents is None else str(latents.resolve()),
                "seed": _one_or_pair("seed", seed),
                "chunk": chunk if chunk == "auto" else _number("chunk", chunk, int),
                "num_inference_steps": num_inference_steps,
                "guidance_scale": guidance_scale,
                "negative_prompt": negative_prompt[0]
                if negative_prompt and len(negative_prompt) == 1
                else negative_prompt,
                "height": height,
                "width": width,
                **_select(
                    select,
                    {"distance": _located(distance), "explore": explore, "min_gap": min_gap, "per_round": per_round},
                ),
                **_stock(stock or []),
            }
            config = {"mode": mode, "fuse_self": fuse_self, "warmup": warmup, "impl": impl}
            request = Request(model, arguments, config, revision, device, dtype)
        make(request, out, saving, console, errors)


@app.command()
def models() -> None:
    """List models to use with --model, and which of them are on this machine."""
    from .info import models_table

    console.print(models_table())


@app.command()
def info() -> None:
    """Show versions, the GPU, and which implementation of the operator serves what, and why."""
    from .info import environment_table, implementations

    console.print(environment_table())
    console.print(implementations(), highlight=False)


@app.callback()
def _log_warnings(
    verbose: Annotated[bool, typer.Option("--verbose", help="Also say what is chosen, and why.")] = False,
) -> None:
    from rich.logging import RichHandler

    handler = RichHandler(console=errors, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


register(app)


def main() -> None:
    """Entry point of `aid` and of `python -m aid_pipeline`."""
    app(prog_name="aid")


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)  # an enum of click's, or of the copy of click in newer typers
    return source is not None and source.name == "COMMANDLINE"


def _refuse_beside_from(context: typer.Context) -> None:
    given = [name for name in context.params if name not in BESIDE_FROM and _given(context, name)]
    if given:
        option = given[0].replace("_", "-")
        raise ArgumentError(f"--from makes the sequence again as it was; leave {option} out, or leave --from out")


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise ArgumentError(f"{name}: {text!r} is not a {'whole number' if kind is int else 'number'}") from error


def _numbers(name: str, text: str, kind: type) -> list[Any]:
    return [_number(name, part.strip(), kind) for part in text.split(",")]


def _one_or_pair(name: str, text: str) -> Any:
    numbers = _numbers(name, text, int)
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _coefficients(coefficients: str | None, beta: str | None) -> Any:
    if coefficients is not None and beta is not None:
        raise ArgumentError("coefficients and beta both say where the frames lie; give one of them")
    if coefficients is not None:
        return _numbers("coefficients", coefficients, float)
    if beta is None:
        return None
    numbers = _numbers("beta", beta, float)
    if len(numbers) != 2:
        raise ArgumentError(f'beta takes two numbers, "alpha,beta" such as "3,3"; got {beta!r}')
    return {"beta_prior": numbers}


def _select(method: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in settings.items() if value is not None}
    if method is None and given:
        raise ArgumentError(f"{next(iter(given)).replace('_', '-')} is a setting of select; add --select dynamic")
    return {} if method is None else {"select": {"method": method, **given}}


def _located(distance: str | None) -> str | None:
    """A distance with the whole path of its weights, so that `sequence.json` means the same from anywhere."""
    kind, separator, place = (distance or "").partition(":")
    return f"{kind}:{Path(place).expanduser().resolve()}" if separator and place else distance


def _stock(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if name in _own_arguments():
            raise ArgumentError(f"stock is for arguments of the pipeline; {name} is one of aid's own, see --help")
        try:
            found[name] = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ArgumentError(f"stock takes NAME=JSON, such as guidance_rescale=0.7; got {pair!r}") from error
        if not separator:
            raise ArgumentError(f"stock takes NAME=JSON, such as guidance_rescale=0.7; got {pair!r}")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _own_arguments() -> set[str]:
    import inspect

    from ..interpolation import interpolate

    return set(inspect.signature(interpolate).parameters)


if __name__ == "__main__":
    main()
