"""The shipped model loads with the stock call, draws, and its card can be made again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aid_pipeline.miniature.attribute_classifier import slots, truth
from aid_pipeline.miniature.card import card_text
from aid_pipeline.miniature.evaluate import Share, main
from aid_pipeline.miniature.scenes import random_scenes
from aid_pipeline.miniature.weights import MODEL_PATH

shipped = pytest.mark.skipif(not MODEL_PATH.is_dir(), reason="no weights are shipped yet")

STOCK_CALL = """
import socket, sys
def refuse(*_): raise OSError("the network is off")
socket.socket.connect = socket.getaddrinfo = refuse
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1])
image = pipe("a red cube on a wooden floor", num_inference_steps=2).images[0]
pipe.load_ip_adapter(sys.argv[1], subfolder="ip_adapter", weight_name="ip-adapter_miniature.safetensors")
again = pipe("", ip_adapter_image=image, num_inference_steps=2).images[0]
assert image.size == again.size == (64, 64)
assert not [name for name in sys.modules if name.startswith("aid_")]
"""


@shipped
@pytest.mark.slow
def test_the_stock_call_needs_nothing_of_this_package_and_no_network(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", STOCK_CALL, str(MODEL_PATH)], cwd=tmp_path, check=True, timeout=200)


@shipped
def test_the_shipped_card_says_what_its_figures_say() -> None:
    figures = json.loads((MODEL_PATH / "figures.json").read_text())
    assert (MODEL_PATH / "README.md").read_text() == card_text(MODEL_PATH, figures)


@shipped
@pytest.mark.slow
def test_a_small_card(tmp_path: Path) -> None:
    from PIL import Image

    small = {"samples": 3, "pairs": 2, "images": 2, "classifier-scenes": 64, "classifier-steps": 2}
    sizes = [word for name, number in small.items() for word in (f"--{name}", str(number))]
    main(["--output", str(tmp_path), "--runs", str(tmp_path / "runs"), *sizes])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["one"]["colour"]["total"] == 3
    assert figures["two"]["both"]["total"] == 2
    assert figures["image_prompt"]["colour and shape"]["total"] == 2
    card = (tmp_path / "README.md").read_text()
    assert f"{figures['vae_psnr_db']:.1f} dB PSNR" in card
    colour = figures["one"]["colour"]
    assert f"| one object: colour | {colour['right']} of 3 |" in card
    with Image.open(tmp_path / "samples.png") as grid:
        assert np.asarray(grid).std() > 20


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # Wilson 1927; values as in Newcombe 1998, table I
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval(right: int, total: int, low: float, high: float) -> None:
    assert Share(right, total).interval == pytest.approx((low, high), abs=5e-5)


def test_the_classifier_names_the_left_or_upper_object_first() -> None:
    for scene in random_scenes(2, 60, pairs=1.0):
        first, second = slots(scene)
        if scene.relation == "on":
            assert first.centre[1] > second.centre[1]
        else:
            assert first.centre[0] < second.centre[0]
        assert truth(scene).appearances == (first.appearance, second.appearance)
