"""Store of a running comparison: distances and features of every sequence, so that a killed run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from aid_pipeline.atomic_files import write_atomically, write_json
from aid_pipeline.errors import OutputFolderError
from aid_pipeline.metrics.step_distances import StepMeasures
from benchmarks.common.sources import COMPARISON, Sources, recorded

from .archive import ARCHIVE, read_archive
from .pairs import Pair
from .unit import Unit

SETTINGS, RESULT = "settings.json", "paper.json"


class Store:
    """A folder with one file per pair and trial, each written whole; pairs that have none are read from an archive.

    Args:
        folder: new, empty, or of an earlier run with equal settings.
        settings: all that decides the figures; other settings need another folder.
        distance: name of the distance, which every `StepMeasures` carries.

    Raises:
        OutputFolderError: the folder is of other settings, or holds something else.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], distance: str) -> None:
        self.folder = folder
        self.settings = settings
        self._units = folder / "units"
        self._distance = distance
        settings = json.loads(json.dumps(settings))
        known = folder / SETTINGS
        if known.is_file():
            before = json.loads(known.read_text("utf-8"))
            other = sorted(name for name in settings.keys() | before.keys() if settings.get(name) != before.get(name))
            if other:
                said = "; ".join(f"{name}: {before.get(name)} then, {settings.get(name)} now" for name in other)
                raise OutputFolderError(f"{folder} is of a run with other settings ({said}); give another --out")
        elif folder.is_dir() and any(folder.iterdir()):
            raise OutputFolderError(f"{folder} is not empty and of no earlier run; give another --out")
        folder.mkdir(parents=True, exist_ok=True)
        self._archived = read_archive(folder, distance)
        write_json(known, settings)

    def names(self) -> list[str]:
        """Of the pairs that something is there of."""
        return sorted({path.stem for path in self._units.glob("*.safetensors")} | self._archived.keys())

    def read(self, pair: Pair) -> Unit:
        """What is there of a pair, perhaps nothing.

        Raises:
            OutputFolderError: a file that is not this pair's.
        """
        path = self._path(pair)
        unit = Unit(pair)
        if not path.exists():
            return self._of_archive(pair)
        try:
            with safe_open(path, "pt") as file:
                if file.metadata().get("pair") != _label(pair):
                    raise OutputFolderError(f"{path} is of another pair; give another --out")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise OutputFolderError(f"{path} cannot be read ({error}); delete it to make it again") from error
        unit.endpoints = tensors.pop("endpoints", None)
        for name, tensor in tensors.items():
            method, _, what = name.partition("/")
            if what == "interior":
                unit.interior[method] = tensor
            elif what == "distances":
                *steps, whole = tensor.tolist()
                unit.steps[method] = StepMeasures(tuple(steps), whole, self._distance)
        return unit

    def write(self, unit: Unit) -> None:
        """Keep a unit; a kill leaves the file as it was before."""
        tensors: dict[str, Tensor] = {}
        if unit.endpoints is not None:
            tensors["endpoints"] = unit.endpoints
        for name, steps in unit.steps.items():
            tensors[f"{name}/interior"] = unit.interior[name].contiguous()
            tensors[f"{name}/distances"] = torch.tensor(
                [*steps.distances, steps.endpoint_distance], dtype=torch.float64
            )
        content = save(tensors, {"pair": _label(unit.pair)})
        self._units.mkdir(exist_ok=True)
        write_atomically(self._path(unit.pair), lambda file: file.write(content))

    def _of_archive(self, pair: Pair) -> Unit:
        unit = self._archived.get(pair.name, Unit(pair))
        if _label(unit.pair) != _label(pair):
            raise OutputFolderError(f"{self.folder / ARCHIVE} is of another pair {pair.name}; give another --out")
        return unit

    def _path(self, pair: Pair) -> Path:
        return self._units / f"{pair.name}.safetensors"


def sources_of(folder: Path) -> Sources:
    """Sources of a folder's first sequences; what is made now has those of now."""
    path = folder / RESULT
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return before["sources"] if "sources" in before else recorded(COMPARISON)


def _label(pair: Pair) -> str:
    return json.dumps([pair.prompt_a, pair.prompt_b, pair.seed])
