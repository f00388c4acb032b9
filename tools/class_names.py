"""Class names: which modules name a concrete pipeline or denoiser class of diffusers, in code or in words.

`families` alone may. Elsewhere a class comes with the model that was given, or its name stands in a configuration file,
as diffusers writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

HOME = "aid_pipeline/families"
_CONCRETE = re.compile(r"\b(?:(?!Diffusion)[A-Z]\w*Pipeline|AutoPipelineFor\w+|UNet\w*Model|\w*Transformer\w*Model)\b")


def concrete_classes(root: Path, packages: Iterable[str], home: str = HOME) -> list[str]:
    """A line for every file that names a class, but for `home`: a module, or a folder of modules."""
    found: list[str] = []
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        file = path.relative_to(root).as_posix()
        names = sorted(set(_CONCRETE.findall(path.read_text("utf-8"))))
        if names and not file.startswith((f"{home}.py", f"{home}/")):
            found.append(f"{file} names {', '.join(names)}: {home} alone knows families by class")
    return found
