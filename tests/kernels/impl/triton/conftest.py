"""Kernels interpreted on CPU tensors: skipped where Triton compiles, on poisoned memory, and at half the usual time."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch

from aid_kernels.interpolated_attention.impl.triton.support import interpreting

if interpreting():
    # its own device functions are defined at its import, which must not fall into a test that unsets the variable
    importlib.import_module("triton")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fresh memory holds NaN, so that an element nobody wrote shows; and the interpreter does not repeat itself."""
    if not interpreting():
        pytest.skip("needs TRITON_INTERPRET=1, which GPUs exclude")
    from triton.runtime.interpreter import InterpretedFunction

    patch_and_call, patched = InterpretedFunction.__call__, set()

    def call(function: InterpretedFunction, *arguments: object, **keywords: object) -> object:
        # Triton patches its language at every call of a device function, half of a test's time; once is enough
        if function in patched:
            return function.rewrite()(*arguments, **keywords)
        patched.add(function)
        return patch_and_call(function, *arguments, **keywords)

    monkeypatch.setattr(InterpretedFunction, "__call__", call)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
