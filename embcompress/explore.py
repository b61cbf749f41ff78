"""One page that holds a compressed vocabulary and searches it: no server, no request.

Examples
--------
>>> from embcompress import CompressedVectors, KeyedVectors, Sign
>>> kv = KeyedVectors(["cat", "dog", "car"], [[1, 2, -1], [1, 1, -2], [-1, 1, 2.0]])
>>> page = to_page(CompressedVectors.compress(kv, Sign()), title="Three words")
>>> "<title>Three words</title>" in page
True
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from embcompress._version import __version__
from embcompress.container import atomic_write, dump_container
from embcompress.sizes import human_bytes
from embcompress.vocabulary import Vocabulary, short_vocabulary

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors

__all__ = ["LARGEST_PAGE", "save_page", "to_page"]

#: Bytes of the largest page that is made; browsers hold no longer text than about twice as much.
LARGEST_PAGE = 256_000_000

_KIND = "lookup"
_WEB = Path(__file__).with_name("web")
# in the order in which the page needs them
_SCRIPTS = (
    "container.js", "vocabulary.js", "embcompress.js", "map.js", "field.js", "explore.js",
)  # fmt: skip
_IMPORT = re.compile(r'^(?:im|ex)port \{[^}]*\} from "\./[\w.]+";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class |const |function )", re.MULTILINE)


def save_page(
    vectors: CompressedVectors,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    limit: int | None = None,
) -> int:
    """Write the page of :func:`to_page`, whole or not at all.

    Parameters
    ----------
    vectors : CompressedVectors
    path : path-like
        Usually ends in ``.html``.
    title, limit
        As :func:`to_page`.

    Returns
    -------
    int
        Bytes of the page.

    Raises
    ------
    ValueError
        As :func:`to_page`.
    OSError
        If the folder does not exist or is not writable, or the disk is full.
    """
    page = to_page(vectors, title=title, limit=limit).encode("utf-8")
    with atomic_write(path) as file:
        file.write(page)
    return len(page)


def to_page(
    vectors: CompressedVectors, *, title: str | None = None, limit: int | None = None
) -> str:
    """HTML page with words and codes, and a search over them in JavaScript.

    The page asks for nothing from outside, and its Content-Security-Policy forbids it. Answers
    are those of :meth:`CompressedVectors.most_similar
    <embcompress.CompressedVectors.most_similar>`: neighbours by ``scoring="hamming"``, analogies
    by ``"asymmetric"``.

    Parameters
    ----------
    vectors : CompressedVectors
    title : str, optional
        Heading. Default: the name of the file that the vectors were made from.
    limit : int, optional
        Take the first words only, in most files the frequent ones. Default: all.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no word, `limit` is smaller than 1, or the page would be larger than
        `LARGEST_PAGE` bytes.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} must be at least 1")
    n_words = len(vectors) if limit is None else min(limit, len(vectors))
    if n_words == 0:
        raise ValueError("there is no word to show")
    file = lookup_bytes(vectors, n_words)
    _check_size(file, n_words)
    if title is None:
        title = "Words" if vectors.source is None else Path(vectors.source.path).name
    # names of files may hold bytes that are no text
    title = title.encode("utf-8", "replace").decode("utf-8")
    style = (_WEB / "explore.css").read_text("utf-8")
    script = bundle_scripts()
    parts: dict[str, str] = {
        "policy": _policy(script, style),
        "version": __version__,
        "title": escape(title),
        "style": style,
        "script": script,
        "about": _about(vectors, n_words),
        "file": base64.b64encode(file).decode("ascii"),
    }
    template = Template((_WEB / "page.html").read_text("utf-8"))
    # the few bytes of the facts themselves do not show in three digits
    n_bytes = len(template.substitute(parts | {"facts": ""}).encode("utf-8"))
    return template.substitute(parts | {"facts": _facts(vectors, n_words, n_bytes)})


def lookup_bytes(vectors: CompressedVectors, n_words: int) -> bytes:
    """The file inside the page: what a search needs, without what encodes or decodes vectors.

    Parameters
    ----------
    vectors : CompressedVectors
    n_words : int
        The first words that it is to hold.

    Returns
    -------
    bytes
        A container of the kind ``"lookup"``; see docs/format.md.
    """
    words = vectors.index_to_key
    if n_words < len(words):
        words = Vocabulary(words.blob[: int(words.offsets[n_words])], words.offsets[: n_words + 1])
    arrays = vectors.encoder.to_tensors()
    tensors = {
        "codes": np.asarray(vectors.codes[:n_words]),
        **short_vocabulary(words),
        **{name: arrays[name] for name in ("encoder_levels", "encoder_thresholds")},
    }
    encoder = vectors.encoder.to_metadata()
    counts = ("n_bits", "n_features", "n_directions")
    metadata = {
        **{name: encoder[name] for name in counts if name in encoder},
        "quantizer": vectors.quantizer,
        "bitorder": "big",
    }
    return dump_container(tensors, kind=_KIND, metadata=metadata)


def bundle_scripts() -> str:
    """The modules of the page as one: an inline module cannot import another.

    Returns
    -------
    str
        JavaScript without imports and exports.

    Raises
    ------
    ValueError
        If it would end the element it is put into.
    """
    texts = [(_WEB / name).read_text("utf-8") for name in _SCRIPTS]
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("the script of the page would end its element")
    return script


def _check_size(file: bytes, n_words: int) -> None:
    # base64 takes 4 bytes for 3
    n_bytes = len(file) * 4 // 3
    if n_bytes > LARGEST_PAGE:
        fitting = int(n_words * LARGEST_PAGE / n_bytes)
        raise ValueError(
            f"{n_words:,} words would make a page of {human_bytes(n_bytes)}; pages have at most "
            f"{human_bytes(LARGEST_PAGE)}, for which the first {fitting:,} words would do (limit=)"
        )


def _policy(script: str, style: str) -> str:
    """Only what the page holds itself may run, and nothing may be asked for."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        for text in (script, style)
    ]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _facts(vectors: CompressedVectors, n_words: int, n_bytes: int) -> str:
    """Words, bits, bytes and the ratio, as a list of terms."""
    code_bytes = n_words * vectors.codes.shape[1]
    float_bytes = n_words * vectors.vector_size * 4
    facts = {
        "words": f"{n_words:,}",
        "bits a word": f"{vectors.n_bits:,}",
        "codes": human_bytes(code_bytes),
        "as float32": f"{human_bytes(float_bytes)}, {float_bytes / code_bytes:.1f}x larger",
        "this page": human_bytes(n_bytes),
    }
    return "\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())


def _about(vectors: CompressedVectors, n_words: int) -> str:
    """How the page is made."""
    encoder = vectors.encoder
    made_of = "one sign for each direction"
    if encoder.n_second:
        made_of = f"a sign for each of {encoder.n_directions} directions, and whether it is large"
    source = ""
    if vectors.source is not None:
        name = vectors.source.path.encode("utf-8", "replace").decode("utf-8")
        source = f" from <bdi>{escape(name)}</bdi>"
    first = "" if n_words == len(vectors) else f"the first {n_words:,} of {len(vectors):,} words, "
    return (
        f"<p>Made by embcompress {__version__}{source}: {first}"
        f"{escape(vectors.quantizer)} codes of {vectors.n_bits} bits, {made_of}.</p>\n"
        "<p>Neighbours are found by comparing codes bit by bit; an analogy b &minus; a + c keeps "
        "its real values. Words and codes are in this page, which asks no network for anything.</p>"
    )
