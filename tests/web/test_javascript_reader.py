"""The reader in JavaScript answers as Python does, and refuses what Python refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from javascript import ask, needs_node, values

from embcompress import IIQ, LSH, CompressedVectors, FormatError, KeyedVectors, Sign
from embcompress.container import load_container, save_container
from embcompress.vectors import UnknownWordError, top_k

pytestmark = needs_node

GOLDEN = Path(__file__).parent / "golden.safetensors"
# one bit for each direction; a bit count that fills no byte; second bits for some or all
QUANTIZERS = {
    "IIQ-100": IIQ(random_state=0, max_iter=3),
    "IIQ-37": IIQ(n_bits=37, n_remove=1, random_state=0, max_iter=3),
    "IIQ-300": IIQ(n_bits=300, random_state=0, max_iter=3),
    "LSH-64": LSH(n_bits=64, random_state=0),
    "Sign": Sign("median"),
    "two-81": IIQ(n_bits=81, bits_per_direction=2, random_state=0, max_iter=3),
    "two-100": IIQ(n_bits=100, bits_per_direction=2, random_state=0, max_iter=3),
}
SUMS = [
    (["woman", "king"], ["man"]),
    (["paris", "germany"], ["france"]),
    (["larger", "small"], ["large"]),
    (["music", "river"], []),
]
# the largest difference that float32 sums in another order make
CLOSE = 1e-6


@pytest.fixture(scope="module", params=QUANTIZERS, ids=str)
def file(request, sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("js") / f"{request.param}.safetensors"
    CompressedVectors.compress(sample, QUANTIZERS[request.param]).save(path)
    return path


@pytest.fixture
def path(tmp_path, sample):
    CompressedVectors.compress(sample, Sign()).save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def same(found, wanted):
    """Same words in the same order, except that equal ones to rounding may change places."""
    scores = np.array([score for _, score in wanted])
    np.testing.assert_allclose([each["similarity"] for each in found], scores, atol=CLOSE)
    for place, each in enumerate(found):
        level = np.abs(scores - scores[place]) <= 2 * CLOSE
        # the last level may go on beyond what was asked for
        if not level[-1]:
            assert each["word"] in {wanted[i][0] for i in np.flatnonzero(level)}


def test_neighbours_of_words_are_equal_to_the_last_bit(file):
    small = CompressedVectors.load(file)
    words = [small.index_to_key[i] for i in (0, 1, 17, 401, 2028, 4999)]
    calls = [("mostSimilar", word, {"topn": 25}) for word in words]
    for word, found in zip(words, values([("open", str(file)), *calls])[1:], strict=True):
        wanted = small.most_similar(word, topn=25)
        assert [(each["word"], each["similarity"]) for each in found] == wanted
        assert [small.index_to_key[each["index"]] for each in found] == [w for w, _ in wanted]


@pytest.mark.parametrize("scoring", ["hamming", "asymmetric"])
def test_sums_of_words(file, scoring):
    small = CompressedVectors.load(file)
    calls = [
        ("mostSimilar", {"positive": plus, "negative": minus}, {"topn": 20, "scoring": scoring})
        for plus, minus in SUMS
    ]
    for (plus, minus), found in zip(SUMS, values([("open", str(file)), *calls])[1:], strict=True):
        wanted = small.most_similar(plus, minus, topn=20, scoring=scoring)
        assert len(found) == 20
        same(found, wanted)


def test_similarity_numbers_and_weights(file):
    small = CompressedVectors.load(file)
    weighted = {"positive": [["king", 2], "river"], "negative": [["sea", 0.5]]}
    _, similarity, numbers, found, all_words = values(
        [
            ("open", str(file)),
            ("similarity", "king", "queen"),
            ("values", 7),
            ("mostSimilar", weighted, {"topn": 5, "scoring": "asymmetric"}),
            ("mostSimilar", "king", {"topn": 10_000}),
        ]
    )
    assert similarity == pytest.approx(small.similarity("king", "queen"), abs=1e-12)
    assert numbers == small.encoder.values(small.codes[7:8])[0].tolist()
    same(found, small.most_similar([("king", 2), "river"], [("sea", 0.5)], 5, scoring="asymmetric"))
    wanted = small.most_similar("king", topn=10_000)
    assert [(each["word"], each["similarity"]) for each in all_words] == wanted


def test_words_of_any_kind(tmp_path):
    words = [
        "naïve", "NAÏVE", "nai\u0308ve", "日本", "👩🏽‍🚀", "שלום", "</script>", 'a"b', "",
        "\ufeffx", b"caf\xe9".decode("utf-8", "surrogateescape"), "\x00", " ", "naïve",
    ]  # fmt: skip
    rows = np.random.default_rng(0).normal(size=(len(words), 12))
    CompressedVectors.compress(KeyedVectors(words, rows), Sign()).save(tmp_path / "w.safetensors")
    calls = [("words",), *(("find", word) for word in words), ("find", "other")]
    opened, found, *places = values([("open", str(tmp_path / "w.safetensors")), *calls])
    assert opened["length"] == len(words)
    assert found == words
    # the first of equal words counts; composed and decomposed letters differ, as in Python
    assert places == [*range(len(words) - 1), 0, -1]


def test_completions_and_close_words(file):
    _, whole, upper, frequent, nothing, close = values(
        [
            ("open", str(file)),
            ("startingWith", "queen", 3),
            ("startingWith", "MUSI", 4),
            ("startingWith", "a", 3),
            ("startingWith", "zzzz", 4),
            ("closeWords", "germny", 2),
        ]
    )
    words = CompressedVectors.load(file).index_to_key
    assert whole[0] == "queen"
    assert upper == [word for word in words if word.startswith("musi")][:4]
    # a whole word first, then others in the order of the file
    assert frequent == ["a", *(word for word in words if word[0] == "a" and len(word) > 1)][:3]
    assert nothing == []
    assert close[0] == "germany"


def test_unknown_words_and_wrong_arguments(file):
    calls = [
        ("open", str(file)),
        ("mostSimilar", "kingg"),
        ("mostSimilar", {"positive": []}),
        ("mostSimilar", "king", {"topn": 0}),
        ("mostSimilar", "king", {"scoring": "cosine"}),
    ]
    answers = ask(calls)[1:]
    with pytest.raises(UnknownWordError, match="'kingg' is not among the 5,000 words; close words"):
        CompressedVectors.load(file).most_similar("kingg")
    assert answers[0]["error"] == "UnknownWordError"
    assert answers[0]["message"].startswith(
        "'kingg' is not among the 5,000 words; close words: king, kings"
    )
    assert answers[1]["message"] == "mostSimilar needs at least one word"
    assert answers[2]["message"] == "topn=0 must be a whole number of at least 1"
    assert answers[3]["message"] == "scoring='cosine'; allowed: 'hamming' or 'asymmetric'"


def test_largest_scores_in_order():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, size=500) / 30
    found = values([("topK", scores.tolist(), k) for k in (1, 7, 256, 300, 500, 900)])
    for k, places in zip((1, 7, 256, 300, 500, 900), found, strict=True):
        assert places == top_k(scores, min(k, 500))[0].tolist()


def test_arrays_of_every_type(tmp_path):
    path = tmp_path / "types.safetensors"
    numbers = [0, 1, 2, 100]
    names = {
        "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "F16": np.float16,
        "U32": np.uint32, "I32": np.int32, "F32": np.float32, "U64": np.uint64, "I64": np.int64,
        "F64": np.float64,
    }  # fmt: skip
    tensors = {name: np.array([numbers], dtype) for name, dtype in names.items()}
    halves = np.array([0, -0.0, 1, -2.5, 65504, 6e-8, 0.1, np.inf, -np.inf], np.float16)
    save_container(path, {**tensors, "halves": halves}, kind="test")
    *found, half = values([("container", str(path), "test", name) for name in [*names, "halves"]])
    for name, tensor in zip(names, found, strict=True):
        assert tensor == {"dtype": name, "shape": [1, 4], "data": numbers}
    wanted = [None if np.isinf(x) else float(x) for x in halves]  # JSON has no infinity
    assert half["data"] == wanted


def test_a_file_inside_another(file):
    small = CompressedVectors.load(file)
    opened, found = values([("openInside", str(file)), ("mostSimilar", "king")])
    assert opened["length"] == len(small)
    assert [each["word"] for each in found] == [word for word, _ in small.most_similar("king")]


def test_long_positions(path):
    """Files of more than 4 GB of words have positions of 8 bytes."""
    opened = load_container(path, kind="vectors")
    tensors = {name: np.array(array) for name, array in opened.tensors.items()}
    tensors["vocab_offsets"] = tensors["vocab_offsets"].astype(np.int64)
    save_container(path, tensors, kind="vectors", metadata=opened.metadata)
    _, words, place = values([("open", str(path)), ("words",), ("find", "music")])
    small = CompressedVectors.load(path)
    assert words == list(small.index_to_key)
    assert place == small.get_index("music")


# Damage ---------------------------------------------------------------------------------------


def rewrite(path, change):
    """Change the header of a file and write it back."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


