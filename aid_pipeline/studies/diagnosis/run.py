"""Diagnosis of a model's attention: the study's figures and plots in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically, write_json
from ...conditioning.prompts import check_prompts
from ...config import AIDConfig
from ...errors import ArgumentError
from ...io.provenance import model_identity
from ...metrics.distances import Distance
from ...sampling.stock_arguments import check_numbers
from .study import Study, study


@dataclass(frozen=True)
class DiagnosisSettings:
    """What `aid diagnose` studies.

    Args:
        noises: repetitions with other noise.
        seed: of the first noise.

    The others are those of `interpolate`.

    Raises:
        AIDError: everything that can be said before a model is loaded.
    """

    prompt_a: str
    prompt_b: str
    noises: int
    seed: int
    frames: int
    warmup: float
    num_inference_steps: int
    guidance_scale: float

    def __post_init__(self) -> None:
        for name, least in (("noises", 1), ("frames", 3), ("seed", 0)):
            if getattr(self, name) < least:
                raise ArgumentError(f"{name} must be at least {least}, got {getattr(self, name)}")
        AIDConfig(warmup=self.warmup)
        check_prompts(self.prompt_a, self.prompt_b, None, None, 2)
        check_numbers(self.num_inference_steps, self.guidance_scale, "pt", "auto")

    def to_json(self) -> dict[str, Any]:
        """The "arguments" of `diagnosis.json`."""
        return asdict(self)


def diagnose(
    pipe: Any,
    settings: DiagnosisSettings,
    measure: Distance,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Make the study and write `diagnosis.json` and its plots into `folder`, which exists.

    Raises:
        AIDError: as `study`.
    """
    found = study(pipe, distance=measure, progress=progress, **settings.to_json())
    for name, content in found.plots().items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    document = {"model": model_identity(pipe), "arguments": settings.to_json(), **found.figures()}
    write_json(folder / "diagnosis.json", document)
    return found
