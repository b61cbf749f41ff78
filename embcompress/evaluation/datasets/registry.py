"""All data sets by name.

Checksums are of three kinds. Word sets, sentence sets and our own vectors: computed from the files
themselves. The large public archives (GloVe, fastText, Google News, IMDB): as published by the
data loaders of other projects, which agree; we have not fetched and computed them ourselves.
``None``: no checksum is recorded, and none is checked.
"""

from __future__ import annotations

import difflib

from embcompress.evaluation.datasets.embeddings import EMBEDDINGS
from embcompress.evaluation.datasets.entries import DatasetEntry
from embcompress.evaluation.datasets.tasks import TASK_SETS

__all__ = ["REGISTRY", "find_entry"]

REGISTRY: dict[str, DatasetEntry] = {entry.name: entry for entry in TASK_SETS + EMBEDDINGS}


def find_entry(name: str) -> DatasetEntry:
    """Look a data set up by its name, in any case.

    Raises
    ------
    ValueError
        If there is none of this name; the message gives those that are close.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    folded = {known.casefold(): known for known in REGISTRY}
    if str(name).casefold() in folded:
        return REGISTRY[folded[name.casefold()]]
    close = difflib.get_close_matches(str(name).casefold(), folded, n=4, cutoff=0.5)
    advice = f"close names: {', '.join(folded[c] for c in close)}" if close else "none is close"
    raise ValueError(f"there is no data set {name!r}; {advice}; list_datasets() gives all")
