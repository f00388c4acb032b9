"""The training loop resumes bit for bit, and all stages together give a stock pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aid_pipeline.miniature.components import WIDTH, new_tokenizer, new_unet
from aid_pipeline.miniature.train import main
from aid_pipeline.miniature.training.data import APPEARANCE, make_scene_data
from aid_pipeline.miniature.training.ip_adapter import new_ip_state
from aid_pipeline.miniature.training.loop import Hyperparameters, TrainingLoop

HYPERPARAMETERS = Hyperparameters(steps=8, batch=4, learning_rate=1e-2, warmup=2, seed=3)


def _loop(folder: Path, hyperparameters: Hyperparameters) -> tuple[TrainingLoop, list[float]]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    losses: list[float] = []
    loop = TrainingLoop("line", module, hyperparameters, folder)

    def loss(generator: torch.Generator, progress: float):
        x = torch.randn(hyperparameters.batch, 3, generator=generator)
        value = (module(x).float() - x[:, :2]).square().mean()
        losses.append(float(value.detach()))
        return value, {}

    loop.run(loss)
    return loop, losses


def test_resuming_gives_the_same_weights_as_going_through(tmp_path: Path) -> None:
    whole, losses = _loop(tmp_path / "a", HYPERPARAMETERS)
    # The first half under the whole hyperparameters's schedule, cut off by an error as a killed process would be.
    first = TrainingLoop("line", nn.Linear(3, 2), HYPERPARAMETERS, tmp_path / "b")
    torch.manual_seed(0)
    first.module.load_state_dict(nn.Linear(3, 2).state_dict())
    first.average = {k: p.detach().clone() for k, p in first.trained.items()}

    def loss(generator: torch.Generator, progress: float):
        if first.step == 4:
            first.save()
            raise KeyboardInterrupt
        x = torch.randn(HYPERPARAMETERS.batch, 3, generator=generator)
        return (first.module(x).float() - x[:, :2]).square().mean(), {}

    with pytest.raises(KeyboardInterrupt):
        first.run(loss)
    second, rest = _loop(tmp_path / "b", HYPERPARAMETERS)
    assert rest == losses[4:]
    for name, weight in whole.module.state_dict().items():
        torch.testing.assert_close(second.module.state_dict()[name], weight, rtol=0, atol=0)
        torch.testing.assert_close(second.average[name], whole.average[name], rtol=0, atol=0)


def test_the_average_lags_behind_the_weights(tmp_path: Path) -> None:
    loop, _ = _loop(tmp_path, replace(HYPERPARAMETERS, ema=0.9))
    assert not torch.equal(loop.averaged().weight, loop.module.weight)
    assert loop.module.training


def test_later_stages_ask_for_earlier_ones(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vae is missing: run the stage that makes it first"):
        main(["unet", "--runs", str(tmp_path), "--scenes", "8", "--steps", "1"])


def test_numbers_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--steps -1"):
        main(["vae", "--runs", str(tmp_path), "--steps", "-1"])


def test_cells_know_the_look_of_what_they_show() -> None:
    data = make_scene_data(new_tokenizer(), 40, seed=3, pairs=0.5)
    appearances = data.appearances(torch.arange(40))
    assert appearances.shape == (40, len(APPEARANCE), 8, 8)
    for shown, found, labels in zip(data.items, appearances, data.labels, strict=True):
        assert (shown == 1).any()
        for item in range(3):
            expected = labels[4 * (item - 1) :][:3] if item else torch.zeros(3, dtype=torch.int64)
            assert (found[:, shown == item] == expected[:, None]).all()


def test_half_of_the_captions_say_all_that_there_is() -> None:
    data = make_scene_data(new_tokenizer(), 60, seed=4)
    said = (data.tokens != data.tokens[..., -1:]).sum(2).float().mean(0)
    assert min(said[1], said[3]) > max(said[0], said[2]) + 1


def test_the_silent_image_token_is_looked_at_and_says_nothing() -> None:
    unet, silent = new_unet(), torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    layers = new_ip_state(unet, silent=silent)["ip_adapter"]
    plain = new_ip_state(unet)["ip_adapter"]
    for name, weight in layers.items():
        if "to_k" in name:
            assert torch.equal(weight, plain[name])
        else:
            assert (weight @ silent).abs().max() < 1e-5 * (plain[name] @ silent).abs().max()
            across = torch.linalg.qr(torch.stack([silent, torch.ones(WIDTH)], 1))[0][:, 1]
            torch.testing.assert_close(weight @ across, plain[name] @ across)


@pytest.mark.slow
def test_all_stages_give_a_stock_pipeline(tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    from aid_pipeline.miniature import load
    from aid_pipeline.miniature.scenes import random_scenes, render

    main(["all", "--runs", str(tmp_path), "--scenes", "300", "--steps", "2", "--batch", "4"])
    pipe = StableDiffusionPipeline.from_pretrained(str(tmp_path / "model"), local_files_only=True)
    assert {p.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters()} == {torch.float32}
    image = pipe("a red cube", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 64, 64, 3)
    assert np.isfinite(image).all()
    adapted = load(tmp_path / "model", ip_adapter=True)
    image = adapted.image_processor.numpy_to_pil(render(random_scenes(0, 1)) / 255)[0]
    generator = [torch.Generator().manual_seed(0) for _ in range(2)]
    one = adapted("", ip_adapter_image=image, num_inference_steps=2, generator=generator[0], output_type="np").images
    adapted.set_ip_adapter_scale(0.0)
    none = adapted("", ip_adapter_image=image, num_inference_steps=2, generator=generator[1], output_type="np").images
    assert np.abs(one - none).max() > 1e-3
    # Going on from exported weights starts from them.
    main(
        [
            "vae",
            "--runs",
            str(tmp_path / "more"),
            "--scenes",
            "300",
            "--steps",
            "1",
            "--batch",
            "2",
            "--learning-rate",
            "1e-9",
            "--resume-from",
            str(tmp_path / "model"),
        ]
    )
