"""Distances agree with their definitions, and refuse what they cannot measure."""

import pytest
import torch

from aid_pipeline.errors import DistanceError
from aid_pipeline.metrics import distances
from aid_pipeline.metrics.distances import adjacent_distances, distance, distance_name, measured

from ..support.towers import PIXELS, clip_tower, dino_tower, images, miniature_folder, write_preprocessor

MEAN = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


def test_the_miniatures_distance_is_its_definition(tmp_path, monkeypatch):
    folder = miniature_folder(tmp_path)
    first, second = images(5), images(5, seed=1)
    tower = clip_tower()
    with torch.no_grad():
        a, b = (tower((x - MEAN) / 0.5, output_hidden_states=True).hidden_states for x in (first, second))
    blocks = [(1 - cosine(x[:, 1:], y[:, 1:])).mean(1) for x, y in zip(a[1:], b[1:], strict=True)]
    monkeypatch.setattr(distances, "IMAGES_AT_ONCE", 2)
    measure = distance(f"miniature:{folder}")
    assert torch.allclose(measure(first, second), (blocks[0] + blocks[1]) / 2, atol=1e-6)
    assert measure(first, first).tolist() == [0.0] * 5
    assert "not LPIPS" in distance_name(measure)


@pytest.mark.parametrize("kind", ["clip", "dino"])
def test_embedding_distances_are_one_minus_cosine(kind, tmp_path):
    tower = clip_tower() if kind == "clip" else dino_tower()
    tower.save_pretrained(tmp_path)
    write_preprocessor(tmp_path)
    first, second = images(3), images(3, seed=1)
    with torch.no_grad():
        a, b = (tower(pixel_values=(x - MEAN) / 0.5) for x in (first, second))
    expected = (
        1 - cosine(a.image_embeds, b.image_embeds)
        if kind == "clip"
        else 1 - cosine(a.last_hidden_state[:, 0], b.last_hidden_state[:, 0])
    )
    measure = distance(f"{kind}:{tmp_path}")
    assert torch.allclose(measure(first, second), expected, atol=1e-6)
    assert expected.min() > 1e-3
    assert distance_name(measure).startswith(kind.upper())


def test_images_of_another_size_are_resized_whole(tmp_path):
    measure = distance(f"miniature:{miniature_folder(tmp_path)}")
    flat = torch.full((1, 3, 40, 24), 0.3)
    assert measure(flat, torch.full_like(flat, 0.7)).item() == pytest.approx(
        measure(torch.full((1, 3, PIXELS, PIXELS), 0.3), torch.full((1, 3, PIXELS, PIXELS), 0.7)).item(), abs=1e-5
    )


def test_lpips_is_that_of_the_package(tmp_path):
    lpips = pytest.importorskip("lpips", exc_type=ImportError)
    from safetensors.torch import save_model

    torch.manual_seed(0)
    theirs = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)
    save_model(theirs, tmp_path / "lpips_vgg.safetensors")
    measure = distance(f"lpips:{tmp_path / 'lpips_vgg.safetensors'}")
    first, second = images(2, pixels=32), images(2, seed=1, pixels=32)
    with torch.no_grad():
        expected = theirs(first, second, normalize=True).flatten()
    assert torch.allclose(measured(lambda a, b: expected, first, second), measured(measure, first, second), atol=1e-6)
    assert "sha256" in distance_name(measure)


def test_a_callable_of_ones_own():
    def mean_square(a, b):
        return (a - b).square().mean((1, 2, 3))

    measure = distance(mean_square)
    assert distance_name(measure) == "mean_square"
    batch = images(4)
    assert adjacent_distances(measure, batch).tolist() == pytest.approx(
        [(batch[i] - batch[i + 1]).square().mean().item() for i in range(3)]
    )


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("ssim", "one of miniature, clip"),
        (3, "got 3"),
        ("clip", "needs its weights"),
        ("lpips", "needs its weights"),
        ("clip:/nowhere", "preprocessor_config.json"),
        ("miniature:/nowhere", "SHA256SUMS is missing"),
    ],
)
def test_unknown_names_and_missing_weights(which, said):
    with pytest.raises(DistanceError, match=said):
        distance(which)


def test_a_folder_of_another_kind(tmp_path):
    write_preprocessor(tmp_path)
    with pytest.raises(DistanceError, match="cannot load a vision tower"):
        distance(f"dino:{tmp_path}")
    (tmp_path / "preprocessor_config.json").write_text("[]")
    with pytest.raises(DistanceError, match="image_mean"):
        distance(f"dino:{tmp_path}")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (torch.zeros(3), "must return shape"),
        (0.0, "got float"),
        (torch.tensor([0.0, -1.0]), ">= 0"),
        (torch.tensor([0.0, float("nan")]), "finite"),
    ],
)
def test_values_that_are_no_distances(found, said):
    with pytest.raises(DistanceError, match=said):
        measured(lambda a, b: found, images(2), images(2))


def test_batches_that_do_not_fit(tmp_path):
    measure = distance(f"miniature:{miniature_folder(tmp_path)}")
    for first, second in ((images(2), images(3)), (images(2)[:, :1],) * 2, (images(2)[0],) * 2):
        with pytest.raises(DistanceError, match="equal batches"):
            measure(first, second)
