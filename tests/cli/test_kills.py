"""The command killed at random points: every file is whole, and the command can be repeated."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from aid_pipeline.io.output_folder import UNFINISHED

from ..support.command_line import command, start


def check_whole(folder: Path) -> None:
    """Every file that has a final name can be read."""
    for path in folder.glob("*.png"):
        Image.open(path).load()
    for path in folder.glob("*.json"):
        json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it can be asked for many kills
def test_killed_at_random_the_command_can_be_repeated(model, tmp_path, request):
    lottery, out = random.Random(time.time_ns()), tmp_path / "out"
    began = time.monotonic()
    assert start(command(model, tmp_path / "whole", "--gif", "--webp")).wait(timeout=240) == 0
    whole_run = time.monotonic() - began
    arguments = command(model, out, "--gif", "--webp")
    for _ in range(request.config.getoption("--kills")):
        process = start(arguments)
        time.sleep(lottery.uniform(0, whole_run))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if out.exists():
            check_whole(out)
        if (out / "sequence.json").exists() and not (out / UNFINISHED).exists():
            shutil.rmtree(out)  # finished before the kill: the next run begins anew
    process = start(arguments)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, output + errors
    check_whole(out)
    assert {"000.png", "003.png", "sequence.json", "sequence.gif"} <= {path.name for path in out.iterdir()}
    assert not (out / UNFINISHED).exists()
