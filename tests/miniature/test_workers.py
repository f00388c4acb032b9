"""Several workers train one model: they agree on every step, and one process with the whole batch would do the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aid_pipeline.miniature.training import workers

PROGRAM = """
import sys, torch
from torch import nn
from pathlib import Path
from aid_pipeline.miniature.training import workers
from aid_pipeline.miniature.training.loop import TrainingLoop, Hyperparameters

workers.start()
torch.manual_seed(0)
module = nn.Linear(3, 2)
hyperparameters = Hyperparameters(steps=5, batch=8, learning_rate=1e-2, warmup=1)
loop = TrainingLoop("line", module, hyperparameters, Path(sys.argv[1]))
target = torch.arange(24.0).view(8, 3).sin()

def loss(generator, progress):
    share = workers.share(hyperparameters.batch)
    x = target[workers.rank() * share : (workers.rank() + 1) * share]
    return (module(x).float() - x[:, :2]).square().mean(), {}

loop.run(loss, export=lambda: Path(sys.argv[1], f"export-{workers.rank()}").touch())
"""


@pytest.mark.slow
def test_two_workers_do_what_one_would(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
        environment = os.environ | {"PYTHONPATH": str(Path(workers.__file__).parents[3])}
        subprocess.run([sys.executable, *launch, str(program), str(folder)], check=True, timeout=240, env=environment)
        assert [path.name for path in folder.glob("export-*")] == ["export-0"]
    one, two = (load_file(tmp_path / str(n) / "line.checkpoint.safetensors") for n in (1, 2))
    for name in ("weight.weight", "weight.bias", "average.weight"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)


def test_a_batch_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="batch 32 does not divide among 3 workers"):
        workers.share(32)
