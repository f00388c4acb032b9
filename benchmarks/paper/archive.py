"""Archive of a comparison: distances of every complete pair, and features in 16 bits, in one file to commit.

The store's files, one a pair, are for making sequences; this is for making the page of a finished comparison anew.
Features are 16-bit numbers of even steps between the least and the greatest of their column, so off by at most half a
step, 8e-6 of that range: less than float16 loses in as many bits, which moves the last printed digits of FID and KID.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from aid_pipeline.atomic_files import write_atomically
from aid_pipeline.errors import OutputFolderError
from aid_pipeline.metrics.step_distances import StepMeasures

from .pairs import Pair
from .unit import Unit

ARCHIVE = "features.safetensors"
STEPS = 2**16 - 2  # on either side of the middle as many


def write_archive(folder: Path, units: Sequence[Unit]) -> Path:
    """Keep units that all have the same methods.

    Raises:
        OutputFolderError: a unit lacks a method that another has.
    """
    methods = sorted({name for unit in units for name in unit.steps})
    lacking = [unit.pair.name for unit in units if unit.endpoints is None or unit.missing(methods)]
    if lacking or not units:
        raise OutputFolderError(f"only a finished comparison is archived; pairs {', '.join(lacking[:5])} lack a method")
    columns = _columns(
        torch.cat([_endpoints(unit) for unit in units] + [x for u in units for x in u.interior.values()])
    )
    tensors = {"columns": columns, "endpoints": _to_steps([_endpoints(unit) for unit in units], columns)}
    for name in methods:
        tensors[f"{name}/interior"] = _to_steps([unit.interior[name] for unit in units], columns)
        steps = [unit.steps[name] for unit in units]
        tensors[f"{name}/distances"] = torch.tensor(
            [[*one.distances, one.endpoint_distance] for one in steps], dtype=torch.float64
        )
    content = save(tensors, {"pairs": json.dumps([vars(unit.pair) for unit in units])})
    write_atomically(folder / ARCHIVE, lambda file: file.write(content))
    return folder / ARCHIVE


def read_archive(folder: Path, distance: str) -> dict[str, Unit]:
    """The units of a folder's archive by the pair's name, perhaps none; `distance` names what measured the steps."""
    path = folder / ARCHIVE
    if not path.is_file():
        return {}
    with safe_open(path, "pt") as file:
        pairs = [Pair(**pair) for pair in json.loads(file.metadata()["pairs"])]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    columns = tensors.pop("columns")
    endpoints = _from_steps(tensors.pop("endpoints"), columns)
    units = [Unit(pair, endpoints[index]) for index, pair in enumerate(pairs)]
    for key, values in tensors.items():
        name, _, what = key.partition("/")
        if what == "interior":
            values = _from_steps(values, columns)
        for unit, value in zip(units, values, strict=True):
            if what == "interior":
                unit.interior[name] = value
            else:
                *steps, whole = value.tolist()
                unit.steps[name] = StepMeasures(tuple(steps), whole, distance)
    return {unit.pair.name: unit for unit in units}


def _columns(features: Tensor) -> Tensor:
    """(2, d): the middle of each column's range, and its step."""
    low, high = features.double().amin(0), features.double().amax(0)
    return torch.stack([(low + high) / 2, ((high - low) / STEPS).clamp(min=torch.finfo(torch.float64).tiny)])


def _to_steps(features: Sequence[Tensor], columns: Tensor) -> Tensor:
    middle, step = columns
    return ((torch.stack(list(features)).double() - middle) / step).round().to(torch.int16)


def _from_steps(steps: Tensor, columns: Tensor) -> Tensor:
    middle, step = columns
    return (steps.double() * step + middle).float()


def _endpoints(unit: Unit) -> Tensor:
    assert unit.endpoints is not None  # of a complete unit
    return unit.endpoints
