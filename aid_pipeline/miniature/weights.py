"""The shipped weights: where they lie, whether they are whole, and loading them. Importing this imports neither torch
nor diffusers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..extras import naming_extra

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

MODEL_PATH = Path(__file__).parent / "model"
IP_ADAPTER_FOLDER, IP_ADAPTER_WEIGHTS = "ip_adapter", "ip-adapter_miniature.safetensors"
_SUMS = "SHA256SUMS"


def _restore(name: str, folder: Path) -> str:
    if folder != MODEL_PATH:
        return "Copy it again from where the model came from, or run `python -m aid_pipeline.miniature.train all`."
    return (
        f"Restore it with `git checkout -- aid_pipeline/miniature/model/{name}` in a clone, "
        "or reinstall the package with `pip install --force-reinstall --no-deps`."
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """Notes the SHA-256 of every weight and configuration file of ``folder`` in its ``SHA256SUMS`` (format of
    ``sha256sum``).
    """
    kinds = (".safetensors", ".json")
    names = sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in kinds and p.name != "figures.json"
    )
    (folder / _SUMS).write_text("".join(f"{_digest(folder / name)}  {name}\n" for name in names), encoding="utf-8")


def check(folder: Path | str = MODEL_PATH) -> None:
    """Raises unless every file that ``SHA256SUMS`` lists is there and unchanged (about 30 ms).

    Raises:
        FileNotFoundError: a file is missing; the message names it and says how to restore it.
        ValueError: a file is not what was shipped; likewise.
    """
    folder = Path(folder)
    sums = folder / _SUMS
    if not sums.is_file():
        raise FileNotFoundError(f"{sums} is missing. {_restore(_SUMS, folder)}")
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. {_restore(name, folder)}")
        if _digest(path) != digest:
            raise ValueError(f"{path} is damaged: its SHA-256 is not the one in {_SUMS}. {_restore(name, folder)}")


@naming_extra("miniature.load")
def load(
    folder: Path | str = MODEL_PATH,
    *,
    dtype: torch.dtype | dict[str, torch.dtype] | None = None,
    device: str | torch.device = "cpu",
    ip_adapter: bool = False,
) -> DiffusionPipeline:
    """The miniature as the stock pipeline of Stable Diffusion, for 64x64 images; never touches the network.

    Args:
        folder: a model folder with its ``SHA256SUMS``; by default the shipped one.
        dtype: of the computation, for all or by component; None means float32. The files hold float16.
        device: where the pipeline goes.
        ip_adapter: also load the IP-Adapter, so that ``ip_adapter_image=`` works (it is then always needed).

    Raises:
        FileNotFoundError, ValueError: see :func:`check`.
    """
    check(folder)
    import torch
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(str(folder), dtype=dtype or torch.float32, local_files_only=True)
    if ip_adapter:
        pipe.load_ip_adapter(
            str(folder), subfolder=IP_ADAPTER_FOLDER, weight_name=IP_ADAPTER_WEIGHTS, local_files_only=True
        )
    return pipe.to(device)
