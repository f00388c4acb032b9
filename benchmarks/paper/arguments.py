"""Arguments of `python -m benchmarks.paper`: the parser, and what can be checked before a model is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path

from aid_pipeline.coefficients import BetaPrior
from aid_pipeline.config import DEFAULT_GUIDANCE, DEFAULT_STEPS, AIDConfig
from aid_pipeline.errors import AIDError, ArgumentError
from aid_pipeline.metrics.presets import PRESETS
from aid_pipeline.spec import DEFAULT_FRAMES
from aid_pipeline.studies.comparison.methods import ABLATION, MAIN, all_methods, pick

from .pairs import Pair, draw_pairs
from .store import SETTINGS
from .table import RESAMPLES

OUT = Path("runs") / "paper"
FRAMES, STEPS, GUIDANCE = int(DEFAULT_FRAMES), DEFAULT_STEPS, DEFAULT_GUIDANCE


def parser(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="mini", help="mini, a local diffusers folder or a hub id; default %(default)s"
    )
    parser.add_argument("--pairs", type=int, default=100, help="random pairs a trial; default %(default)s")
    parser.add_argument("--trials", type=int, default=5, help="fresh draws of them; default %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to work in; default %(default)s")
    parser.add_argument("--prompts", default="world", help="world (the miniature's), cifar10, or a file of captions")
    parser.add_argument("--methods", default=",".join((*MAIN, *ABLATION)), help="default: all, %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--num-inference-steps", type=int, default=STEPS)
    parser.add_argument("--guidance-scale", type=float, default=GUIDANCE)
    parser.add_argument("--warmup", type=float, default=AIDConfig().warmup)
    parser.add_argument(
        "--beta", default="3,3", help='the prior of methods that have one, or "fit"; default %(default)s'
    )
    parser.add_argument(
        "--fit-pairs", type=int, default=20, help="other pairs that --beta fit makes; default %(default)s"
    )
    parser.add_argument(
        "--two-seeds", action="store_true", help="a noise for each endpoint; default: the same for both"
    )
    parser.add_argument("--preset", default="miniature", choices=PRESETS, help="what measures; default %(default)s")
    parser.add_argument("--distance", help="another distance, such as lpips:FILE")
    parser.add_argument("--features", help="other features, such as inception:FILE")
    parser.add_argument(
        "--resamples", type=int, default=RESAMPLES, help="for intervals of FID and KID; default %(default)s"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument(
        "--shard", default="0/1", help="k/n: make only every n-th pair from the k-th on (0/2 and 1/2 beside)"
    )
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's own")
    parser.add_argument("--nice", type=int, default=0, help="give way to other work, 1 to 19")
    parser.add_argument("--minutes", type=float, help="stop then, with the table of what is there")
    parser.add_argument("--estimate", action="store_true", help="say how long it would take, and stop")
    parser.add_argument(
        "--table", action="store_true", help="sample no more sequences, only the table of what is there"
    )
    parser.add_argument(
        "--archive",
        action="store_true",
        help="keep what is finished in one file too, features in 16 bits",
    )
    return parser


def check(options: argparse.Namespace) -> list[Pair]:
    """What can be said before the model is loaded. Raises AIDError."""
    least_of = {"pairs": 1, "trials": 1, "fit_pairs": 1, "frames": 3, "num_inference_steps": 1, "resamples": 0}
    for name, least in least_of.items():
        if getattr(options, name) < least:
            raise ArgumentError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(options, name)}")
    if options.beta == "fit" and options.frames < 4:
        raise ArgumentError("--beta fit needs at least 4 frames: fewer distances do not decide two numbers")
    options.share = shard_of(options.shard)
    options.beta_from = f"fitted to {options.fit_pairs} other pairs" if options.beta == "fit" else "given"
    if options.table and not (options.out / SETTINGS).is_file():
        raise ArgumentError(f"{options.out} holds no comparison yet; make one by leaving --table out")
    pick(options.methods.split(","), all_methods(BetaPrior(1, 1) if options.beta == "fit" else prior_of(options.beta)))
    return draw_pairs(options.prompts, options.pairs, options.trials)


def shard_of(text: str) -> slice:
    """Of "k/n": the pairs that this process makes; processes of one folder share its results. Raises ArgumentError."""
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        raise ArgumentError(f'--shard takes k/n with k < n, such as "0/2", got {text!r}')
    return slice(int(first), None, int(count))


def prior_of(text: str) -> BetaPrior:
    """Of "alpha,beta". Raises ArgumentError."""
    try:
        return BetaPrior.parse(text)
    except AIDError as error:
        raise ArgumentError(f'--beta takes two positive numbers such as "3,3", or fit; got {text!r}') from error
