"""Methods side by side as a page."""

import io
from html.parser import HTMLParser

import torch
from PIL import Image
from typer.testing import CliRunner

from aid_pipeline import BetaPrior
from aid_pipeline.cli.app import app
from aid_pipeline.errors import MetricsError
from aid_pipeline.studies.comparison import run
from aid_pipeline.studies.comparison.methods import MethodFrames, all_methods, pick, sample_methods
from aid_pipeline.studies.comparison.page import html_page, sheet


class Page(HTMLParser):
    """Elements of a page: images with their text, everything that is shown, and addresses it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.shown: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "img":
            self.images.append(given)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.shown.append(data)


def test_a_page_that_needs_nothing_else():
    methods = pick(["tei", "cross-fade"], all_methods(BetaPrior(3, 3)))
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    samples = {seed: {name: MethodFrames(images, (0.0, 0.4, 1.0)) for name in methods} for seed in (0, 1)}
    hostile = "<script>alert('x')</script> & \"quotes\""
    text = html_page(hostile, "b", methods, samples, "1 step").decode()
    assert "<script>" not in text
    page = Page(text)
    assert hostile in "".join(page.shown)
    assert len(page.images) == 2 * 2 * 3
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert page.images[1]["alt"] == "TEI, frame 1, t = 0.400"
    with Image.open(io.BytesIO(sheet(hostile, "b", methods, samples))) as image:
        assert image.width > 3 * 112
        assert image.height > 4 * 112


def test_compare_on_the_command_line(miniature, tmp_path, monkeypatch):
    command = [
        "compare",
        "a red <b>sphere</b>",
        "a blue cube",
        "--out",
        str(tmp_path / "out"),
        "--model",
        str(miniature),
    ]
    command += ["--frames", "3", "--num-inference-steps", "1", "--guidance-scale", "1", "--seed", "0", "--seed", "4"]
    result = CliRunner().invoke(app, [*command, "--methods", "tei,aid-o,cross-fade"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    page = Page((tmp_path / "out" / "comparison.html").read_text())
    assert len(page.images) == 2 * 3 * 3
    assert "a red <b>sphere</b> → a blue cube" in page.shown
    with Image.open(tmp_path / "out" / "comparison.png") as image:
        image.load()
    for wrong, said in (
        (["--methods", "tei,morph"], "got morph"),
        (["--methods", "cross-fade"], "has no endpoints"),
        (["--frames", "2"], "at least 3"),
        (["--seed", "4"], "every seed once"),
        (["--beta", "3"], "two numbers"),
    ):
        result = CliRunner().invoke(app, [*command, *wrong])
        assert result.exit_code == 2, said
        assert said in result.stderr.replace("\n", " ")


def test_compare_keeps_the_seeds_it_has_made(miniature, tmp_path, monkeypatch):
    """Interrupted in the second seed, and with an error there."""
    command = ["compare", "a red sphere", "a blue cube", "--model", str(miniature), "--seed", "0", "--seed", "4"]
    command += ["--frames", "3", "--num-inference-steps", "1", "--guidance-scale", "1", "--methods", "tei,cross-fade"]
    faults = ((KeyboardInterrupt(), 1, "what was done: seed 0"), (MetricsError("blacked out"), 2, "blacked out"))
    for error, code, said in faults:

        def second_fails(*arguments, error=error, **more):
            if arguments[1].seed == 4:
                raise error
            return sample_methods(*arguments, **more)

        monkeypatch.setattr(run, "sample_methods", second_fails)
        out = tmp_path / said
        result = CliRunner().invoke(app, [*command, "--out", str(out)])
        assert result.exit_code == code, result.output
        assert said in result.stderr
        assert len(Page((out / "comparison.html").read_text()).images) == 2 * 3
        assert not (out / "comparison.json").exists()
    monkeypatch.setattr(run, "sample_methods", sample_methods)
    result = CliRunner().invoke(app, [*command, "--out", str(out)], catch_exceptions=False)  # the same command again
    assert result.exit_code == 0, result.output
    assert len(Page((out / "comparison.html").read_text()).images) == 2 * 2 * 3
    assert (out / "comparison.json").exists()
