"""`auto` where nobody measured, on a pretended GPU: real dispatch, real cache, candidates and clock that are given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aid_kernels import Choice, InterpolationPlan, explain, outer_attention, recorded_choices
from aid_kernels.interpolated_attention import auto
from aid_kernels.interpolated_attention.tuning import settled
from aid_kernels.interpolated_attention.tuning.measure import DeviceLost
from tests.kernels.tuning import pretended
from tests.kernels.tuning.pretended import Machine, arguments
from tests.testing import OPS, assert_accepted


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    yield pretended.install(monkeypatch, str(tmp_path))  # type: ignore[misc]
    settled.forget()


def new_process() -> None:
    settled.forget()


def cached(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


@pytest.mark.parametrize("mode", OPS)
def test_the_first_call_measures_and_the_fastest_serves(mode: str, machine: Machine, tmp_path: Path) -> None:
    call = arguments()
    assert "the first such call measures sdpa" in explain(**call, mode=mode).reason
    assert_accepted(OPS[mode](**call), mode, call)
    found = explain(**call, mode=mode)
    assert found.implementation == "triton"
    assert found.measurement is not None
    assert {outcome.choice.implementation for outcome in found.measurement.outcomes} == {"sdpa", "triton"}
    assert all(outcome.milliseconds and outcome.error is not None for outcome in found.measurement.outcomes)
    assert "<- kept" in str(found)
    assert len(cached(tmp_path)) == 1
    before = machine.measured
    assert_accepted(OPS[mode](**call), mode, call)
    assert (machine.measured, machine.ran[-1]) == (before, found.choice)


def test_another_process_reads_what_one_measured(machine: Machine) -> None:
    outer_attention(**arguments())
    choice, before = explain(**arguments()).choice, machine.measured
    new_process()
    machine.milliseconds = lambda choice: 1.0
    outer_attention(**arguments())
    assert explain(**arguments()).choice == choice
    assert machine.measured == before


def test_a_choice_never_changes_within_a_process(machine: Machine, tmp_path: Path) -> None:
    outer_attention(**arguments())
    choice = explain(**arguments()).choice
    cached(tmp_path)[0].unlink()
    machine.behaviour = pretended.crashes
    assert explain(**arguments()).choice == choice


def test_within_the_noise_the_stock_recipe_stays(machine: Machine) -> None:
    machine.milliseconds = lambda choice: 1.99 if choice.implementation == "triton" else 2.0
    outer_attention(**arguments())
    assert explain(**arguments()).implementation == "sdpa"


def test_a_noisy_clock_widens_the_noise(machine: Machine) -> None:
    ticks = iter(range(10_000))
    machine.milliseconds = lambda choice: (1.0 if choice.implementation == "triton" else 1.2) * (1 + next(ticks) % 3)
    outer_attention(**arguments())
    measurement = explain(**arguments()).measurement
    assert measurement is not None
    assert measurement.noise > 0.2
    assert measurement.choice.implementation == "sdpa"


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (pretended.lies, "disagrees with the reference"),
        (pretended.lies_late, "disagrees with the reference"),
        (pretended.leaves_out, "left parts of its output unwritten"),
        (pretended.crashes, "too many registers"),
        (pretended.exhausts, "out of memory"),
    ],
)
def test_a_candidate_that_fails_is_out_said_once_and_remembered(
    behaviour: pretended.Behaviour, said: str, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.behaviour = behaviour
    call = arguments(length=96)
    with caplog.at_level("WARNING", logger="aid_kernels"):
        for _ in range(2):
            assert_accepted(outer_attention(**call), "outer", call)
    found = explain(**call)
    assert found.implementation == "sdpa"
    failed = [outcome for outcome in found.measurement.outcomes if outcome.choice.implementation == "triton"]
    assert failed
    assert all(said in outcome.fault for outcome in failed)
    messages = [record.getMessage() for record in caplog.records]
    assert all(sum(str(outcome.choice) + " is not used" in text for text in messages) == 1 for outcome in failed)
    tried = [choice for choice in machine.ran if choice.implementation == "triton"]
    new_process()
    outer_attention(**call)
    assert [choice for choice in machine.ran if choice.implementation == "triton"] == tried
    assert said in str(explain(**call))


def test_slow_candidates_do_not_use_up_the_time(machine: Machine) -> None:
    machine.milliseconds = lambda choice: 40.0 if choice.implementation == "triton" else 1.0
    outer_attention(**arguments())
    runs = [choice for choice in machine.ran if choice.implementation == "triton"]
    # one checked and one timed run each
    assert len(runs) == 2 * len(set(runs))
    assert explain(**arguments()).implementation == "sdpa"


def test_a_long_call_is_timed_on_few_heads_and_checked_whole(machine: Machine) -> None:
    machine.milliseconds = lambda choice: 30.0 if choice.implementation == "sdpa" else 20.0
    call = arguments()
    assert_accepted(outer_attention(**call), "outer", call)
    measurement = explain(**call).measurement
    assert measurement.heads == 1
    assert measurement.shape[1] == 4


@pytest.mark.parametrize("why", ["static", "capture", "trace"])
def test_never_measured_when_it_must_not_be(why: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "static":
        monkeypatch.setenv("AID_KERNELS_AUTO", "static")
    elif why == "capture":
        monkeypatch.setattr(auto, "why_not_measured", lambda inputs: "a CUDA graph is being captured")
    else:
        call = arguments()
        make_fx(lambda q: outer_attention(**call | dict(q=q)))(call["q"])
        assert machine.measured == 0
    outer_attention(**arguments())
    assert machine.measured == 0
    assert explain(**arguments()).implementation == "sdpa"
    # what served it first serves it on
    if why != "trace":
        assert "not measured" in explain(**arguments()).reason


def test_explicit_implementations_are_never_measured(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    outer_attention(**arguments(), impl="sdpa")
    monkeypatch.setenv("AID_KERNELS_IMPL", "reference")
    outer_attention(**arguments())
    assert machine.measured == 0


def test_static_follows_the_nearest_known_entry(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    outer_attention(**arguments(length=48))
    choice, before = explain(**arguments(length=48)).choice, machine.measured
    new_process()
    monkeypatch.setenv("AID_KERNELS_AUTO", "static")
    for length, expected in ((100, choice), (400, Choice("sdpa", route="merged"))):
        outer_attention(**arguments(length=length))
        assert explain(**arguments(length=length)).choice == expected
    assert machine.measured == before


def test_an_unknown_setting_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AID_KERNELS_AUTO", "never")
    with pytest.raises(ValueError, match="AID_KERNELS_AUTO must be one of measure, static, got 'never'"):
        outer_attention(**arguments())


def test_values_that_are_not_finite_cannot_be_compared(machine: Machine, tmp_path: Path) -> None:
    call = arguments()
    call["v"][:, :, 3] = torch.inf
    outer_attention(**call)
    assert explain(**call).implementation == "sdpa"
    assert "not finite" in explain(**call).reason
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', "\x00"])
def test_a_damaged_file_is_named_and_made_anew(
    damage: str, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outer_attention(**arguments())
    choice = explain(**arguments()).choice
    (path,) = cached(tmp_path)
    path.write_text(damage)
    new_process()
    with caplog.at_level("WARNING", logger="aid_kernels"):
        outer_attention(**arguments())
    assert any(str(path) in record.getMessage() for record in caplog.records)
    assert json.loads(path.read_text())["measurement"]["choice"] == choice.to_json()


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AID_KERNELS_CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level("WARNING", logger="aid_kernels"):
        outer_attention(**arguments())
    assert explain(**arguments()).implementation == "triton"
    assert any("AID_KERNELS_CACHE_DIR" in record.getMessage() for record in caplog.records)


def test_a_lost_gpu_is_said_and_not_risked_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_process(process: int, signal: int) -> None:
        raise ProcessLookupError

    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    machine.behaviour = pretended.crashes
    monkeypatch.setattr(machine, "recover", lost)
    with pytest.raises(DeviceLost, match="start it again"):
        outer_attention(**arguments())
    crashed = machine.ran[-1]
    new_process()
    machine.behaviour = pretended.honest
    monkeypatch.setattr(os, "kill", no_such_process)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    machine.ran.clear()
    outer_attention(**arguments())
    assert crashed not in machine.ran
    assert f"{crashed}: out, the process ended while it ran" in str(explain(**arguments()))


@pytest.mark.slow
def test_buckets_that_differ_in_sources_alone_add_in_one_order(machine: Machine, tmp_path: Path) -> None:
    narrow = {}
    machine.milliseconds = lambda choice: narrow.get(choice, 2.0)
    call = arguments(length=520, dtype=torch.bfloat16)
    outer_attention(**call)
    fastest = next(choice for choice in machine.ran if choice.config and choice.config.block_n == 64)
    narrow[fastest] = 1.0
    (path,) = cached(tmp_path)
    path.unlink()
    new_process()
    outer_attention(**call)
    assert explain(**call).choice == fastest
    three = call | dict(
        plan=InterpolationPlan.barycentric([[1, 0, 0], [0.2, 0.3, 0.5], [0, 0, 1]], endpoints=[0, 2, 2])
    )
    machine.ran.clear()
    outer_attention(**three)
    assert {choice.config.block_n for choice in machine.ran if choice.config} == {64}


def test_a_record_replays_choices(machine: Machine) -> None:
    with recorded_choices() as used:
        outer_attention(**arguments())
    ((bucket, choice),) = used.items()
    assert choice.implementation == "triton"
    other = Choice("sdpa", route="concatenated")
    with recorded_choices({bucket: other}) as again:
        outer_attention(**arguments())
        assert machine.ran[-1] == other
    assert again == {bucket: other}


SCRIPT = """
import sys, pytest, torch
from tests.kernels.tuning import pretended
from aid_kernels import explain, outer_attention
with pytest.MonkeyPatch.context() as patch:
    machine = pretended.install(patch, sys.argv[1])
    fast = sys.argv[2]
    machine.milliseconds = lambda choice: 1.0 if choice.implementation == fast else 2.0
    torch.set_num_threads(1)
    for length in (16, 48, 96):
        outer_attention(**pretended.arguments(length))
    print([explain(**pretended.arguments(length)).implementation for length in (16, 48, 96)])
"""


@pytest.mark.slow
def test_processes_on_one_folder_agree(tmp_path: Path) -> None:
    """Two that measure at once and find different ones fastest: files stay whole, and a third follows them."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    started = [
        subprocess.Popen([*command, fast], cwd=root, stdout=subprocess.PIPE, text=True) for fast in ("triton", "sdpa")
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert said[0] == said[1]
    assert len(cached(tmp_path)) == 3
    assert not list(tmp_path.rglob("*.trying"))
    third = subprocess.run([*command, "sdpa"], cwd=root, capture_output=True, text=True, check=True, timeout=120)
    assert third.stdout == said[0]