def refuse(path, message):
    """Python refuses the file, and JavaScript does so with this message."""
    with pytest.raises(FormatError):
        CompressedVectors.load(path)
    (answer,) = ask([("open", str(path))])
    assert answer["error"] == "FormatError"
    assert message in answer["message"], answer["message"]
    assert answer["message"].startswith(f"{path.name}: ")


@pytest.mark.parametrize("size", [0, 4, 8, 200, -53, -1])
def test_cut_off_anywhere(path, size):
    raw = path.read_bytes()
    path.write_bytes(raw[:size])
    refuse(path, f"{len(raw[:size])} bytes found); was the download or copy interrupted?")


def test_another_file(path):
    path.write_text("the 0.1 0.2\nof 0.3 0.4\n")
    refuse(path, "not a safetensors file (23 bytes found)")


def test_bytes_after_the_end(path):
    path.write_bytes(path.read_bytes() + b"x")
    refuse(path, "not a complete safetensors file")


@pytest.mark.parametrize("place", [8, 9, 30])
def test_damaged_header(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0xFF
    path.write_bytes(raw)
    refuse(path, "header is not JSON")


def metadata(**changes):
    return lambda header: header["__metadata__"].update(changes)


HEADERS = [
    (metadata(format="other"), "not one of embcompress (metadata format='other', expected"),
    (lambda h: h.pop("__metadata__"), "not one of embcompress (metadata format='undefined'"),
    (metadata(format_version="2"), "format version '2', this module reads versions 1 to 1"),
    (metadata(format_version="x"), "format version 'x'"),
    (metadata(kind="bundle"), "holds 'bundle', expected 'vectors' or 'lookup'"),
    (metadata(n_bits="many"), "metadata entry n_bits='many' is not a whole number"),
    (metadata(n_bits="0"), "n_bits=0 must be at least 1"),
    (metadata(n_bits="90"), "codes have 13 bytes per word, expected 12 for n_bits=90"),
    (metadata(n_bits="99"), "'encoder_levels' has shape (2,100), expected (2,99)"),
    (metadata(n_directions="20"), "n_directions=20 with n_bits=100; each direction has one bit"),
    (metadata(bitorder="little"), "bit order 'little', expected 'big'"),
    (lambda h: h["__metadata__"].pop("bitorder"), "metadata entry 'bitorder' is missing"),
    (lambda h: h.update(codes=h.pop("codes") | {"dtype": "I8"}), "'codes' is I8 with 2 axes"),
    (lambda h: h["codes"].update(dtype="X8"), "'codes' has unknown data type 'X8'"),
    (lambda h: h["codes"].update(shape=[2, 3]), "array 'codes' has bytes"),
    (lambda h: h["codes"].update(shape="all"), "'codes' has no shape or no data_offsets"),
    (lambda h: h["codes"].update(data_offsets=[0, 65000]), "has bytes"),
    (lambda h: h.update(words=h.pop("vocab")), "array 'vocab' is missing (found: codes, "),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), HEADERS, ids=[m[:24] for _, m in HEADERS])
