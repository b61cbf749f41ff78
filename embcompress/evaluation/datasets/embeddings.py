"""The word vectors: public ones, and those that we trained."""

from __future__ import annotations

from embcompress.evaluation.datasets.entries import DataFile, DatasetEntry, Form

__all__ = ["EMBEDDINGS"]

_PDDL = "Open Data Commons Public Domain Dedication and License (PDDL) 1.0"
_GLOVE = "Pennington, Socher, Manning (2014). GloVe: global vectors for word representation. EMNLP."
_FASTTEXT = (
    "Mikolov, Grave, Bojanowski, Puhrsch, Joulin (2018). Advances in pre-training distributed "
    "word representations. LREC."
)
_WORD2VEC = (
    "Mikolov, Sutskever, Chen, Corrado, Dean (2013). Distributed representations of words and "
    "phrases and their compositionality. NIPS."
)

# zip file -> checksum, and the names of the vectors in it
_GLOVE_ARCHIVES = {
    "glove.6B.zip": (
        "sha256:617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
        ("glove.6B.50d", "glove.6B.100d", "glove.6B.200d", "glove.6B.300d"),
    ),
    "glove.42B.300d.zip": (
        "sha256:03d5d7fa28e58762ace4b85fb71fe86a345ef0b5ff39f5390c14869da0fc1970",
        ("glove.42B.300d",),
    ),
    "glove.840B.300d.zip": (
        "sha256:c06db255e65095393609f19a4cfca20bf3a71e20cc53e892aafa490347e3849f",
        ("glove.840B.300d",),
    ),
    "glove.twitter.27B.zip": (
        "sha256:792af52f795d1a32c9842a3240f5f3fe5e941a8ff6df5eb0f9d668092ebc019c",
        (
            "glove.twitter.27B.25d",
            "glove.twitter.27B.50d",
            "glove.twitter.27B.100d",
            "glove.twitter.27B.200d",
        ),
    ),
}
# zip file without ".vec.zip" -> checksum
_FASTTEXT_ARCHIVES = {
    "wiki-news-300d-1M": "sha256:bdeb85f44892c505953e3654183e9cb0d792ee51be0992460593e27198d746f8",
    "crawl-300d-2M": "sha256:5bfffffbabdab299d4c9165c47275e8f982807a6eaca37ee1f71d3a79ddb544d",
    "wiki-news-300d-1M-subword": None,
}


def _embedding(name: str, licence: str, citation: str, *forms: Form) -> DatasetEntry:
    return DatasetEntry(name, "embedding", forms, licence, citation)


def _glove(archive: str, checksum: str, name: str) -> DatasetEntry:
    addresses = (
        f"https://nlp.stanford.edu/data/{archive}",
        f"https://huggingface.co/stanfordnlp/glove/resolve/main/{archive}",
    )
    packed = DataFile(f"embeddings/{archive}", addresses, checksum)
    text = DataFile(f"embeddings/{name}.txt")
    return _embedding(name, _PDDL, _GLOVE, Form((text,)), Form((packed,), member=f"{name}.txt"))


def _fasttext(name: str, checksum: str | None) -> DatasetEntry:
    address = f"https://dl.fbaipublicfiles.com/fasttext/vectors-english/{name}.vec.zip"
    packed = DataFile(f"embeddings/{name}.vec.zip", (address,), checksum)
    text = DataFile(f"embeddings/{name}.vec")
    return _embedding(
        f"fasttext-{name}",
        "CC BY-SA 3.0",
        _FASTTEXT,
        Form((text,)),
        Form((packed,), member=f"{name}.vec"),
    )


def _google_news() -> DatasetEntry:
    original = DataFile(
        "embeddings/GoogleNews-vectors-negative300.bin.gz",
        (),
        "sha256:21c05ae916a67a4da59b1d006903355cced7de7da1e42bff9f0504198c748da8",
    )
    # gensim publishes its checksum as MD5 only
    copy = DataFile(
        "embeddings/word2vec-google-news-300.gz",
        (
            "https://github.com/piskvorky/gensim-data/releases/download/"
            "word2vec-google-news-300/word2vec-google-news-300.gz",
        ),
        "md5:a5e5354d40acb95f9ec66d5977d140ef",
    )
    return _embedding(
        "word2vec-google-news-300",
        "no licence stated with the file; cite, do not redistribute",
        _WORD2VEC,
        Form((original,)),
        Form((copy,)),
    )


def _local(name: str, file: str, sha256: str, licence: str, citation: str) -> DatasetEntry:
    """Describe vectors without a public address."""
    form = Form((DataFile(f"embeddings/{file}", (), f"sha256:{sha256}"),))
    return _embedding(name, licence, citation, form)


_WIKIPEDIA = "CC BY-SA (text of English Wikipedia)"
_LOCAL = [
    _local(
        "enwiki_sgns300_50k",
        "enwiki_sgns300_50k.npz",
        "29d2fdeb8d3f4a66449b470682f9ca507c16ce3153406bd0ad63a227c1b54273",
        _WIKIPEDIA,
        f"Trained for this project with skip-gram on English Wikipedia (2015). {_WORD2VEC}",
    ),
    _local(
        "enwiki_glove300_40k",
        "enwiki_glove300_40k.npz",
        "e0c15bedd5d3c16dafa1f2faf75853a2cba622b09e19ef92a0be182833826616",
        _WIKIPEDIA,
        f"Trained for this project with GloVe on English Wikipedia (2015). {_GLOVE}",
    ),
    _local(
        "enwiki_glove100_40k",
        "enwiki_glove100_40k.txt.gz",
        "c493858f19143337aac8cd81ad2c024df81be9518a55496a3bf81e496bc8b0b9",
        _WIKIPEDIA,
        f"Trained for this project with GloVe on English Wikipedia (2015). {_GLOVE}",
    ),
    _local(
        "glove.6B.50d.head9163",
        "glove.6B.50d.head9163.txt",
        "ca8fa2ae26d38a1c069860184b5fb2d9c6c031fe801a234d95b8b43c6563ab68",
        _PDDL,
        _GLOVE,
    ),
    _local(
        "glove.6B.100d.head2604",
        "glove.6B.100d.head2604.txt",
        "16f94f4d3fd892d9cc90f50f90d01f8be79ccbdf11bcb9aa7cb7614a3b11744e",
        _PDDL,
        _GLOVE,
    ),
]

EMBEDDINGS = [
    *(
        _glove(archive, checksum, name)
        for archive, (checksum, names) in _GLOVE_ARCHIVES.items()
        for name in names
    ),
    _google_news(),
    *(_fasttext(name, checksum) for name, checksum in _FASTTEXT_ARCHIVES.items()),
    *_LOCAL,
]
