"""Presets say what they are, and take nothing else for it."""

import pytest
import torch
import torch.nn.functional as F

from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.clip import Clip
from aid_pipeline.metrics.features import embed, features
from aid_pipeline.metrics.images import as_tensor, imagenet_normalised, through_jpeg
from aid_pipeline.metrics.presets import Instruments, preset
from aid_pipeline.metrics.step_distances import step_measures

from ..support.images import colour_features, moving_square, pixel_distance


def test_clip_is_the_models_own(miniature):
    """Features and scores as the stock model's forward gives them."""
    from transformers import CLIPModel, CLIPTokenizer

    clip = Clip(miniature)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    prompts = ("a red sphere", "a blue cube on sand")
    stock = CLIPModel.from_pretrained(miniature / "clip").eval()
    tokens = CLIPTokenizer.from_pretrained(miniature / "tokenizer")(list(prompts), padding=True, return_tensors="pt")
    with torch.no_grad():
        out = stock(**tokens, pixel_values=images * 2 - 1)
    found = clip(images)
    assert found.shape == (3, 128)
    torch.testing.assert_close(F.normalize(found, dim=-1), out.image_embeds, atol=1e-5, rtol=1e-4)
    expected = 100 * out.image_embeds @ out.text_embeds.T
    torch.testing.assert_close(clip.score(found, prompts).float(), expected, atol=1e-3, rtol=1e-3)
    assert "not Inception" in clip.name


def test_clip_refuses_what_it_cannot_read(miniature, tmp_path):
    with pytest.raises(MetricsError, match="cannot be used as a CLIP model"):
        Clip(tmp_path)
    with pytest.raises(MetricsError, match="tokens"):
        Clip(miniature).text_features(["a red sphere " * 20])


def test_any_callable_will_do():
    measured_by = Instruments(pixel_distance, colour_features, "own")
    images = as_tensor(moving_square(4))
    assert measured_by.steps(images).distance == "pixels (of a test)"
    assert measured_by.embed(images).shape == (4, 6)
    assert measured_by.clip_scores(measured_by.embed(images), ("a",)) is None
    said = measured_by.describe()
    assert said["features"] == "colours (of a test)"
    assert "pixels (of a test)" in measured_by.line()


def test_the_papers_frames_are_measured_as_jpeg():
    images = as_tensor(moving_square(4))
    plain = Instruments(pixel_distance, colour_features, "own").steps(images)
    normalised = Instruments(pixel_distance, colour_features, "own", imagenet=True).steps(images)
    assert 2.1 < normalised.distances[0] / plain.distances[0] < 2.3  # 1 / std, halved by the mapping to [-1, 1]
    paper = Instruments(pixel_distance, colour_features, "own", jpeg=True, imagenet=True)
    expected = step_measures(pixel_distance, imagenet_normalised(through_jpeg(images)))
    assert paper.steps(images) == expected
    assert expected.distances != normalised.distances
    assert torch.equal(paper.embed(images), colour_features(through_jpeg(images)))
    assert paper.describe()["distance_reads"] == "ImageNet-normalised"


def test_the_default_is_the_miniature_and_says_so(miniature):
    found = preset("miniature", f"miniature:{miniature}", f"miniature:{miniature}")
    assert "miniature" in found.describe()["distance"]
    assert "miniature" in found.describe()["features"]
    images = as_tensor(moving_square(3))
    assert found.steps(images).consistency > 0
    assert found.clip_scores(found.embed(images), ("a red cube", "a ring")).shape == (3, 2)


@pytest.mark.parametrize("name", ["standard", "paper-compat"])
def test_presets_take_no_other_weights_for_lpips_and_inception(name, tmp_path):
    with pytest.raises(MetricsError, match=r'give distance "lpips:FILE"'):
        preset(name)
    with pytest.raises(MetricsError, match=r'give features "inception:FILE"'):
        preset(name, "lpips:weights.safetensors", "miniature")
    with pytest.raises(MetricsError, match="preset must be one of"):
        preset("best")


def test_features_are_refused_early(tmp_path):
    for which, said in (("vgg", "one of"), ("clip", "FOLDER"), (3, "a name or a callable")):
        with pytest.raises(MetricsError, match=said):
            features(which)
    with pytest.raises(MetricsError, match="safetensors file"):
        features(f"inception:{tmp_path / 'inception.pth'}")
    images = as_tensor(moving_square(3))
    with pytest.raises(MetricsError, match=r"must be \(3, d\)"):
        embed(lambda x: x.mean(), images)
    with pytest.raises(MetricsError, match="NaN"):
        embed(lambda x: x.flatten(1) / 0, images)
