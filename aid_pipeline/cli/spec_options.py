"""Options of the commands from the fields of `InterpolationSpec`, and the specification from their texts.

A field with a help text is an option of the same name and type, with no line here; a tuple of any length is an option
that may be repeated. Those of another type on the command line are in `TEXTS`; `config` and `select` are objects, whose
own fields are the options. A command that decides some of them itself names those in `without`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from types import GenericAlias
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from ..coefficients import BetaPrior
from ..config import AIDConfig
from ..errors import ArgumentError
from ..selection.settings import Selection
from ..spec import NOT_STOCK, InterpolationSpec
from .options import Beta

Option = tuple[str, Any, Any]  # name, type and `field` of a dataclass, as `make_dataclass` takes them


def spec_options(spec: type[InterpolationSpec] = InterpolationSpec, without: Collection[str] = ()) -> list[Option]:
    """The options of every field, in the order of `aid interpolate --help`.

    Args:
        without: fields, and options of `config`, that the command decides itself or does not take.
    """
    return [
        option
        for entry in fields(spec)
        for owner, option in _options(entry, spec)
        if owner not in without and option[0] not in without
    ]


def spec_of(
    options: Any, spec: type[InterpolationSpec] = InterpolationSpec, without: Collection[str] = ()
) -> InterpolationSpec:
    """The specification of an object with the options of `spec_options`, `prompt_a` and `prompt_b`.

    Raises:
        ArgumentError: a text that is no value of its option.
        AIDError: as `InterpolationSpec`.
    """
    return spec.between(options.prompt_a, options.prompt_b, **spec_arguments(options, spec, without))


def spec_arguments(
    options: Any, spec: type[InterpolationSpec] = InterpolationSpec, without: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `interpolate`, but the prompts, from an object with the options of `spec_options`.

    Args:
        without: as `spec_options`; these keep their defaults.

    Raises:
        ArgumentError: a text that is no value of its option.
        AIDError: as `AIDConfig`, `BetaPrior` and `Selection`.
    """
    config = {entry.name: getattr(options, entry.name) for entry in _CONFIG if entry.name not in without}
    values: dict[str, Any] = {"config": AIDConfig(**config)}
    if "coefficients" not in without:
        values["coefficients"] = _coefficients(options.coefficients, options.beta)
    if "select" not in without:
        values["select"] = _selection(options)
    for entry in fields(spec):
        if entry.name not in {*values, *without} and "help" in entry.metadata:
            given = getattr(options, entry.name)
            if entry.name in TEXTS and given is not None:
                given = TEXTS[entry.name].read(given)
            elif _repeated(_hints(spec)[entry.name]) is not None:
                if not given:
                    continue
                given = tuple(given)
            values[entry.name] = given
    stock = values.pop("stock", None) or {}
    return {**values, **stock}


def _options(entry: Field[Any], spec: type[InterpolationSpec]) -> Iterator[tuple[str, Option]]:
    """Options of one field, each with the field that it belongs to."""
    name = entry.name
    if name == "config":
        hints = get_type_hints(AIDConfig)
        for own in _CONFIG:
            yield name, (own.name, hints[own.name], _option(own.default, own.metadata["help"]))
    elif name == "coefficients":
        yield name, (name, str | None, _option(None, entry.metadata["help"]))
        yield name, ("beta", Beta, None)
        for option in _selection_options(spec):
            yield "select", option
    elif "help" in entry.metadata and name != "select":
        yield name, (name, *_type_and_default(entry, spec))


def _type_and_default(entry: Field[Any], spec: type[InterpolationSpec]) -> tuple[Any, Any]:
    """Those of a field that is one option; one of any number of values is an option that may be repeated."""
    help_text = entry.metadata["help"]
    if entry.name in TEXTS:
        default = None if entry.default in (None, MISSING) else str(entry.default)
        return TEXTS[entry.name].type, _option(default, help_text)
    hint = _hints(spec)[entry.name]
    item = _repeated(hint)
    if item is None:
        return hint, _option(entry.default, help_text)
    return GenericAlias(list, (item,)) | None, _option(None, help_text)


