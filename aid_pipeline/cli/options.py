"""Options of the commands: those that several share, and a command from a dataclass of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, field, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..errors import ArgumentError, OutputFolderError
from ..io.formats import Formats
from ..models import MINIATURE

Model = Annotated[str, typer.Option(help="miniature, a local folder or a hub id; see `aid models`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, typer.Option(help="auto, float32, float16, bfloat16 or mixed-bfloat16 (the denoiser alone).")]
Beta = Annotated[str | None, typer.Option(help='Spacing by a Beta prior, "alpha,beta" such as "3,3".')]
Preset = Annotated[str, typer.Option(help="What measures: miniature, standard or paper-compat; see docs/metrics.md.")]
Distance = Annotated[str | None, typer.Option(help="Of steps: miniature, clip:FOLDER, dino:FOLDER or lpips:FILE.")]
Features = Annotated[str | None, typer.Option(help="Of fidelity: miniature, clip:FOLDER or inception:FILE.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the files: new, empty, or of this very command.")]

PromptA = Annotated[str, typer.Argument(metavar="A", help="What the first frame shows.")]
PromptB = Annotated[str, typer.Argument(metavar="B", help="What the last frame shows.")]

PLACE: list[tuple[str, Any, Any]] = [("model", Model, MINIATURE), ("device", Device, "auto"), ("dtype", Dtype, "auto")]
"""Options of every command that loads a pipeline, as `make_dataclass` takes them."""
FORMATS: list[tuple[str, Any, Any]] = [
    (entry.name, get_type_hints(Formats)[entry.name], field(default=entry.default, metadata=entry.metadata))
    for entry in fields(Formats)
]
"""Options of every command that writes a sequence, likewise."""
REQUEST = ".aid-command.json"


def needed(out: Path | None) -> Path:
    """The output folder.

    Raises:
        ArgumentError: none was given.
    """
    if out is None:
        raise ArgumentError("say where the files go with --out DIR")
    return out


def claim(out: Path, request: dict[str, Any]) -> None:
    """Make `out` the folder of this command, or find that it is already; a stopped command then goes on.

    Args:
        request: all that decides what the command writes.

    Raises:
        OutputFolderError: a file, a folder with other things in it, or of another command.
    """
    import json

    from ..atomic_files import write_json

    request = json.loads(json.dumps(request))
    known = out / REQUEST
    if out.exists() and not out.is_dir():
        raise OutputFolderError(f"{out} is a file; give a folder")
    if known.is_file():
        before = json.loads(known.read_text("utf-8"))
        other = sorted(name for name in request.keys() | before.keys() if request.get(name) != before.get(name))
        if other:
            raise OutputFolderError(
                f"{out} is of another command ({', '.join(other)} differ); repeat that one, or give another folder"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise OutputFolderError(f"{out} is not empty; give a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    write_json(known, request)


def command_from(options: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that turns a function into a typer command over one dataclass: each field is an argument or an option.

    A field's type is what typer would read from a parameter, `Annotated[int, typer.Option(help=...)]`; a plain type
    takes its help, and its option where that has another name, from the field's metadata,
    `field(default=7, metadata={"help": ..., "option": "--count"})`. The function is called with an
    object of the dataclass, after the typer context if its first parameter is named `context`. Fields that are not on
    the command line keep the dataclass's own default.

        @app.command()
        @command_from(CompareOptions)
        def compare(options: Any) -> None: ...
    """
    hints = get_type_hints(options, include_extras=True)
    parameters = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for entry in fields(options):
        default = Parameter.empty if entry.default is MISSING else entry.default
        hint = hints[entry.name]
        if "help" in entry.metadata:
            names = (entry.metadata["option"],) if "option" in entry.metadata else ()
            hint = Annotated[hint, typer.Option(*names, help=entry.metadata["help"])]
        parameters.append(Parameter(entry.name, Parameter.KEYWORD_ONLY, default=default, annotation=hint))

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        takes_context = next(iter(signature(run).parameters)) == "context"

        @wraps(run)
        def command(context: typer.Context, **values: Any) -> None:
            chosen = options(**{name: value for name, value in values.items() if given(context, name)})
            run(*((context, chosen) if takes_context else (chosen,)))

        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def given(context: typer.Context, name: str) -> bool:
    """Whether an argument or option is on the command line."""
    source = context.get_parameter_source(name)  # an enum of click's, or of the copy of click in newer typers
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Raise ArgumentError if any of these options was given on the command line, where it would do nothing."""
    for name in names:
        if given(context, name):
            raise ArgumentError(f"--{name.replace('_', '-')} {why}")
