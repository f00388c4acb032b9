"""Measurement of a bucket's candidates on one call's own tensors: each is checked, then those that pass are timed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ..inputs import AttentionInputs
from .acceptance import Sample, poisoned, sample
from .choice import CallBucket, Choice
from .clocks import Clock

logger = logging.getLogger("aid_kernels")

# milliseconds that a bucket may cost once its candidates are compiled
BUDGET_MS = 50.0
# of a candidate: one checked run, then timed rounds
RUNS = 4
MOST_ROUNDS = 25
# a candidate this many times slower than the best is timed once
SLOW = 1.5
# a difference below this share of the time is never told from noise
LEAST_NOISE = 0.02

Run = Callable[[Choice, AttentionInputs], Tensor]


class DeviceLost(RuntimeError):
    """A candidate left the GPU in a state that this process cannot go on with."""


@dataclass(frozen=True)
class Outcome:
    """What became of one candidate.

    Attributes:
        choice: the candidate.
        error: largest error of the sample; None where it did not run.
        milliseconds: of its rounds, as the clock sums them up; None where it was not timed.
        fault: why it is out; None: it passed.
    """

    choice: Choice
    error: float | None = None
    milliseconds: float | None = None
    fault: str | None = None

    def __str__(self) -> str:
        if self.fault is not None:
            return f"{self.choice}: out, {self.fault}"
        error = "" if self.error is None else f", error {self.error:.1e}"
        return f"{self.choice}: {self.milliseconds:.3g} ms{error}"


@dataclass(frozen=True)
class Measurement:
    """The outcomes of a bucket's candidates, and the one that was kept.

    Attributes:
        choice: the fastest; the standard one, which comes first in `outcomes`, where nothing is faster beyond noise.
        outcomes: of every candidate.
        limit: largest accepted error.
        noise: share of a time within which two count as equal.
        shape: (B, H, Sq, Sk, Ss, D) of the call; `heads` of H were timed.
    """

    choice: Choice
    outcomes: tuple[Outcome, ...]
    limit: float
    noise: float
    shape: tuple[int, ...]
    heads: int

    def time_of(self, choice: Choice) -> float | None:
        return next((outcome.milliseconds for outcome in self.outcomes if outcome.choice == choice), None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(item: Any) -> Measurement:
        """Raises KeyError, TypeError or ValueError on anything but what `to_json` makes."""
        outcomes = tuple(
            Outcome(Choice.from_json(each["choice"]), each["error"], each["milliseconds"], each["fault"])
            for each in item["outcomes"]
        )
        shape = tuple(int(size) for size in item["shape"])
        return Measurement(
            Choice.from_json(item["choice"]), outcomes, float(item["limit"]), float(item["noise"]), shape, item["heads"]
        )


def shape_of(inputs: AttentionInputs) -> tuple[int, ...]:
    """(B, H, Sq, Sk, Ss, D)."""
    batch, heads, length, head_dim = inputs.query.shape
    return batch, heads, length, inputs.key.shape[2], inputs.bank_key.shape[2], head_dim


def measure(
    bucket: CallBucket,
    inputs: AttentionInputs,
    choices: list[Choice],
    run: Run,
    clock: Clock,
    *,
    excluded: dict[Choice, str] | None = None,
    trying: Callable[[Choice], Any] = lambda choice: None,
    budget: float = BUDGET_MS,
) -> Measurement | None:
    """Measure a bucket's candidates; None where the call's exact result is not finite, so that nothing can be said.

    Args:
        bucket: named in messages.
        choices: the standard one first.
        run: runs one of them.
        clock: of the inputs' device.
        excluded: candidates that are out already, with the reason.
        trying: told of every candidate before it first runs, since that may end the process.
        budget: milliseconds, without compilation.

    Raises:
        DeviceLost: a candidate crashed the GPU.
    """
    session = _Session(bucket, inputs, run, clock, excluded or {})
    if not inputs.query.numel() or not session.prepare(choices, budget):
        return None
    for choice in choices:
        trying(choice)
        session.check(choice)
    session.time(choices, budget)
    return session.result(choices)


class _Session:
    """One measurement under way."""

    def __init__(
        self, bucket: CallBucket, inputs: AttentionInputs, run: Run, clock: Clock, excluded: dict[Choice, str]
    ) -> None:
        self._bucket, self._run, self._clock = bucket, run, clock
        self._inputs, self._view = inputs, inputs
        self._errors: dict[Choice, float | None] = dict.fromkeys(excluded)
        self._faults = dict(excluded)
        self._times: dict[Choice, list[float]] = {}
        self._sample: Sample | None = None

    def prepare(self, choices: list[Choice], budget: float) -> bool:
        """Cut the call to as many heads as the budget allows, and sample it; False if it cannot be compared."""
        heads = self._inputs.query.shape[1]
        with self._guarded(choices[0]):
            once = self._clock.time(lambda: self._run(choices[0], self._inputs))
            share = budget / (RUNS * len(choices))
            heads = max(1, min(heads, int(heads * share / max(once, 1e-6))))
        self._faults.pop(choices[0], None)  # it is tried again, on the cut call
        self._view = first_heads(self._inputs, heads)
        self._sample = self._sampled(self._view, choices[0])
        return self._sample is not None

    def check(self, choice: Choice) -> None:
        """Run a candidate in poisoned memory and compare it."""
        if choice not in self._faults and self._sample is not None:
            self._compare(choice, self._view, self._sample)

    def time(self, choices: list[Choice], budget: float) -> None:
        """Rounds in turn until the budget is spent, two at least; slow ones drop out after the first."""
        left = [choice for choice in choices if choice not in self._faults]
        spent = 0.0
        for number in range(MOST_ROUNDS):
            for choice in left:
                with self._guarded(choice):
                    self._times.setdefault(choice, []).append(
                        self._clock.time(lambda choice=choice: self._run(choice, self._view))  # type: ignore[misc]
                    )
                    spent += self._times[choice][-1]
            left = [choice for choice in left if choice not in self._faults]
            if number and spent >= budget:
                break
            best = min((min(self._times[choice]) for choice in left), default=0.0)
            left = [choice for choice in left if min(self._times[choice]) <= SLOW * best]
            left = left[1:] + left[:1]  # nobody always runs after the same neighbour

    def result(self, choices: list[Choice]) -> Measurement:
        """The fastest candidate that passes on the whole call too; the first where none is faster or none is left."""
        while True:
            passed = {
                choice: self._clock.typical(self._times[choice]) for choice in choices if choice not in self._faults
            }
            noise = max([LEAST_NOISE, *(_spread(self._times[choice]) for choice in passed)])
            chosen = min(passed, key=lambda choice: passed[choice], default=choices[0])
            if choices[0] in passed and passed[chosen] >= passed[choices[0]] * (1 - noise):
                chosen = choices[0]
            if chosen not in passed or self._passes_whole(chosen):
                break
        outcomes = tuple(
            Outcome(choice, self._errors.get(choice), passed.get(choice), self._faults.get(choice))
            for choice in choices
        )
        for outcome in outcomes:
            if outcome.fault is not None:
                logger.warning("%s: %s is not used: %s", self._bucket, outcome.choice, outcome.fault)
        limit = self._sample.limit if self._sample is not None else 0.0
        return Measurement(chosen, outcomes, limit, noise, shape_of(self._inputs), int(self._view.query.shape[1]))

    def _passes_whole(self, choice: Choice) -> bool:
        if self._view is self._inputs:
            return True
        whole = self._sampled(self._inputs, choice)
        if whole is not None:
            self._compare(choice, self._inputs, whole)
        return choice not in self._faults

    def _compare(self, choice: Choice, inputs: AttentionInputs, expected: Sample) -> None:
        with self._guarded(choice):
            with poisoned():
                out = self._run(choice, inputs)
            self._errors[choice], fault = expected.fault(out)
            if fault is not None:
                self._faults[choice] = fault

    def _sampled(self, inputs: AttentionInputs, standard: Choice) -> Sample | None:
        return sample(
            inputs,
            lambda part: self._run(Choice("reference"), part),
            lambda part: self._run(Choice("sdpa", route="merged"), part),
        )

    @contextmanager
    def _guarded(self, choice: Choice) -> Iterator[None]:
        """Whatever a candidate raises puts it out; a GPU that does not come back ends the process's work."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  a candidate may fail in any way, and is out with the reason
            self._faults[choice] = _reason(error)
            try:
                self._clock.recover()
            except Exception as lost:
                raise DeviceLost(
                    f"{choice} crashed the GPU ({_reason(error)}); it is remembered and not tried again. This process "
                    "cannot use the GPU any more: start it again"
                ) from lost


def first_heads(inputs: AttentionInputs, heads: int) -> AttentionInputs:
    if heads >= inputs.query.shape[1]:
        return inputs
    return inputs._replace(**{name: getattr(inputs, name)[:, :heads] for name in inputs._fields[:5]})


def _spread(times: list[float]) -> float:
    """How far a candidate's rounds lie apart: the median distance from the median, as a share of it."""
    if len(times) < 2:
        return 0.0
    middle = median(times)
    return median(abs(time - middle) for time in times) / max(middle, 1e-9)


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out of memory"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
