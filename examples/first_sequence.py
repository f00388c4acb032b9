"""First sequence: seven frames between two prompts with the miniature, saved to a folder.

python examples/first_sequence.py --out runs/example
"""

from __future__ import annotations

import argparse

from aid_pipeline import AIDConfig, interpolate, load_model
from aid_pipeline.config import DEFAULT_STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/example", help="a new or empty folder")
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="denoising steps")
    options = parser.parse_args()

    pipe = load_model()  # the miniature; any stock pipeline of a supported family does
    sequence = interpolate(
        pipe,
        "a red sphere",
        "a blue cube",
        frames=7,
        config=AIDConfig(mode="outer", warmup=0.5),
        num_inference_steps=options.steps,
    )
    sequence.save(options.out, video=False)
    print(f"{len(sequence)} frames at t = {[round(t, 2) for t in sequence.coefficients]} in {options.out}")
    print(sequence.report)  # which implementation served which layer


if __name__ == "__main__":
    main()
