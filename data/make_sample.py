"""Train the sample vectors of this folder: 5,000 frequent words of English Wikipedia, 100 dims.

    EMBCOMPRESS_DATA=... python data/make_sample.py

reads ``corpus/enwiki_first60MB_tokens.txt.xz`` below ``EMBCOMPRESS_DATA``, trains skip-gram
vectors with gensim in one thread (so that the result can be made again), and writes
``enwiki_sample_5k_100d.txt`` in GloVe text, words by frequency.
"""

from __future__ import annotations

import lzma
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gensim.models import Word2Vec

N_WORDS = 5_000
N_DIMS = 100
OUTPUT = Path(__file__).with_name("enwiki_sample_5k_100d.txt")


class Paragraphs:
    """The corpus, one list of tokens per paragraph, as often as it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[list[str]]:
        with lzma.open(self.path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield line.split()


def main() -> None:
    """Train and write."""
    root = os.environ.get("EMBCOMPRESS_DATA")
    if not root:
        sys.exit("EMBCOMPRESS_DATA does not name the data folder")
    if os.environ.get("PYTHONHASHSEED") != "0":  # gensim's start vectors depend on hash()
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    corpus = Paragraphs(Path(root) / "corpus" / "enwiki_first60MB_tokens.txt.xz")
    model = Word2Vec(
        corpus,
        vector_size=N_DIMS,
        sg=1,
        window=5,
        negative=8,
        min_count=10,
        sample=1e-4,
        epochs=6,
        workers=1,
        seed=0,
    )
    words = model.wv.index_to_key[:N_WORDS]
    with OUTPUT.open("w", encoding="utf-8", newline="\n") as file:
        for word in words:
            # four decimals keep the file small; the vectors are not known better than that
            numbers = " ".join(f"{value:.4f}" for value in model.wv[word])
            file.write(f"{word} {numbers}\n")
    print(f"{OUTPUT}: {len(words)} words, {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
