"""Importing the package costs nothing but torch."""

import subprocess
import sys

SCRIPT = """
import socket, sys
import torch
def refuse(*args, **kwargs):
    raise AssertionError("the network was touched")
socket.socket.connect = refuse
before = set(sys.modules)
import aid_kernels
new = set(sys.modules) - before
optional = {"triton", "diffusers", "transformers", "scipy", "PIL", "typer"}
foreign = sorted({name.split(".")[0] for name in new} & optional)
assert not foreign, foreign
assert "triton" not in sys.modules and "diffusers" not in sys.modules
assert not torch.cuda.is_initialized()
assert set(aid_kernels.__all__) <= set(dir(aid_kernels))
"""


def test_import_needs_torch_alone() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
