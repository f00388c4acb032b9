"""Diagnosis of a model's attention: the study's figures and plots in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically, write_json
from ...errors import ArgumentError
from ...io.provenance import model_identity
from ...metrics.distances import Distance
from ...spec import InterpolationSpec
from ..comparison.methods import check_shared, shared_arguments
from .study import Study, noise_seeds, study


@dataclass(frozen=True)
class DiagnosisSettings:
    """What `aid diagnose` studies.

    Args:
        spec: what both images and all sequences have in common; its seed is that of the first noise.
        noises: repetitions with other noise.

    Raises:
        AIDError: everything that can be said before a model is loaded.
    """

    spec: InterpolationSpec
    noises: int

    def __post_init__(self) -> None:
        check_shared(self.spec)
        if self.noises < 1:
            raise ArgumentError(f"noises must be at least 1, got {self.noises}")
        for noise in (0, self.noises - 1):
            noise_seeds(self.spec, noise)

    def to_json(self) -> dict[str, Any]:
        """The "arguments" of `diagnosis.json`."""
        return {**shared_arguments(self.spec), "noises": self.noises, "seed": self.spec.seed}


def diagnose(
    pipe: Any,
    settings: DiagnosisSettings,
    measure: Distance,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Run the study and write `diagnosis.json` and its plots into `folder`, which exists.

    Raises:
        AIDError: as `study`.
    """
    found = study(pipe, settings.spec, measure, settings.noises, progress)
    for name, content in found.plots().items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    document = {"model": model_identity(pipe), "arguments": settings.to_json(), **found.figures()}
    write_json(folder / "diagnosis.json", document)
    return found
