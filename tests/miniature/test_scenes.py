"""The renderer and the caption grammar."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from aid_pipeline.miniature.scenes import (
    COLOURS,
    FLOORS,
    MATERIALS,
    SETTINGS,
    SHAPES,
    Item,
    Scene,
    appearances,
    caption,
    is_held_out,
    random_scenes,
    render,
    render_with_items,
    words,
)
from aid_pipeline.miniature.scenes.solids import distance_to_hit, normal_at


def scene(colour: str = "red", shape: str = "sphere", material: str = "matte", **other: str) -> Scene:
    item = Item(colour, shape, material, "large", (0.0, 0.9, 0.0), 0.9, 0.5)
    return replace(Scene((item,), "sandy", "studio", "left", -45.0, place="centre"), **other)


def test_same_seed_same_images_and_captions() -> None:
    first, second = random_scenes(5, 12), random_scenes(5, 12)
    assert first == second
    np.testing.assert_array_equal(render(first), render(second))
    assert [caption(s, 3) for s in first] == [caption(s, 3) for s in second]
    assert random_scenes(6, 12) != first


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    scenes = random_scenes(1, 70, pairs=0.5)
    together = render(scenes)
    assert together.shape == (70, 64, 64, 3)
    assert together.dtype == np.uint8
    for i in (0, 33, 69):
        np.testing.assert_array_equal(together[i], render(scenes[i])[0])


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "blue"},
        {"shape": "cube"},
        {"material": "striped"},
        {"floor": "slate"},
        {"setting": "night"},
        {"light_azimuth": 45.0},
    ],
)
def test_every_attribute_shows(change: dict[str, str]) -> None:
    difference = np.abs(render(scene()).astype(int) - render(scene(**change)).astype(int))
    assert (difference.max(-1) > 30).sum() > 60


@pytest.mark.parametrize(
    ("colour", "channels"), [("red", (0,)), ("green", (1,)), ("blue", (2,)), ("yellow", (0, 1)), ("cyan", (1, 2))]
)
def test_objects_have_their_colour(colour: str, channels: tuple[int, ...]) -> None:
    middle = render(scene(colour))[0, 30:38, 28:36].reshape(-1, 3).mean(0)
    others = [c for c in range(3) if c not in channels]
    assert middle[list(channels)].min() > middle[others].max() + 30


@pytest.mark.parametrize("shape", SHAPES)
def test_rays_meet_the_surface_where_its_normal_looks_back(shape: str) -> None:
    rng = np.random.default_rng(0)
    direction = np.array([0.1, -0.5, 0.8]) / np.linalg.norm([0.1, -0.5, 0.8])
    start = rng.uniform(-1.2, 1.2, (4000, 3)) - 4 * direction
    along = [np.float64(d) for d in direction]
    t = distance_to_hit(shape, list(start.T), along)
    hit = np.isfinite(t)
    assert 0.1 < hit.mean() < 0.9
    point = start[hit] + t[hit, None] * direction
    normal = np.stack(normal_at(shape, list(point.T)), 1)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=0.06)
    assert (normal @ direction < (0.35 if shape == "ring" else 0.06)).all()  # the ring is traced to within 0.012
    # Just outside, along the normal, a ray that goes straight away meets nothing.
    away = distance_to_hit(shape, list((point + 0.05 * normal).T), list(normal.T))
    assert np.isinf(away[normal[:, 1] >= 0]).mean() > (0.6 if shape == "ring" else 0.99)


def test_sixteen_looks_are_held_out_and_every_value_is_seen() -> None:
    kept, hidden = appearances(False), appearances(True)
    assert len(hidden) == 16
    assert len(kept) == 144
    assert not set(kept) & set(hidden)
    for part, options in enumerate((COLOURS, SHAPES, MATERIALS)):
        assert {appearance[part] for appearance in kept} == {appearance[part] for appearance in hidden} == set(options)


def test_training_scenes_never_show_held_out_looks() -> None:
    for s in random_scenes(3, 400, pairs=0.6):
        assert not any(is_held_out(*item.appearance) for item in s.items)
    for s in random_scenes(3, 100, pairs=0.6, held_out=True):
        assert all(is_held_out(*item.appearance) for item in s.items)


def test_captions_say_what_is_there_and_use_the_grammar_only() -> None:
    known = set(words())
    shapes = {"ball": "sphere", "box": "cube", "torus": "ring"}
    for i, s in enumerate(random_scenes(8, 300, pairs=0.5)):
        text = caption(s, i)
        assert set(re.findall(r"[a-z]+", text)) <= known
        said = re.findall(r"[a-z]+", text.replace("blue sky", "sky"))  # the setting's colour, not an item's
        assert [w for w in said if w in COLOURS] == [item.colour for item in s.items]
        assert [shapes.get(w, w) for w in said if shapes.get(w, w) in SHAPES] == [item.shape for item in s.items]


def test_full_detail_says_floor_setting_and_material() -> None:
    synonyms = {
        "wood": "wooden",
        "tiles": "tiled",
        "sand": "sandy",
        "dull": "matte",
        "glossy": "shiny",
        "checkered": "checked",
    }
    for i, s in enumerate(random_scenes(9, 100, pairs=0.0)):
        said = {synonyms.get(w, w) for w in re.findall(r"[a-z]+", caption(s, i, detail=1.0))}
        assert s.floor in said & set(FLOORS)
        assert s.items[0].material in said
    assert len(SETTINGS) == 4


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_outside_0_to_1_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"pairs={share}"):
        random_scenes(0, 3, pairs=share)
    with pytest.raises(ValueError, match=f"detail={share}"):
        caption(random_scenes(0, 1)[0], detail=share)


def test_shares_tell_which_item_a_pixel_shows() -> None:
    scenes = random_scenes(21, 60, pairs=0.8)
    images, shares = render_with_items(scenes)
    np.testing.assert_array_equal(images, render(scenes))
    assert shares.min() >= 0
    assert shares.sum(-1).max() <= 1 + 1e-6
    across, down = np.arange(64), np.arange(64)[:, None]
    for s, share in zip(scenes, shares, strict=True):
        area = share.sum((0, 1))
        assert area[0] > 20
        if len(s.items) == 1:
            assert area[1] == 0
            continue
        (x, x_other), (y, y_other) = (
            (share * across[:, None]).sum((0, 1)) / area,
            (share * down[..., None]).sum((0, 1)) / area,
        )
        assert {"left": x < x_other, "right": x > x_other, "on": y < y_other}[s.relation]


def test_shares_belong_to_the_colour_of_their_item() -> None:
    shares = render_with_items(scene(colour="red"))[1][0, ..., 0]
    image = render(scene(colour="red"))[0].astype(int)
    inside = image[shares == 1]
    assert (inside[:, 0] > 2 * inside[:, 2]).mean() > 0.95
