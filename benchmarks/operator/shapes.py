"""The attention layers that are measured, by the names their users know, and the work in each."""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("outer", "inner")
FRAMES = 7
OTHER_FRAMES = (3, 15, 31)
PROMPT = 77  # keys of a cross-attention


@dataclass(frozen=True)
class LayerShape:
    """One layer of a model: "sdxl-1024 self 4096" is SDXL at 1024 x 1024, self-attention of 4096 positions."""

    name: str
    heads: int
    query_length: int
    key_length: int
    head_dim: int


def _layers(model: str, *layers: tuple[int, int, int]) -> list[LayerShape]:
    """Self- and cross-attention of layers (heads, length, head_dim)."""
    shapes = [LayerShape(f"{model} self {length}", heads, length, length, dim) for heads, length, dim in layers]
    return shapes + [LayerShape(f"{model} cross {length}", heads, length, PROMPT, dim) for heads, length, dim in layers]


# what matters most comes first: a run that ends early has measured that
_MODELS = [
    *_layers("sdxl-1024", (10, 4096, 64), (20, 1024, 64)),
    LayerShape("flux-1024 joint 4608", 24, 4608, 4608, 128),
    *_layers("sd15-512", (8, 4096, 40), (8, 1024, 80), (8, 256, 160), (8, 64, 160)),
    LayerShape("sd3-1024 joint 4608", 24, 4608, 4608, 64),
    *_layers("sd21-768", (5, 9216, 64)),
]
SHAPES = {shape.name: shape for shape in sorted(_MODELS, key=lambda shape: " cross " in shape.name)}
SMOKE_SHAPES = {
    shape.name: shape
    for shape in (LayerShape("smoke self 40", 1, 40, 40, 40), LayerShape("smoke cross 24", 2, 24, 12, 16))
}


@dataclass(frozen=True)
class Work:
    """One case: a layer, outer or inner with the row's own keys, m frames of one sequence."""

    shape: LayerShape
    mode: str
    frames: int

    def units(self) -> int:
        """Attentions of all queries of a row to one set of keys that the result needs; equation (9) of the README.

        The two endpoints are plain, 1 each. Outer needs the own keys and both sources, 3; inner own and mixed keys, 2.
        """
        return 2 + (self.frames - 2) * (3 if self.mode == "outer" else 2)

    def useful_flops(self) -> int:
        """Two products of 2 H Sq Sk D in every unit. Padding, and what is computed more than once, do not count."""
        return self.units() * unit_flops(self.shape)

    def row(self) -> dict[str, object]:
        """Columns that name it."""
        shape = self.shape
        return {
            "shape": shape.name,
            "mode": self.mode,
            "m": self.frames,
            "heads": shape.heads,
            "query_length": shape.query_length,
            "key_length": shape.key_length,
            "head_dim": shape.head_dim,
        }


def unit_flops(shape: LayerShape) -> int:
    """One attention of one row: Q K^T and its product with V."""
    return 4 * shape.heads * shape.query_length * shape.key_length * shape.head_dim


def works(smoke: bool) -> list[Work]:
    """Every case, by value: all layers with 7 frames, outer before inner; then the other numbers of frames."""
    if smoke:
        return [Work(shape, mode, 3) for shape in SMOKE_SHAPES.values() for mode in MODES]
    cases = [Work(shape, mode, FRAMES) for mode in MODES for shape in SHAPES.values()]
    return cases + [Work(shape, mode, frames) for mode in MODES for frames in OTHER_FRAMES for shape in SHAPES.values()]
