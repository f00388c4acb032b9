"""`aid interpolate`: a new option is a field with a help text, here of `InterpolationSpec` in `spec.py`.

In Python it is a parameter of `interpolate` too. Fields of `AIDConfig`, `Selection` and `Formats` become options
likewise; what is not of the sequence is written below.
"""

from __future__ import annotations

from dataclasses import make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ArgumentError
from ..io.formats import Formats
from ..keyframes import Keyframe
from ..spec import InterpolationSpec
from . import options as shared
from .console import errors, report_errors
from .options import command_from, given
from .spec_options import spec_arguments, spec_options

HELP = """Generate a sequence of frames between two prompts, or two images of your own.

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

From one image of yours to another; both stay what they are:

    aid interpolate --real-a lion.jpg --real-b tiger.jpg "a lion" "a tiger" --out runs/morph

Let the frames themselves decide where they lie, so that every step looks equally large:

    aid interpolate "a red sphere" "a blue cube" --out runs/even --select dynamic

The same sequence again, bit for bit:

    aid interpolate --from runs/first/sequence.json --out runs/again

Exit codes: 0 done, 2 bad input, 1 failure.
"""

_OF_REAL = ("keep_ends", "path", "strength")
# options that do not change what is generated, and so may stand beside --from
BESIDE_FROM = {"again", "out", *(name for name, *_ in shared.FORMATS)}

_PROMPT_A = Annotated[str | None, typer.Argument(metavar="A", help="What the first frame shows.")]
_PROMPT_B = Annotated[str | None, typer.Argument(metavar="B", help="What the last frame shows.")]
_REAL_A = Annotated[Path | None, typer.Option(help="Image file that the first frame reconstructs.")]
_REAL_B = Annotated[Path | None, typer.Option(help="Image file that the last frame reconstructs.")]
_KEEP_ENDS = Annotated[str | None, typer.Option(help="Of real images: vae (reconstructed), or file (themselves).")]
_PATH = Annotated[str | None, typer.Option(help="How real images get noise: inverted or noised.")]
_STRENGTH = Annotated[float | None, typer.Option(help="Of real images: share of the steps between them, to 1.")]
_OUT = Annotated[Path | None, typer.Option(help="Folder for the files: new or empty.")]
_REVISION = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")]
_FROM = Annotated[Path | None, typer.Option("--from", help="Generate the sequence of this sequence.json again.")]


Options = make_dataclass(
    "Options",
    [
        ("prompt_a", _PROMPT_A, None),
        ("prompt_b", _PROMPT_B, None),
        ("out", _OUT, None),
        ("real_a", _REAL_A, None),
        ("real_b", _REAL_B, None),
        ("keep_ends", _KEEP_ENDS, None),
        ("path", _PATH, None),
        ("strength", _STRENGTH, None),
        *spec_options(),
        *shared.PLACE[:1],
        ("revision", _REVISION, None),
        *shared.PLACE[1:],
        ("again", _FROM, None),
        *shared.FORMATS,
    ],
    frozen=True,
)


@command_from(Options)
def interpolate(context: typer.Context, options: Any) -> None:
    with report_errors(errors):
        from ..request import Request, read_request

        if options.out is None:
            raise ArgumentError("say where the files go with --out DIR")
        asked = {name: getattr(options, name) for name, *_ in shared.FORMATS if given(context, name)}
        if options.again is not None:
            _refuse_beside_from(context)
            request, formats = read_request(options.again)
        elif any(prompt is None and real is None for prompt, real in _ends(options)):
            raise ArgumentError(
                'give two prompts, such as aid interpolate "a red sphere" "a blue cube" --out DIR, or images as '
                "--real-a and --real-b"
            )
        else:
            latents = None if options.latents is None else str(options.latents.resolve())
            request = Request(_spec(options), options.model, options.revision, options.device, options.dtype, latents)
            formats = Formats()
        from .run import generate

        generate(request, options.out, replace(formats, **asked))


def _ends(options: Any) -> tuple[tuple[str | None, Path | None], ...]:
    return (options.prompt_a, options.real_a), (options.prompt_b, options.real_b)


def _spec(options: Any) -> InterpolationSpec:
    """The specification; the files are read before a model is loaded."""
    from ..io.image_files import read_image

    first, last = (Keyframe(prompt or "", real and read_image(real)) for prompt, real in _ends(options))
    given = {name: getattr(options, name) for name in _OF_REAL if getattr(options, name) is not None}
    if given and all(real is None for _, real in _ends(options)):
        option = next(iter(given)).replace("_", "-")
        raise ArgumentError(f"{option} is for real images at the ends; add --real-a or --real-b")
    return InterpolationSpec.between(first, last, **spec_arguments(options), **given)


def _refuse_beside_from(context: typer.Context) -> None:
    for name in context.params:
        if name not in BESIDE_FROM and given(context, name):
            option = name.replace("_", "-")
            raise ArgumentError(f"--from repeats the sequence as it was; leave {option} out, or leave --from out")
