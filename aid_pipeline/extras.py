"""Extras of the distribution: which one brings a package that is missing, said where the package is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

PIPELINE = "pipeline"
# by the module that is imported: the package to install, and the extra that brings it
PACKAGES = {
    "diffusers": ("diffusers", PIPELINE),
    "transformers": ("transformers", PIPELINE),
    "scipy": ("scipy", PIPELINE),
    "PIL": ("pillow", PIPELINE),
    "typer": ("typer", PIPELINE),
    "rich": ("rich", PIPELINE),
    "imageio": ("imageio", "video"),
    "av": ("av", "video"),
    "matplotlib": ("matplotlib", "plots"),
    "torchmetrics": ("torchmetrics", "metrics"),
    "bayes_opt": ("bayesian-optimization", "select"),
    "lpips": ("lpips", "paper-metrics"),
    "torchvision": ("torchvision", "paper-metrics"),
    "torch_fidelity": ("torch-fidelity", "paper-metrics"),
    "tqdm": ("tqdm", "train"),
}


class MissingPackageError(ModuleNotFoundError):
    """A package of an extra is not installed; the message names both."""


def what_is_missing(what: str, *modules: str) -> str:
    """One line: what needs which packages, all of one extra, and how to install them."""
    names, extras = zip(*(PACKAGES[module] for module in modules), strict=True)
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{what} needs {listed}: pip install 'aid-kernels[{extras[0]}]'"


@contextmanager
def naming_extra(what: str, error_class: type[Exception] = MissingPackageError) -> Iterator[None]:
    """Around imports or, as a decorator, a function: a package of an extra that is missing is named with the extra.

    Args:
        what: needs the package.
        error_class: of what is raised; other errors of imports pass as they are.
    """
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module not in PACKAGES or isinstance(error, MissingPackageError):
            raise
        message = what_is_missing(what, module)
        if not isinstance(error, ModuleNotFoundError):  # it is there, and too old or broken
            message += f" ({error})"
        if issubclass(error_class, ImportError):
            raise error_class(message, name=error.name) from error
        raise error_class(message) from error


def from_home(package: str, name: str, homes: Mapping[str, str]) -> Any:
    """An attribute of a package that is imported when it is first used.

    Args:
        homes: the module inside the package that each such attribute comes from.

    Raises:
        AttributeError: no such attribute.
        MissingPackageError: its module needs an extra.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    with naming_extra(f"{package}.{name}"):
        return getattr(import_module(f"{package}.{homes[name]}"), name)
