"""Limits on files, functions and parameter lists."""

from pathlib import Path

import pytest

from tests.tools.test_imports import write
from tools.sizes import MOST_CODE_LINES, MOST_LINES, MOST_PARAMETERS, too_large


def function(lines: int, parameters: int = 1, before: str = "") -> str:
    """A function of so many lines of code, with a docstring, comments and blank lines, which do not count."""
    names = ", ".join(f"x{number}" for number in range(parameters))
    body = "    x = 1  # counts\n    # does not\n\n" * lines
    return f'{before}def long({names}):\n    """Two lines,\n    no code."""\n{body}'


def measured(root: Path, text: str) -> list[str]:
    return too_large(write(root, p__a=text), ["p"])


def test_what_is_at_its_limit_passes(tmp_path: Path) -> None:
    assert measured(tmp_path, function(MOST_CODE_LINES, MOST_PARAMETERS)) == []
    assert measured(tmp_path, "x = 1\n" * MOST_LINES) == []


def test_what_is_over_a_limit_is_named(tmp_path: Path) -> None:
    assert measured(tmp_path, "x = 1\n" * (MOST_LINES + 1)) == ["p/a.py: 301 lines, more than 300"]
    assert measured(tmp_path, function(MOST_CODE_LINES + 1)) == ["p/a.py: long has 61 lines of code, more than 60"]
    assert measured(tmp_path, function(1, MOST_PARAMETERS + 1)) == ["p/a.py: long has 13 parameters, more than 12"]


def test_stars_and_keywords_are_parameters_and_methods_are_functions(tmp_path: Path) -> None:
    names = ", ".join(f"x{number}" for number in range(9))
    assert measured(tmp_path, f"class A:\n    async def f(self, {names}, *args, key, **kw): pass") == [
        "p/a.py: f has 13 parameters, more than 12"
    ]


@pytest.mark.parametrize(
    "decorator", ["@triton.jit", '@triton.jit(do_not_specialize=["a"])', "@torch.library.custom_op()"]
)
def test_kernels_and_schemas_are_flat(tmp_path: Path, decorator: str) -> None:
    assert measured(tmp_path, function(1, 40, before=f"{decorator}\n")) == []
    assert len(measured(tmp_path, function(61, 40, before=f"{decorator}\n"))) == 1


def test_the_public_signature_is_exempt_at_its_place_alone(tmp_path: Path) -> None:
    text = function(1, 20).replace("long", "interpolate")
    write(tmp_path, aid_pipeline__interpolation=text, aid_pipeline__other=text)
    assert too_large(tmp_path, ["aid_pipeline"]) == [
        "aid_pipeline/other.py: interpolate has 20 parameters, more than 12"
    ]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        too_large(tmp_path, ["absent"])
