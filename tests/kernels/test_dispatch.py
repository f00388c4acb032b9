"""The choice of an implementation: what is asked for, what `auto` takes, and the reasons that are given."""

import pytest
import torch

from aid_kernels import explain, outer_attention
from tests.kernels.test_checks import B, D, H, S, call


def test_explicit_triton_that_cannot_run_gives_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    arguments = call(**{name: torch.randn(B, H, S, D, dtype=torch.float64, requires_grad=True) for name in "qkv"})
    with pytest.raises(ValueError, match="triton cannot serve this call") as caught:
        outer_attention(**arguments, impl="triton")
    for reason in ("float64", "TRITON_INTERPRET", "requires grad"):
        assert reason in str(caught.value)


def test_explain_names_the_choice_and_the_reasons_against_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    explanation = explain(**call())
    assert explanation.implementation == "sdpa"
    assert explanation.unsupported_reasons["triton"]
    assert explanation.unsupported_reasons["reference"] == ()
    assert "triton: cannot" in str(explanation)


def test_environment_overrides_auto_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AID_KERNELS_IMPL", "reference")
    assert explain(**call()).implementation == "reference"
    assert explain(**call(), impl="sdpa").implementation == "sdpa"
    monkeypatch.setenv("AID_KERNELS_IMPL", "fastest")
    with pytest.raises(ValueError, match="AID_KERNELS_IMPL must be one of"):
        outer_attention(**call())


def test_choice_is_logged_once_per_kind_of_call(caplog: pytest.LogCaptureFixture) -> None:
    # head sizes that no other test has
    kinds = [{name: torch.randn(B, H, S, dim) for name in "qkv"} for dim in (232, 248)]
    with caplog.at_level("INFO", logger="aid_kernels"):
        for kind in kinds * 3:
            outer_attention(**call(**kind))
    assert [record.getMessage().split(", head_dim ")[1][:9] for record in caplog.records] == ["232: sdpa", "248: sdpa"]
