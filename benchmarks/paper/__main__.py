"""`python -m benchmarks.paper`: the paper's methods, baselines and ablation on random pairs, in a table with intervals.

Trial by trial, and every pair with all methods, so that whenever it stops the table is balanced. What was made is kept
(distances and features, no pictures): the same command goes on where a stopped or killed one ended.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aid_pipeline.cli.progress import quiet_libraries
from aid_pipeline.coefficients import BetaPrior
from aid_pipeline.errors import AIDError, ArgumentError
from aid_pipeline.io.output_folder import write_json, write_text
from aid_pipeline.io.provenance import model_identity
from aid_pipeline.metrics.features import features_name
from aid_pipeline.metrics.presets import PRESETS, Instruments, preset
from aid_pipeline.models import MINIATURE, load_model
from aid_pipeline.spec import DEFAULT_GUIDANCE, DEFAULT_STEPS
from aid_pipeline.studies.comparison.methods import ABLATION, MAIN, Method, all_methods, pick, rows, sample_methods
from aid_pipeline.studies.evaluation.time_left import TimeLeft, duration
from benchmarks import machine

from .pairs import Pair, draw_pairs
from .prior import METHOD as FITTED_METHOD
from .prior import fit_prior, known_prior
from .store import SETTINGS, Store, Unit
from .table import RESAMPLES, page, sequences_csv, summarise

OUT = Path("runs") / "paper"
FRAMES, STEPS, GUIDANCE = 7, DEFAULT_STEPS, DEFAULT_GUIDANCE
CALL = ("frames", "num_inference_steps", "guidance_scale", "two_seeds")
FITTED_TRIAL = 9_999  # its pairs are only ever fitted to


def run(
    pipe: Any,
    pairs: Sequence[Pair],
    methods: Mapping[str, Method],
    instruments: Instruments,
    store: Store,
    arguments: dict[str, Any],
    until: float | None = None,
) -> None:
    """Make and measure what is missing, pair by pair; returns early after the moment `until` (`time.monotonic`)."""
    todo = [pair for pair in pairs if store.read(pair).missing(methods)]
    print(f"{len(pairs) - len(todo)} of {len(pairs)} pairs are there already, {len(todo)} to make", flush=True)
    left = TimeLeft(len(todo))
    for pair in todo:
        if until is not None and time.monotonic() > until:
            print("time is up; the same command goes on", flush=True)
            return
        measure_pair(pipe, store.read(pair), methods, instruments, store, arguments)
        print(f"{pair.name}: {left.advance()}", flush=True)


def measure_pair(
    pipe: Any,
    unit: Unit,
    methods: Mapping[str, Method],
    instruments: Instruments,
    store: Store,
    arguments: dict[str, Any],
) -> None:
    """Add the missing methods to a unit, which is kept after each."""
    wanted = {name: methods[name] for name in unit.missing(methods)}
    if all(method.config is None for method in wanted.values()):  # a cross-fade needs ends
        wanted = {"tei": all_methods(BetaPrior(1, 1))["tei"], **wanted}
    pair, noise = unit.pair, dict(arguments)
    seed = (2 * pair.seed, 2 * pair.seed + 1) if noise.pop("two_seeds") else pair.seed
    for name, made in sample_methods(pipe, pair.prompt_a, pair.prompt_b, wanted, seed=seed, **noise):
        if unit.endpoints is None:
            unit.endpoints = instruments.embed(made.images[[0, -1]])
        unit.steps[name] = instruments.steps(made.images)
        unit.interior[name] = instruments.embed(made.images[1:-1])
        store.write(unit)


def estimate(pipe: Any, pair: Pair, methods: Mapping[str, Method], arguments: dict[str, Any], pairs: int) -> float:
    """Seconds for `pairs` pairs, from two short runs of one, which differ in steps alone."""
    call = {name: value for name, value in arguments.items() if name != "two_seeds"}
    one = {name: method for name, method in methods.items() if method.config is not None}
    one = dict([next(iter(one.items()))])

    def seconds(steps: int) -> float:
        began = time.perf_counter()
        list(sample_methods(pipe, pair.prompt_a, pair.prompt_b, one, **call | {"num_inference_steps": steps}))
        return time.perf_counter() - began

    seconds(1)  # the first call of a process is slow
    short, longer = seconds(1), seconds(3)
    step = max(longer - short, 0.0) / 2 / rows(one, arguments["frames"])
    fixed = max(short - step * rows(one, arguments["frames"]), 0.0) / rows(one, arguments["frames"])
    return pairs * rows(methods, arguments["frames"]) * (step * arguments["num_inference_steps"] + fixed)


def expected_time(
    pipe: Any, pair: Pair, pairs: int, options: argparse.Namespace, call: dict[str, Any], fits: bool
) -> str:
    """What is to be made and how long it takes, those pairs among it that a prior is fitted to."""
    known = all_methods(BetaPrior(1, 1), options.warmup)  # how many frames are made depends on no prior
    methods = pick(options.methods.split(","), known)
    seconds = estimate(pipe, pair, methods, call, pairs)
    if fits:
        seconds += estimate(pipe, pair, pick([FITTED_METHOD], known), call, options.fit_pairs)
    return (
        f"{pairs} pairs x {rows(methods, options.frames)} frames x {options.num_inference_steps} steps"
        f"{f', and {options.fit_pairs} pairs to fit the prior to' if fits else ''}: about {duration(seconds)} on this "
        "machine as it is now"
    )


def write_results(out: Path, units: Sequence[Unit], methods: Mapping[str, Method], result: dict[str, Any]) -> None:
    """`paper.json`, `paper.md` and `sequences.csv`."""
    write_text(out / "sequences.csv", sequences_csv(units, methods))
    write_json(out / "paper.json", result)
    write_text(out / "paper.md", page(result))


def settings_of(pipe: Any, options: argparse.Namespace, instruments: Instruments) -> dict[str, Any]:
    """All that decides the figures, but for how many pairs and which methods, which may grow."""
    model = model_identity(pipe)
    name = "the miniature" if model["id"] == MINIATURE else Path(str(model["id"])).name
    return {
        "model": {"name": name, **{key: model[key] for key in ("fingerprint", "revision", "pipeline", "dtype")}},
        "scheduler": model["scheduler"],
        "prompts": options.prompts if options.prompts in ("world", "cifar10") else Path(options.prompts).name,
        "frames": options.frames,
        "num_inference_steps": options.num_inference_steps,
        "guidance_scale": options.guidance_scale,
        "warmup": options.warmup,
        "beta": options.beta,
        "beta_from": options.beta_from,
        "noise": "a noise for each end, slerped" if options.two_seeds else "the same noise at both ends",
        "instruments": instruments.describe(),
    }


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default="mini", help="mini, a local diffusers folder or a hub id; default %(default)s")
    made.add_argument("--pairs", type=int, default=100, help="random pairs a trial; default %(default)s")
    made.add_argument("--trials", type=int, default=5, help="fresh draws of them; default %(default)s")
    made.add_argument("--out", type=Path, default=OUT, help="folder to work in; default %(default)s")
    made.add_argument("--prompts", default="world", help="world (the miniature's), cifar10, or a file of captions")
    made.add_argument("--methods", default=",".join((*MAIN, *ABLATION)), help="default: all, %(default)s")
    made.add_argument("--frames", type=int, default=FRAMES)
    made.add_argument("--num-inference-steps", type=int, default=STEPS)
    made.add_argument("--guidance-scale", type=float, default=GUIDANCE)
    made.add_argument("--warmup", type=float, default=0.5)
    made.add_argument("--beta", default="3,3", help='the prior of methods that have one, or "fit"; default %(default)s')
    made.add_argument(
        "--fit-pairs", type=int, default=20, help="other pairs that --beta fit makes; default %(default)s"
    )
    made.add_argument("--two-seeds", action="store_true", help="a noise for each end; default: the same for both")
    made.add_argument("--preset", default="miniature", choices=PRESETS, help="what measures; default %(default)s")
    made.add_argument("--distance", help="another distance, such as lpips:FILE")
    made.add_argument("--features", help="other features, such as inception:FILE")
    made.add_argument(
        "--resamples", type=int, default=RESAMPLES, help="for intervals of FID and KID; default %(default)s"
    )
    made.add_argument("--device", default="auto")
    made.add_argument("--dtype", default="auto")
    made.add_argument(
        "--shard", default="0/1", help="k/n: make only every n-th pair from the k-th on (0/2 and 1/2 beside)"
    )
    made.add_argument("--threads", type=int, help="of the CPU; default: torch's own")
    made.add_argument("--nice", type=int, default=0, help="give way to other work, 1 to 19")
    made.add_argument("--minutes", type=float, help="stop then, with the table of what is there")
    made.add_argument("--estimate", action="store_true", help="say how long it would take, and stop")
    made.add_argument("--table", action="store_true", help="make no more sequences, only the table of what is there")
    return made


def fitted(pipe: Any, options: argparse.Namespace, instruments: Instruments, call: dict[str, Any]) -> str:
    """The prior of a run with `--beta fit`, as "alpha,beta"."""
    others = draw_pairs(options.prompts, options.fit_pairs, 1, first=FITTED_TRIAL)
    arguments = {name: value for name, value in call.items() if name != "two_seeds"}
    try:
        prior = fit_prior(pipe, others, instruments, options.warmup, arguments)
    except KeyboardInterrupt:
        raise SystemExit("interrupted while fitting the prior; the same command fits it anew") from None
    print(f"the prior is Beta({prior.alpha:g}, {prior.beta:g})", flush=True)
    return f"{prior.alpha:g},{prior.beta:g}"


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


def main(arguments: Iterable[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        pairs = check(options)
        if options.threads:
            torch.set_num_threads(options.threads)
        if options.nice:
            os.nice(options.nice)
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        quiet_libraries()
        instruments = preset(options.preset, options.distance, options.features)
        pipe = load_model(MINIATURE if options.model == "mini" else options.model, None, options.device, options.dtype)
        pipe.set_progress_bar_config(disable=True)
        call = {name: getattr(options, name) for name in CALL}
        known = known_prior(options.out, options.beta_from) if options.beta == "fit" else options.beta
        mine = pairs[options.share]
        if not options.table:
            print(expected_time(pipe, pairs[0], len(mine), options, call, fits=known is None), flush=True)
        if options.estimate:
            return
        options.beta = known or fitted(pipe, options, instruments, call)
        methods = pick(options.methods.split(","), all_methods(prior_of(options.beta), options.warmup))
        settings = settings_of(pipe, options, instruments)
        store = Store(options.out, settings, str(instruments.describe()["distance"]))
        if not options.table:
            try:
                run(pipe, mine, methods, instruments, store, call, until)
            except KeyboardInterrupt:
                print("interrupted; the same command goes on. The table of what is there:", flush=True)
        units = [store.read(pair) for pair in pairs]
        result = {
            "command": "python -m benchmarks.paper " + shlex.join(_shown(words)),
            "machine": machine.describe(),
            "machine_line": machine.line(machine.describe()),
            "settings": settings,
            "asked": {"pairs": options.pairs, "trials": options.trials},
            "summary": summarise(units, methods, features_name(instruments.features), options.resamples),
        }
        write_results(options.out, units, methods, result)
        print(page(result))
    except AIDError as error:
        raise SystemExit(f"error: {error}") from error


def _shown(words: list[str]) -> list[str]:
    """The command's words without where this machine keeps things."""
    return [re.sub(r"(?<![\w.])(/[^/:]+)+/", "", word) for word in words]


if __name__ == "__main__":
    main()