def test_wrong_headers(path, change, message):
    rewrite(path, change)
    refuse(path, message)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vocab_offsets": np.array([0, 3], np.uint32)}, "2 word positions, expected 5001 for"),
        ({"vocab": np.zeros(3, np.uint8)}, "out of order or do not span the 3 bytes of words"),
        ({"codes": np.zeros((5000, 3), np.uint8)}, "3 bytes per word, expected 13 for n_bits=100"),
    ],
)
def test_wrong_arrays(path, arrays, message):
    opened = load_container(path, kind="vectors")
    tensors = {name: np.array(array) for name, array in opened.tensors.items()} | arrays
    save_container(path, tensors, kind="vectors", metadata=opened.metadata)
    refuse(path, message)


# The committed file ---------------------------------------------------------------------------


def test_the_golden_file_is_read_as_ever():
    """A file of format version 1 as it was written once: both readers must go on reading it."""
    small = CompressedVectors.load(GOLDEN)
    assert list(small.index_to_key) == ["king", "queen", "naïve", "river", "日本"]
    assert small.codes.tolist() == [[224, 128], [192, 128], [31, 0], [27, 0], [240, 0]]
    calls = [("words",), ("values", 4), ("mostSimilar", "king", {"topn": 4})]
    _, words, numbers, found = values([("open", str(GOLDEN)), *calls])
    assert words == list(small.index_to_key)
    assert numbers == [1, 1, 1, 1, -1, -1, -1, -1, -1]
    answers = [(each["word"], each["similarity"]) for each in found]
    assert answers == small.most_similar("king")
    assert answers == [("queen", 7 / 9), ("日本", 5 / 9), ("river", -7 / 9), ("naïve", -1)]
