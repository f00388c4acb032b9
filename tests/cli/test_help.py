"""Help and tables of the command."""

import os
import subprocess
import sys

from aid_kernels.doctor import MODELS

from ..support.command_line import ROOT, aid


def test_help_teaches_by_example_without_loading_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from aid_pipeline.cli.app import app\n"
        "result = CliRunner().invoke(app, ['interpolate', '--help'])\n"
        'assert \'aid interpolate "a red sphere" "a blue cube" --out\' in result.output, result.output\n'
        "assert result.exit_code == 0 and 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_models_and_info():
    models = aid("models")
    assert models.exit_code == 0
    assert "miniature" in models.output
    info = aid("info")
    assert info.exit_code == 0
    assert "served by" in info.output
    assert "Nothing was measured on this machine yet" in info.output
    assert "sdpa" in info.output
    assert all(shape.layer in info.output for shapes in MODELS.values() for shape in shapes)
