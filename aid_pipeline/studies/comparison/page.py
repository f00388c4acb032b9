"""Page of a comparison: rows of frames in one HTML file that needs nothing else, and in one PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape

from PIL import Image, ImageDraw, ImageFont

from ...metrics.images import as_images
from .methods import Method, MethodFrames

Rows = Mapping[str, MethodFrames]
SMALL = 128  # pixels up to which images are shown enlarged
_SIDE, _GAP, _LABELS, _LINE = 112, 4, 190, 18

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p { margin: .2rem 0; color: #555; }
.scroll { overflow-x: auto; }
table, tbody { display: block; }
tr { display: flex; align-items: center; }  /* frames shrink to fit the window, then scroll */
th { flex: 0 0 10.5rem; text-align: left; font-weight: 600; padding: 0 .5rem 0 0; }
th small { display: block; font-weight: 400; color: #555; }
td { min-width: 4rem; padding: 2px; text-align: center; font-size: 12px; color: #555; }
img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #181818; } p, td, th small { color: #aaa; }
}
"""


def html_page(
    prompt_a: str,
    prompt_b: str,
    methods: Mapping[str, Method],
    sampled: Mapping[int, Rows],
    settings: str,
) -> bytes:
    """The page, in UTF-8; prompts are escaped, images are inside.

    Args:
        sampled: frames by seed and method.
        settings: one line about the model and how it was run.
    """
    title = f"{prompt_a} → {prompt_b}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(settings)}. All rows of a seed start from the same noise and have the same endpoints; t is below "
        "each frame.</p>",
    ]
    for seed, rows in sampled.items():
        parts.append(f'<h2>Seed {seed}</h2><div class="scroll"><table>')
        for name, method in methods.items():
            parts.append(f"<tr><th>{escape(method.title)}<small>{escape(method.describe())}</small></th>")
            for number, (image, t) in enumerate(
                zip(as_images(rows[name].images), rows[name].coefficients, strict=True)
            ):
                parts.append(f"<td>{_img(image, f'{method.title}, frame {number}, t = {t:.3f}')}{t:.3f}</td>")
            parts.append("</tr>")
        parts.append("</table></div>")
    return "\n".join([*parts, "</body></html>", ""]).encode()


def sheet(prompt_a: str, prompt_b: str, methods: Mapping[str, Method], sampled: Mapping[int, Rows]) -> bytes:
    """The same rows as a PNG."""
    frames = max(len(row.coefficients) for rows in sampled.values() for row in rows.values())
    first = as_images(next(iter(next(iter(sampled.values())).values())).images[:1])[0]
    scale = _SIDE / max(first.size)
    size = (max(1, round(first.width * scale)), max(1, round(first.height * scale)))
    row_height = size[1] + _GAP
    block = _LINE + 4 + len(methods) * row_height
    page = Image.new("RGB", (_LABELS + frames * (size[0] + _GAP), _LINE + 10 + len(sampled) * block), "white")
    draw, font, small = ImageDraw.Draw(page), ImageFont.load_default(size=14), ImageFont.load_default(size=11)
    draw.text((6, 4), f"{prompt_a}  ->  {prompt_b}", fill="black", font=font)
    top = _LINE + 10
    for seed, rows in sampled.items():
        draw.text((6, top), f"seed {seed}", fill="#555555", font=small)
        top += _LINE
        for name, method in methods.items():
            draw.text((6, top + size[1] // 2 - 14), method.title, fill="black", font=font)
            draw.text((6, top + size[1] // 2 + 4), method.describe(), fill="#555555", font=small)
            for number, image in enumerate(as_images(rows[name].images)):
                page.paste(image.resize(size, _resampling(image)), (_LABELS + number * (size[0] + _GAP), top))
            top += row_height
        top += 4
    return _png(page)


def _img(image: Image.Image, text: str) -> str:
    """An image element with its image inside."""
    width, height = image.size
    enlarged = max(1, SMALL // max(width, height))
    data = base64.b64encode(_png(image)).decode()
    return (
        f'<img width="{width * enlarged}" height="{height * enlarged}" alt="{escape(text, quote=True)}" '
        f'src="data:image/png;base64,{data}">'
    )


def _resampling(image: Image.Image) -> Image.Resampling:
    return Image.Resampling.BICUBIC if max(image.size) < _SIDE else Image.Resampling.LANCZOS


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
