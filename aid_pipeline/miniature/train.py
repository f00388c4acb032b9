"""Training of the miniature: ``python -m aid_pipeline.miniature.train {vae,clip,unet,ip_adapter,all}``.

After the last stage the parts are put together as a model folder. A stage that was cut off goes on from its last
checkpoint in ``--runs``; ``--resume-from MODEL`` starts from exported weights.

On a CPU with N cores, ``torchrun --nproc-per-node N -m aid_pipeline.miniature.train all --threads 1`` makes best use
of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

STAGES = ("vae", "clip", "unet", "ip_adapter")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aid_pipeline.miniature.train", description=__doc__)
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/miniature"), help="data and checkpoints (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=None, help="model folder to write (default: RUNS/model)")
    parser.add_argument(
        "--resume-from", type=Path, default=None, metavar="MODEL", help="start from an exported model folder"
    )
    parser.add_argument("--scenes", type=int, default=40_000, help="scenes in the training set (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=None, help="optimizer steps (default: the stage's own)")
    parser.add_argument("--minutes", type=float, default=None, help="end the stage by the clock instead of by steps")
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--learning-rate", type=float, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    for name in ("scenes", "steps", "minutes", "batch", "learning_rate", "threads"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise SystemExit(f"--{name.replace('_', '-')} {value}: give a number above 0")
    if args.resume_from is not None and not args.resume_from.is_dir():
        raise SystemExit(f"--resume-from {args.resume_from}: no such folder")
    import torch

    from .training import denoiser, ip_adapter, stages, workers
    from .training.assemble import assemble

    workers.start()
    if args.threads:
        torch.set_num_threads(args.threads)
    names = ("steps", "minutes", "batch", "learning_rate", "seed")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    output = args.output or args.runs / "model"
    trainers: dict[str, Callable[[stages.Job], None]] = {
        "vae": stages.train_vae,
        "clip": stages.train_clip,
        "unet": denoiser.train_unet,
        "ip_adapter": ip_adapter.train_ip_adapter,
    }
    for stage in STAGES if args.stage == "all" else (args.stage,):
        hyperparameters = replace(stages.HYPERPARAMETERS[stage], **changes)
        job = stages.Job(args.runs, output, hyperparameters, args.scenes, args.resume_from)
        trainers[stage](job)
        if stage == "ip_adapter" and not workers.rank():
            assemble(output)


if __name__ == "__main__":
    main()
