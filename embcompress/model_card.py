"""The card of a model: what it is, how large, how good, and how it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from embcompress._version import __version__
from embcompress.sizes import human_bytes

__all__ = ["Results", "Score", "Summary", "model_card"]


class Score(Protocol):
    """What the table takes of a result of :mod:`embcompress.evaluation`."""

    @property
    def task(self) -> str:
        """Such as ``"similarity"``."""

    @property
    def dataset(self) -> str:
        """Name of the data set."""

    @property
    def metric(self) -> str:
        """Such as ``"Spearman"``."""

    @property
    def value(self) -> float | None:
        """The score; None if there is none."""

    @property
    def low(self) -> float | None:
        """Lower end of its interval."""

    @property
    def high(self) -> float | None:
        """Upper end of its interval."""


Results = Mapping[str, float] | Iterable[Score]


@dataclass(frozen=True)
class Summary:
    """What a config and a card say of a file.

    Attributes
    ----------
    kind : str
        As in the header of the file.
    what : str
        One line.
    task : str
        Name of the hub for what it is used for.
    tags : tuple of str
    config : mapping of str to plain values
    parts : mapping of str to int
        Bytes of the arrays.
    name : str
        Variable of the example.
    example : str
        An expression with this variable.
    n_float_bytes : int, optional
        Bytes that float32 vectors would take.
    """

    kind: str
    what: str
    task: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    parts: Mapping[str, int]
    name: str
    example: str
    n_float_bytes: int | None = None


def model_card(
    about: Summary,
    class_name: str,
    *,
    n_bytes: int,
    repo_id: str,
    results: Results | None = None,
    license: str | None = None,
    languages: Sequence[str] = (),
) -> str:
    """Markdown with the front matter that the Hugging Face hub reads.

    Parameters
    ----------
    about : Summary
    class_name : str
        Class that opens the file.
    n_bytes : int
        Size of the file.
    repo_id : str
        Folder, or name on the hub.
    results : mapping of str to float, or iterable of results, optional
    license : str, optional
    languages : sequence of str

    Returns
    -------
    str
    """
    parts = [
        _front_matter(about, license, languages),
        f"# {repo_id.rpartition('/')[2]}",
        f"{about.what}, made by embcompress {__version__}.",
        "## Size",
        _table(("", "bytes", "smaller than float32"), _size_rows(about, n_bytes)),
    ]
    scores = _score_rows(results)
    if scores:
        parts += ["## Quality", _table(("measured", "score"), scores)]
    code = (
        f"from embcompress import {class_name}\n\n"
        f"{about.name} = {class_name}.from_pretrained({json.dumps(repo_id, ensure_ascii=False)})\n"
        f"print({about.example})"
    )
    parts += [
        "## Use",
        f"```python\n{code}\n```",
        "## Settings",
        _table(("", ""), [(name, _value(value)) for name, value in about.config.items()]),
        "The file is plain safetensors: words, codes and what decodes them. It holds no code.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(about: Summary, license: str | None, languages: Sequence[str]) -> str:
    # a text in JSON is a text in YAML, whatever it holds
    lines = ["---", "library_name: embcompress", f"pipeline_tag: {about.task}"]
    if license is not None:
        lines.append(f"license: {json.dumps(license)}")
    if languages:
        lines += ["language:", *(f"- {json.dumps(code)}" for code in languages)]
    lines += ["tags:", *(f"- {tag}" for tag in ("embcompress", *about.tags)), "---"]
    return "\n".join(lines)


def _size_rows(about: Summary, n_bytes: int) -> list[tuple[str, ...]]:
    def row(name: str, size: int) -> tuple[str, ...]:
        ratio = ""
        if about.n_float_bytes is not None and name in ("codes", "whole file"):
            ratio = f"{about.n_float_bytes / max(size, 1):.1f}x"
        return name, human_bytes(size), ratio

    return [*(row(name, size) for name, size in about.parts.items()), row("whole file", n_bytes)]


def _score_rows(results: Results | None) -> list[tuple[str, str]]:
    if results is None:
        return []
    if hasattr(results, "items"):
        return [(name, f"{value:.3f}") for name, value in results.items()]
    return [
        (f"{each.task}, {each.dataset}: {each.metric}", _interval(each))
        for each in results
        if each.value is not None
    ]


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return f"{score.value:.3f}"
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _value(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
