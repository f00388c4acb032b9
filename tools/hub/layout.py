"""Layout of the kernel-hub repository: the package under `torch-ext`, `build.toml`, card, tests and benchmarks.

The format is that of huggingface/kernels, `docs/source/kernel-requirements.md` there, edition 5. The operator compiles
nothing ahead of time, so its framework section is `torch-noarch`, one variant per backend.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "aid_kernels"
NAME = PACKAGE.replace("_", "-")
# the organisation "local" is nobody's: found through LOCAL_KERNELS alone
LOCAL = f"local/{NAME}"
BACKENDS = ("cpu", "cuda", "rocm")
# of the package's files, those that it reads or that say what it does
EXTENSIONS = ("json", "md", "py", "typed")
TEMPLATE = Path(__file__).parent / "repository"

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
_BYTECODE = shutil.ignore_patterns("__pycache__", "*.pyc")


def lay_out(out: Path, repo_id: str = LOCAL, root: Path = ROOT) -> None:
    """Write the repository into `out`; what an earlier call wrote is made anew.

    Raises:
        ValueError: `out` holds something else, or `repo_id` is not owner/name.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise ValueError(f"a repository is owner/name, got {repo_id!r}")
    if out.exists() and not (out.is_dir() and (_is_ours(out) or not any(out.iterdir()))):
        raise ValueError(f"{out} holds something other than this repository; name a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    for folder in ("torch-ext", "tests", "benchmarks", "build"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for source in sorted((root / PACKAGE).rglob("*")):
        if source.suffix[1:] in EXTENSIONS:
            target = out / "torch-ext" / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copytree(TEMPLATE, out, dirs_exist_ok=True, ignore=_BYTECODE)
    # what makes the template a package of this repository
    (out / "__init__.py").unlink()
    shutil.copyfile(root / "LICENSE", out / "LICENSE")
    (out / "build.toml").write_text(build_toml(repo_id, root), encoding="utf-8")


def build_toml(repo_id: str, root: Path = ROOT) -> str:
    """The text of `build.toml`; the kernel's version is the major one of the package, 0 before the API is settled."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    version = re.search(r'"(\d+)\.', (root / PACKAGE / "version.py").read_text("utf-8"))
    assert version is not None
    return f"""[general]
name = "{NAME}"
version = {version[1]}
edition = 5
license = "{project["license"]}"
backends = {_toml_list(BACKENDS)}

[general.hub]
repo-id = "{repo_id}"

[torch-noarch]
pyext = {_toml_list(EXTENSIONS)}
"""


def build(out: Path) -> list[Path]:
    """Write `build/torch-<backend>` of a repository that `lay_out` wrote, each with its `metadata.json`.

    Releases are built by kernel-builder; this is for loading the tree through LOCAL_KERNELS where that is not
    installed.
    """
    general = tomllib.loads((out / "build.toml").read_text("utf-8"))["general"]
    return [_build_variant(out, general, backend) for backend in general["backends"]]


def _build_variant(out: Path, general: dict[str, Any], backend: str) -> Path:
    variant = out / "build" / f"torch-{backend}"
    shutil.rmtree(variant, ignore_errors=True)
    shutil.copytree(out / "torch-ext" / PACKAGE, variant, ignore=_BYTECODE)
    files = {
        path.relative_to(variant).as_posix(): base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        for path in sorted(variant.rglob("*"))
        if path.is_file()
    }
    # the module's name, and so that of its ops: unlike that of any other version
    unique = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:10]
    metadata = {
        "id": f"_{PACKAGE}_{backend}_{unique}",
        "name": general["name"],
        "version": general["version"],
        "license": general["license"],
        "python-depends": [],
        "backend": {"type": backend},
        "digest": {"algorithm": "sha256", "files": files},
    }
    (variant / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    return variant


def _is_ours(out: Path) -> bool:
    try:
        content = tomllib.loads((out / "build.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(content.get("general", {}).get("name") == NAME)


def _toml_list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
