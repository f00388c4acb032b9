"""Runs of the command `aid`, in this process and in another."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from aid_pipeline.cli.app import app

ROOT = Path(__file__).parents[2]


def command(model: str, out: Path, *more: str) -> list[str]:
    sizes = ["--height", "16", "--width", "16", "--frames", "4", "--num-inference-steps", "3"]
    return ["interpolate", "a red sphere", "a blue cube", "--model", model, "--out", str(out), *sizes, *more]


def aid(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def frames_of(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("[0-9]*.png"))]


def start(arguments: list[str]) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "aid_pipeline", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
