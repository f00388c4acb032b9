"""Assembly of the parts that the stages exported, as one stock diffusers folder."""

from __future__ import annotations

import json
from pathlib import Path

from ..components import ARCHITECTURE
from ..weights import write_sums

_WEIGHTS = ("vae", "text_encoder", "image_encoder", "unet", "clip")


def assemble(folder: Path) -> None:
    """Adds ``model_index.json``, the image processor and ``SHA256SUMS`` to a folder that holds all parts.

    Raises:
        FileNotFoundError: a part was not trained yet.
    """
    from diffusers import __version__ as version
    from transformers import CLIPImageProcessor

    for part in (*_WEIGHTS, "tokenizer", "scheduler"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(f"{folder / part} is missing: run the stage that makes it first")
    CLIPImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder / "feature_extractor")
    index = json.loads((ARCHITECTURE / "model_index.json").read_text("utf-8")) | {"_diffusers_version": version}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for part in ("text_encoder", "image_encoder", "clip"):
        # The files are fp16 to be small; a call that names no dtype should compute in fp32 like the rest.
        path = folder / part / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["dtype"] = "float32"
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for part in ("unet", "vae"):
        # diffusers notes where weights that training went on from lay, and, for the vae, a key that it warns about on
        # loading since the class derives it from the decoder's widths.
        path = folder / part / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        if part == "vae":
            config.pop("block_out_channels", None)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_sums(folder)
