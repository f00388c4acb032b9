"""Work of the comparison: the sequences that are missing, pair by pair, the prior, and how long it all takes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aid_pipeline.coefficients import BetaPrior
from aid_pipeline.metrics.presets import Instruments
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.comparison.methods import Method, all_methods, pick, rows, sample_methods
from aid_pipeline.studies.evaluation.time_left import TimeLeft, duration

from .pairs import Pair, draw_pairs
from .prior import METHOD as FITTED_METHOD
from .prior import fit_prior
from .store import Store
from .unit import Unit

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
    spec = InterpolationSpec.between(pair.prompt_a, pair.prompt_b, seed=seed, **noise)
    for name, frames in sample_methods(pipe, spec, wanted):
        if unit.endpoints is None:
            unit.endpoints = instruments.embed(frames.images[[0, -1]])
        unit.steps[name] = instruments.steps(frames.images)
        unit.interior[name] = instruments.embed(frames.images[1:-1])
        store.write(unit)


def estimate(pipe: Any, pair: Pair, methods: Mapping[str, Method], arguments: dict[str, Any], pairs: int) -> float:
    """Seconds for `pairs` pairs, from two short runs of one, which differ in steps alone."""
    call = {name: value for name, value in arguments.items() if name != "two_seeds"}
    one = {name: method for name, method in methods.items() if method.config is not None}
    one = dict([next(iter(one.items()))])

    def seconds(steps: int) -> float:
        began = time.perf_counter()
        spec = InterpolationSpec.between(pair.prompt_a, pair.prompt_b, **call | {"num_inference_steps": steps})
        list(sample_methods(pipe, spec, one))
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