def _hints(spec: type[InterpolationSpec]) -> dict[str, Any]:
    return get_type_hints(spec, localns={"Tensor": object})


def _repeated(hint: Any) -> Any:
    """X of `tuple[X, ...]`, or of that and None; None is any other type, which typer reads itself."""
    for part in (hint, *get_args(hint)):
        if get_origin(part) is tuple and get_args(part)[1:] == (...,):
            return get_args(part)[0]
    return None


def _selection_options(spec: type[InterpolationSpec]) -> Iterator[Option]:
    """Beside the coefficients, which it is another way to choose."""
    (select,) = (entry for entry in fields(spec) if entry.name == "select")
    yield "select", str | None, _option(None, select.metadata["help"])
    hints = get_type_hints(Selection)
    for own in _SELECTION:
        kind = str if own.name == "distance" else hints[own.name]
        yield own.name, kind | None, _option(None, own.metadata["help"])


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise ArgumentError(f"{name}: {text!r} is not a {'whole number' if kind is int else 'number'}") from error


def _numbers(name: str, text: str, kind: type) -> list[Any]:
    return [_number(name, part.strip(), kind) for part in text.split(",")]


def _seed(text: str) -> Any:
    numbers = _numbers("seed", text, int)
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _chunk(text: str) -> Any:
    return text if text == "auto" else _number("chunk", text, int)


def _one_or_all(texts: list[str]) -> Any:
    """One text for all, or one each; an option that may be repeated is an empty list where it is left out."""
    return texts[0] if len(texts) == 1 else texts or None


def _read_latents(path: Path) -> Any:
    from ..request import read_latents

    return read_latents(path)


def _coefficients(numbers: str | None, beta: str | None) -> Any:
    if numbers is not None and beta is not None:
        raise ArgumentError("coefficients and beta both say where the frames lie; give one of them")
    if numbers is not None:
        return _numbers("coefficients", numbers, float)
    return None if beta is None else BetaPrior.parse(beta)


def _selection(options: Any) -> Selection | None:
    given = {own.name: getattr(options, own.name) for own in _SELECTION if getattr(options, own.name) is not None}
    if options.select is None:
        if given:
            raise ArgumentError(f"{next(iter(given)).replace('_', '-')} is a setting of select; add --select dynamic")
        return None
    if "distance" in given:
        given["distance"] = _located(given["distance"])
    return Selection(method=options.select, **given)


def _located(distance: str) -> str:
    """A distance with the whole path of its weights, so that `sequence.json` means the same from anywhere."""
    kind, separator, place = distance.partition(":")
    return f"{kind}:{Path(place).expanduser().resolve()}" if separator and place else distance


def _stock(pairs: list[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if name in _own_arguments():
            raise ArgumentError(f"stock is for arguments of the pipeline; {name} is one of aid's own, see --help")
        try:
            arguments[name] = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ArgumentError(f"stock takes NAME=JSON, such as guidance_rescale=0.7; got {pair!r}") from error
        if not separator:
            raise ArgumentError(f"stock takes NAME=JSON, such as guidance_rescale=0.7; got {pair!r}")
    return arguments


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _own_arguments() -> set[str]:
    return {*InterpolationSpec.names(), *NOT_STOCK}


class Text(NamedTuple):
    """An option whose text is not yet the argument's value."""

    type: Any
    read: Callable[[Any], Any]


TEXTS = {
    "guide": Text(list[str] | None, _one_or_all),
    "negative_prompt": Text(list[str] | None, _one_or_all),
    "latents": Text(Path | None, _read_latents),
    "seed": Text(str, _seed),
    "chunk": Text(str, _chunk),
    "stock": Text(list[str] | None, _stock),
}
_CONFIG = [entry for entry in fields(AIDConfig) if "help" in entry.metadata]
_SELECTION = [entry for entry in fields(Selection) if "help" in entry.metadata]
