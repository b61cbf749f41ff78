"""The report of the photographs: pictures, displacements, accuracy against cost, in one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from _photographs import Flowers, view
from _transforms import Transform
from PIL import Image

from embcompress.report.elements import figure, legend, table
from embcompress.report.style import STYLE
from embcompress.report.svg import Bar, Point, Series, bar_chart, line_chart

__all__ = ["Result", "page"]

_SIDE = 112
# names at the edge of a plot may reach into the padding of its card
_PICTURES = """
figure>svg{overflow:visible}
.views{display:grid;grid-template-columns:repeat(auto-fill,minmax(5.5rem,1fr));gap:.5rem;
margin:0 0 .75rem}
.views figure{padding:.35rem}
.views img{display:block;width:100%;height:auto;border-radius:.25rem}
.views figcaption{font-size:.8rem;font-weight:500;margin:.2rem 0 0}
"""


@dataclass(frozen=True)
class Result:
    """Accuracy of a method on clean and augmented test images; MACs for a training image."""

    name: str
    clean: float
    augmented: float
    macs: float


def page(
    results: Sequence[Result],
    report: Mapping[str, Mapping[str, Any]],
    heads: Mapping[str, float],
    flowers: Flowers,
    transforms: Mapping[str, Transform],
    about: Mapping[str, Any],
) -> str:
    """An HTML page that needs nothing else.

    Parameters
    ----------
    results : sequence of Result
    report : mapping
        That of the augmenter: operator -> ``rho``, ``rel``, ``cosine``, ``macs``.
    heads : mapping of str to float
        Accuracy of heads on augmented test images.
    flowers : Flowers
        Photographs to show.
    transforms : mapping of str to callable
    about : mapping
        Shown below the title.

    Returns
    -------
    str
    """
    title = "Augmentation of embeddings: photographs of flowers"
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in about.items()
    )
    sections = [
        _section("What raw augmentation does", _ABOUT_VIEWS, _views(flowers, transforms)),
        _section("Unexplained displacement", _ABOUT_RHO, _grid(_displacement(report))),
        _section("Accuracy against cost", _ABOUT_COST, _grid(_accuracy(results))),
        _section("The head on a device", _ABOUT_HEAD, _heads(heads)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{_PICTURES}</style>\n</head>\n<body>\n"
        f"<main>\n<h1>{escape(title)}</h1>\n<dl>{facts}</dl>\n{''.join(sections)}"
        "</main>\n</body>\n</html>\n"
    )


_ABOUT_VIEWS = (
    "Each view of a photograph would cost one more pass of the backbone. Operators see such pairs "
    "for unlabelled photographs only."
)
_ABOUT_RHO = (
    "Squared distance between the estimated and the true embedding of a view, as a share of how "
    "far the transform moves it, on pairs that the operator has not seen: 0 is exact, 1 is no "
    "better than leaving the embedding where it is."
)
_ABOUT_COST = (
    "Accuracy on test photographs that were really transformed, mean over the transforms, and on "
    "clean ones, against the computation for one training photograph with all of its views."
)
_ABOUT_HEAD = (
    "A head with a hidden layer, trained on fresh views in each epoch: accuracy on augmented test "
    "photographs of one split."
)


def _section(title: str, text: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n<p>{escape(text)}</p>\n{body}\n</section>\n"


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="figures">{"".join(figures)}</div>'


def _views(flowers: Flowers, transforms: Mapping[str, Transform]) -> str:
    rows = []
    for number, path in enumerate(flowers.paths):
        shown = {"as it is": None, **transforms}
        pictures = "".join(
            f'<figure><img src="{_data_uri(view(path, 224, each, number=number))}" '
            f'alt="flower, {escape(name)}" width="{_SIDE}" height="{_SIDE}">'
            f"<figcaption>{escape(name)}</figcaption></figure>"
            for name, each in shown.items()
        )
        rows.append(f'<div class="views">{pictures}</div>')
    return "".join(rows)


def _data_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.resize((_SIDE, _SIDE)).save(file, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _displacement(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    plots = []
    for key, title in (
        ("rho", "Unexplained displacement"),
        ("rel", "Displacement over the spread of embeddings"),
    ):
        bars = [Bar(name, 0, entry[key], f"{entry[key]:.2f}") for name, entry in report.items()]
        plot = bar_chart(bars, title=title, x_label=title)
        cells = [
            [name, f"{entry[key]:.3f}", f"{entry['cosine']:.3f}", f"{entry['cosine_identity']:.3f}"]
            for name, entry in report.items()
        ]
        header = ["transform", title, "cosine to the true view", "cosine without the operator"]
        plots.append(figure(title, plot, "", header, cells))
    return plots


def _accuracy(results: Sequence[Result]) -> list[str]:
    names = [each.name for each in results]
    styles = {name: number for number, name in enumerate(names)}
    plots = []
    for key, title in (("augmented", "Augmented test images"), ("clean", "Clean test images")):
        series = [
            Series(each.name, styles[each.name], [Point(each.macs / 1e6, getattr(each, key))])
            for each in results
        ]
        plot = line_chart(
            series,
            title=f"{title}: accuracy against computation",
            x_label="million MACs for a training image (logarithmic)",
            y_label="accuracy",
            log_x=True,
        )
        cells = [
            [each.name, f"{each.macs / 1e6:,.1f}", f"{100 * getattr(each, key):.1f} %"]
            for each in results
        ]
        header = ["method", "million MACs", "accuracy"]
        plots.append(figure(title, plot, legend(names, styles), header, cells))
    return plots


def _heads(heads: Mapping[str, float]) -> str:
    cells = [[name, f"{100 * value:.1f} %"] for name, value in heads.items()]
    return table(["head", "accuracy"], cells)
