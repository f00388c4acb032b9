"""Tiny denoisers without a pipeline, in float64, one for each way in which attention layers differ.

A call has a row per frame, made of tensors whose first dimension is the rows; everything else is shared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from .stock_pipelines import sharpen, unet

WIDTH = 32


@dataclass(frozen=True)
class BareDenoiser:
    """A model and what else it is called with for some rows, beside `encoder_hidden_states` and `timestep`.

    `sample` is the shape of a row; `masks` makes the mask arguments of (rows, tokens) visible tokens; `repeats` says
    how often the embeddings of each row are repeated in the call.
    """

    make: Callable[[], nn.Module]
    sample: tuple[int, ...]
    masks: Callable[[Tensor], dict[str, Any]] = lambda visible: {}
    more: Callable[[], dict[str, Any]] = dict
    argument: str = "hidden_states"
    repeats: int = 1

    def fresh(self) -> nn.Module:
        """The model with the same weights every time; gates that start at zero are filled, so that attention shows."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = sharpen(self.make())
            for parameter in model.parameters():
                if parameter.ndim > 1 and not parameter.any():
                    parameter.data.normal_(std=0.1)
        return model.eval().requires_grad_(False).double()

    def call(self, rows: int, tokens: int = 6) -> dict[str, Any]:
        """Arguments of one call; the frames' embeddings differ, and every frame sees one token less than the last."""
        generator = torch.Generator().manual_seed(1)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        visible = torch.arange(tokens) <= torch.arange(tokens - rows, tokens)[:, None]
        call = {self.argument: draw(1, *self.sample).expand(rows, *self.sample).clone()}
        call |= {
            "encoder_hidden_states": draw(rows, tokens, WIDTH).repeat_interleave(self.repeats, dim=0),
            "timestep": torch.full((rows,), 500.0, dtype=torch.float64),
        }
        return call | self.masks(visible) | self.more()


def chroma() -> nn.Module:
    return diffusers.ChromaTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, axes_dims_rope=(4, 4, 8), approximator_num_channels=8, approximator_hidden_dim=16,
        approximator_layers=1,
    )  # fmt: skip


def positions() -> dict[str, Tensor]:
    """Of 9 image tokens and 6 text tokens."""
    image = torch.cartesian_prod(torch.arange(1.0), torch.arange(3.0), torch.arange(3.0))
    return {"img_ids": image, "txt_ids": torch.zeros(6, 3)}


def hunyuan_image() -> nn.Module:
    return diffusers.HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=(1, 1), text_embed_dim=WIDTH, rope_axes_dim=(8, 8),
    )  # fmt: skip


def sana() -> nn.Module:
    return diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=WIDTH,
        sample_size=4,
    )  # fmt: skip


def video_unet() -> nn.Module:
    return diffusers.UNet3DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=WIDTH,
        attention_head_dim=8, sample_size=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip


def motion_unet() -> nn.Module:
    return diffusers.UNetMotionModel(
        block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=WIDTH, sample_size=4,
        num_attention_heads=2, motion_num_attention_heads=2, motion_max_seq_length=4,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
    )  # fmt: skip


def kandinsky3() -> nn.Module:
    return diffusers.Kandinsky3UNet(
        in_channels=4, time_embedding_dim=8, groups=2, attention_head_dim=4, layers_per_block=3,
        block_out_channels=(16, 32), cross_attention_dim=8, encoder_hid_dim=WIDTH,
    )  # fmt: skip


BARE = {
    # a 0/1 product of masks that is added to the logits
    "chroma": BareDenoiser(
        chroma,
        (9, 4),
        masks=lambda visible: {"attention_mask": torch.cat([visible.double(), torch.ones(len(visible), 9)], dim=1)},
        more=positions,
    ),
    # text tokens see text tokens in the refiner, queries that see nothing but the first; then masks of keys
    "hunyuan_image": BareDenoiser(
        hunyuan_image, (4, 3, 3), masks=lambda visible: {"encoder_attention_mask": visible.long()}
    ),
    # self-attention is linear, cross-attention is not
    "sana": BareDenoiser(sana, (4, 4, 4), masks=lambda visible: {"encoder_attention_mask": visible.long()}),
    # layers of rows x video frames, and of rows x pixels
    "video_unet": BareDenoiser(video_unet, (4, 3, 4, 4), argument="sample"),
    # the same with every prompt once for each image of its clip
    "motion_unet": BareDenoiser(motion_unet, (4, 3, 4, 4), argument="sample", repeats=3),
    # text is pooled by attention too; heads of 4 channels
    "kandinsky3": BareDenoiser(
        kandinsky3, (4, 8, 8), masks=lambda visible: {"encoder_attention_mask": visible.double()}, argument="sample"
    ),
    # heads of 4 channels, and of 8
    "small_heads": BareDenoiser(
        lambda: unet(attention_head_dim=4, cross_attention_dim=WIDTH), (4, 4, 4), argument="sample"
    ),
}
