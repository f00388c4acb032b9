"""SDXL: fifteen frames with a guide, spaced by a Beta prior, from a local folder or a hub id.

python examples/sdxl.py stabilityai/stable-diffusion-xl-base-1.0 --out runs/pets
python examples/sdxl.py --miniature --out runs/pets     # the same calls without SDXL's weights
"""

from __future__ import annotations

import argparse

from aid_pipeline import AIDConfig, BetaPrior, interpolate, load_model

SDXL_PROMPTS = ("a photo of a cat", "a photo of a dog", "a photo of an animal")
MINIATURE_PROMPTS = ("a red sphere", "a blue cube", "a purple cone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="a diffusers folder or a hub id of SDXL")
    parser.add_argument(
        "--miniature", action="store_true", help="the model that comes with the package, in SDXL's place"
    )
    parser.add_argument("--out", default="runs/sdxl", help="a new or empty folder")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    if options.miniature == (options.model is not None):
        parser.error("give a folder or hub id of SDXL, or --miniature")

    # bfloat16 on a GPU, float32 on a CPU; weights are safetensors or the model is refused
    pipe = load_model("miniature" if options.miniature else options.model)
    first, last, guide = MINIATURE_PROMPTS if options.miniature else SDXL_PROMPTS
    sequence = interpolate(
        pipe,
        first,
        last,
        frames=options.frames,
        config=AIDConfig(mode="outer", warmup=0.5),
        guide=guide,  # PAID: the text of every interior frame
        coefficients=BetaPrior(3, 3),  # frames gather in the middle, where things change
        num_inference_steps=options.steps,
    )
    sequence.save(options.out, gif=True, video=False)
    print(f"{len(sequence)} frames in {options.out}")


if __name__ == "__main__":
    main()
