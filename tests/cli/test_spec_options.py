"""Options of `aid interpolate` from the fields of `InterpolationSpec`."""

import inspect
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from aid_pipeline import AIDConfig, BetaPrior, Selection, interpolate
from aid_pipeline.cli.interpolate import Options
from aid_pipeline.cli.options import command_from, given
from aid_pipeline.cli.spec_options import spec_of, spec_options
from aid_pipeline.spec import InterpolationSpec

from ..support.command_line import aid

SHOWN = [entry.name for entry in fields(InterpolationSpec) if "help" in entry.metadata]


def chosen(**options) -> InterpolationSpec:
    return spec_of(Options(prompt_a="a", prompt_b="b", **options))


def invoke(command, *arguments: str):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_options_are_the_python_names():
    shown = CliRunner().invoke(*_help())
    named = set(inspect.signature(interpolate).parameters)
    for name in named - {"pipe", "prompt_a", "prompt_b", "config", "output_type", "progress"}:
        assert f"--{name.replace('_', '-')}" in shown.output


def _help():
    from aid_pipeline.cli.app import app

    return app, ["interpolate", "--help"]


@pytest.mark.parametrize("name", SHOWN)
def test_every_field_with_a_help_text_is_an_option(name):
    assert name in {option[0] for option in spec_options()}


@pytest.mark.parametrize("owner", [AIDConfig, Selection])
def test_fields_of_the_objects_are_options(owner):
    shown = {entry.name for entry in fields(owner) if "help" in entry.metadata}
    assert shown
    assert shown <= {option[0] for option in spec_options()}


@dataclass(frozen=True, eq=False)
class FourFieldsMore(InterpolationSpec):
    """More arguments, each in one place."""

    sharpness: float = field(default=0.25, metadata={"help": "How sharp."})
    marks: tuple[float, ...] = field(default=(0.5,), metadata={"help": "Any number."})
    labels: tuple[str, ...] | None = field(default=None, metadata={"help": "Any number, or none."})
    pair: tuple[int, int] = field(default=(1, 2), metadata={"help": "Two."})


def test_a_new_field_is_an_option_and_reaches_the_specification():
    options = make_dataclass("Options", [("prompt_a", str, "a"), ("prompt_b", str, "b"), *spec_options(FourFieldsMore)])
    specs = []
    command = command_from(options)(lambda options: specs.append(spec_of(options, FourFieldsMore)))
    result = invoke(command, "--sharpness", "0.5")
    assert result.exit_code == 0, result.output
    assert specs[0].sharpness == 0.5
    assert "How sharp." in invoke(command, "--help").output
    assert (specs[0].marks, specs[0].labels, specs[0].pair) == ((0.5,), None, (1, 2))
    several = ["--marks", "1", "--marks", "2", "--labels", "x", "--pair", "3", "4"]
    assert invoke(command, *several).exit_code == 0
    assert (specs[1].marks, specs[1].labels, specs[1].pair) == ((1.0, 2.0), ("x",), (3, 4))


def test_a_command_may_leave_options_out():
    left_out = ("mode", "seed", "select", "sharpness", "marks", "labels", "pair", "coefficients")
    shown = {option[0] for option in spec_options(FourFieldsMore, left_out)}
    assert not shown & {*left_out, "beta", "explore"}
    assert {"fuse_self", "frames", "stock"} <= shown
    values = [("prompt_a", str, "a"), ("prompt_b", str, "b"), *spec_options(FourFieldsMore, left_out)]
    options = make_dataclass("Options", [*values, ("seed", str, "mine")])
    assert (
        spec_of(options(frames=4), FourFieldsMore, left_out).to_json()
        == FourFieldsMore.between("a", "b", frames=4).to_json()
    )


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({}, "frames", 7),
        ({}, "seed", 0),
        ({"seed": "1,2"}, "seed", (1, 2)),
        ({"chunk": "3"}, "chunk", 3),
        ({"guide": ["x"]}, "guide", "x"),
        ({"guide": ["x", "y"], "frames": 4}, "guide", ("x", "y")),
        ({"guide": []}, "guide", None),
        ({"negative_prompt": ["p", "q"]}, "negative_prompt", ("p", "q")),
        ({"beta": "3,2"}, "coefficients", BetaPrior(3, 2)),
        ({"coefficients": "0,0.3,1"}, "coefficients", (0, 0.3, 1)),
        ({"coefficients": "0,0.3,1"}, "frames", 3),
        ({"select": "dynamic", "explore": 12}, "select", Selection(explore=12)),
        ({"mode": "inner", "warmup": 1.0}, "config", AIDConfig(mode="inner", warmup=1.0)),
        ({"stock": ["guidance-rescale=0.5", "eta=1"]}, "stock", {"guidance_rescale": 0.5, "eta": 1}),
    ],
    ids=str,
)
def test_texts_become_values(options, name, value):
    assert getattr(chosen(**options), name) == value


def test_frames_that_are_the_default_but_asked_for():
    assert aid("interpolate", "a", "b", "--frames", "7", "--coefficients", "0,1", "--out", "x").exit_code == 2


# ---------------------------------------------------------------- a command from a dataclass


@dataclass(frozen=True)
class Basket:
    """Options of a command."""

    place: Annotated[str, typer.Argument(help="Where.")]
    apples: int = field(default=3, metadata={"help": "How many.", "option": "--fruit"})
    names: Annotated[list[str] | None, typer.Option(help="Whose.")] = None


@pytest.mark.parametrize(
    ("arguments", "basket"),
    [
        (["shop"], Basket("shop")),
        (["shop", "--fruit", "5", "--names", "a", "--names", "b"], Basket("shop", 5, ["a", "b"])),
    ],
    ids=["defaults", "all"],
)
def test_a_command_gets_an_object_of_its_options(arguments, basket):
    baskets = []
    assert invoke(command_from(Basket)(lambda options: baskets.append(options)), *arguments).exit_code == 0
    assert baskets == [basket]


def test_a_command_may_ask_for_the_context():
    seen = []

    @command_from(Basket)
    def shop(context, options):
        seen.append([name for name in ("place", "apples", "names") if given(context, name)])

    invoke(shop, "shop", "--fruit", "3")
    assert seen == [["place", "apples"]]


def test_an_argument_that_is_missing():
    assert invoke(command_from(Basket)(lambda options: None)).exit_code == 2
