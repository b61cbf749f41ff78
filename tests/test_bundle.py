"""Bundles: what they predict, what the file holds, and what damage is told."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from small_bundle import LABELS, TEXTS, graph

from embcompress import (
    IIQ,
    Bundle,
    CompressedVectors,
    FormatError,
    KeyedVectors,
    Sign,
    TextVectors,
    runtime,
)
from embcompress.container import kind_of, load_container, save_container
from embcompress.text_means import CodeMeans


@pytest.fixture(scope="module")
def small(sample):
    return CompressedVectors.compress(sample, IIQ(n_bits=100, random_state=0))


@pytest.fixture(scope="module")
def two_bits(sample):
    quantizer = IIQ(n_bits=160, bits_per_direction=2, random_state=0)
    return CompressedVectors.compress(sample, quantizer)


@pytest.fixture(scope="module")
def bundle(small):
    return Bundle.build(small, graph(small))


@pytest.mark.parametrize("features", ["decoded", "codes"])
@pytest.mark.parametrize("vectors", ["small", "two_bits"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_predicts_as_its_parts_do(vectors, features, precision, tmp_path, request):
    vectors = request.getfixturevalue(vectors)
    program = runtime.compile(graph(vectors, features), precision=precision)
    expected = program.predict_proba(TextVectors(vectors, features).transform(TEXTS))
    made = Bundle.build(vectors, graph(vectors, features), features=features, precision=precision)
    made.save(tmp_path / "b.safetensors")
    for bundle in (made, Bundle.load(tmp_path / "b.safetensors")):
        assert bundle.features == features
        assert bundle.classes_.tolist() == ["royal", "wet"]
        np.testing.assert_allclose(bundle.predict_proba(TEXTS), expected, atol=5e-3)
        assert bundle.predict(TEXTS).tolist() == LABELS


def test_saving_changes_nothing(bundle, tmp_path):
    bundle.save(tmp_path / "one.safetensors")
    loaded = Bundle.load(tmp_path / "one.safetensors")
    assert loaded.words == bundle.words
    assert (loaded.n_bits, loaded.quantizer) == (100, "IIQ")
    assert repr(loaded) == "Bundle(5,000 words x 100 bits, IIQ, 2 classes)"
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), bundle.predict_proba(TEXTS))
    loaded.save(tmp_path / "two.safetensors")
    one, two = (tmp_path / f"{name}.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_program_or_records(small):
    compiled = Bundle.build(small, runtime.compile(graph(small)))
    assert compiled.predict(TEXTS).tolist() == LABELS
    with pytest.raises(ValueError, match="precision= is for heads that are compiled here"):
        Bundle.build(small, compiled.program, precision="int8")
    with pytest.raises(TypeError, match="cannot compile a str"):
        Bundle.build(small, "head")


def test_texts_that_are_unknown_or_wrong(bundle):
    zeros = bundle.program.predict_proba(np.zeros((1, 100), np.float32))
    np.testing.assert_array_equal(bundle.predict_proba(["???", ""]), zeros.repeat(2, axis=0))
    assert bundle.texts.with_counts(["king ???", "???"])[1].tolist() == [1, 0]
    assert bundle.predict([]).tolist() == []
    with pytest.raises(TypeError, match="texts is a single string"):
        bundle.predict("the king")


def test_fewer_words(small, tmp_path):
    some = Bundle.build(small, graph(small), max_words=1200)
    assert list(some.words) == list(small.index_to_key[:1200])
    some.save(tmp_path / "some.safetensors")
    loaded = Bundle.load(tmp_path / "some.safetensors")
    known = [word for word in ["king", "queen", "lake"] if word in some.words]
    assert known
    every = Bundle.build(small, graph(small))
    np.testing.assert_allclose(
        loaded.predict_proba(known), every.predict_proba(known), rtol=0, atol=1e-6
    )
    with pytest.raises(ValueError, match="max_words=0 must be at least 1"):
        Bundle.build(small, graph(small), max_words=0)


def test_words_that_no_text_holds_are_left_out():
    words = ["well-made", "Film", "film", "new_york", "", "it's", "...", "naïve"]
    kv = KeyedVectors(words, np.random.default_rng(0).normal(size=(8, 4)))
    small = CompressedVectors.compress(kv, Sign())
    layer = runtime.Linear(np.eye(2, 4))
    head = runtime.Graph([runtime.Node("out", layer)], "rows", (4,), np.array([0, 1]))
    bundle = Bundle.build(small, head)
    assert list(bundle.words) == ["film", "it's", "naïve"]
    assert list(Bundle.build(small, head, max_words=2).words) == ["film", "it's"]
    texts = ["Film", "It's", "'film'", "NAÏVE"]
    np.testing.assert_allclose(
        bundle.texts.transform(texts), TextVectors(small).transform(texts), rtol=1e-3, atol=1e-4
    )
    none = CompressedVectors.compress(KeyedVectors(["A", "B-"], np.eye(2, 4)), Sign())
    with pytest.raises(ValueError, match="none of the 2 words can be in a text"):
        Bundle.build(none, head)


def test_what_does_not_fit(small, two_bits, sample):
    with pytest.raises(TypeError, match=r"compressed vectors, not KeyedVectors; .*\.compress"):
        Bundle.build(sample, graph(small))
    message = r"takes 80 numbers, but the mean of decoded vectors has 100; .*features=\"codes\""
    with pytest.raises(ValueError, match=message):
        Bundle.build(two_bits, graph(two_bits, "codes"))
    message = r"takes 100 numbers, but .* codes has 80; .* has 100: features=\"decoded\""
    with pytest.raises(ValueError, match=message):
        Bundle.build(two_bits, graph(small), features="codes")
    narrow = runtime.Node("out", runtime.Linear(np.ones((2, 7))))
    head = runtime.Graph([narrow], "rows", (7,), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"takes 7 numbers, .* has 100; train a head on"):
        Bundle.build(small, head)
    with pytest.raises(ValueError, match="has no classes; a classifier of rows"):
        Bundle.build(small, runtime.Linear(np.ones((2, 100))))
    with pytest.raises(ValueError, match="features='bits' is unknown"):
        Bundle.build(small, graph(small), features="bits")


def test_the_decoder_is_short_where_that_is_as_good(small):
    means = CodeMeans.decoded(small.codes, small.encoder)
    assert means.shortened().decoder.dtype == np.float16
    for factor in (1e6, 1e-9):  # out of the range of float16
        scaled = CodeMeans(means.codes, means.n_bits, means.levels, means.decoder * factor)
        assert scaled.shortened().decoder.dtype == np.float32
    # one feature that is far smaller than the others counts too
    scaled = means.decoder * np.append(np.ones(99), 1e-8).astype(np.float32)
    uneven = CodeMeans(means.codes, means.n_bits, means.levels, scaled)
    assert uneven.shortened().decoder.dtype == np.float32


def test_report(bundle, tmp_path):
    bundle.save(tmp_path / "b.safetensors")
    report = bundle.report()
    tensors = load_container(tmp_path / "b.safetensors", kind="bundle").tensors
    assert report.nbytes == sum(array.nbytes for array in tensors.values())
    assert (report.n_words, report.n_bits, report.features) == (5000, 100, "decoded")
    assert report.parts["codes"] == 5000 * 13
    assert report.parts["decoder"] == 2 * 100 * 100 + 4 * 3 * 100
    text = str(report)
    assert text.startswith("5,000 words x 100 bits, mean of decoded vectors\n")
    assert "2x100" in text


def test_the_file_stays_as_it_is(tmp_path):
    """Names, types and bytes of a file: readers elsewhere rely on them."""
    kv = KeyedVectors(["no", "yes"], [[-1.0, 1, 1], [1, -1, 2]])
    layer = runtime.Linear([[1.0, 0, 0], [0, 2, 0]], [0.5, 0])
    head = runtime.Graph([runtime.Node("out", layer)], "rows", (3,), np.array(["a", "b"]))
    bundle = Bundle.build(CompressedVectors.compress(kv, Sign()), head)
    path = tmp_path / "b.safetensors"
    bundle.save(path)
    assert kind_of(path) == "bundle"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    program = json.loads(metadata.pop("program"))
    assert metadata.pop("created_with").startswith("embcompress ")
    assert metadata == {
        "format": "embcompress", "format_version": "1", "kind": "bundle", "n_bits": "3",
        "n_directions": "3", "features": "decoded", "quantizer": "Sign", "bitorder": "big",
    }  # fmt: skip
    assert program["classes"] == {"dtype": "U1", "values": ["a", "b"]}
    assert (program["input"], program["shape"]) == ("rows", [3])
    file = load_container(path, kind="bundle")
    assert {n for n in file.tensors if not n.startswith("program.")} == {
        "codes", "vocab", "vocab_lengths", "levels", "offset",
    }  # fmt: skip
    assert file.tensors["codes"].tobytes() == bytes([0b01100000, 0b10100000])
    assert file.tensors["vocab"].tobytes() == b"noyes"
    assert file.tensors["vocab_lengths"].tobytes() == bytes([2, 3])
    assert file.tensors["program.0.bias"].tobytes() == np.array([0.5, 0], "<f4").tobytes()


def test_numbers_of_codes_need_nothing_more(small, tmp_path):
    Bundle.build(small, graph(small, "codes"), features="codes").save(tmp_path / "b.safetensors")
    names = set(load_container(tmp_path / "b.safetensors", kind="bundle").tensors)
    assert not names & {"levels", "decoder", "offset"}


def damaged(path, tmp_path, change, entries=()):
    """A copy of a bundle with other arrays or metadata."""
    file = load_container(path, kind="bundle")
    arrays = dict(file.tensors)
    change(arrays)
    target = tmp_path / "damaged.safetensors"
    metadata = {**file.metadata, **dict(entries)}
    save_container(target, arrays, kind=metadata.pop("kind"), metadata=metadata)
    return target


def nothing(arrays):
    pass


def put(name, make):
    return lambda arrays: arrays.update({name: make(arrays[name])})


def nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "entries", "message"),
    [
        (lambda a: a.pop("codes"), {}, "array 'codes' is missing"),
        (lambda a: a.pop("vocab_lengths"), {}, "array 'vocab_lengths' is missing"),
        (put("vocab_lengths", lambda v: v[1:]), {}, "4999 lengths of words, expected 5000"),
        (put("vocab_lengths", lambda v: v + np.uint8(1)), {}, "do not add up to their"),
        (put("codes", lambda v: v[:, 1:]), {}, "12 bytes per word, bit order 'big'; expected 13"),
        (put("levels", lambda v: v[:, 1:]), {}, r"'levels' has shape \(2, 99\), not \(2, 100\)"),
        (put("levels", nan), {}, "'levels' holds NaN"),
        (put("offset", lambda v: v[1:]), {}, "'offset' has shape"),
        (put("decoder", lambda v: v.astype(np.int8)), {}, "'decoder' is int8"),
        (put("decoder", nan), {}, "'decoder' holds NaN"),
        (
            lambda a: a.update(decoder=a["decoder"][:, 1:], offset=a["offset"][1:]),
            {},
            "the head takes 100 numbers, but the mean of decoded vectors has 99",
        ),
        (nothing, {"n_bits": "0"}, "n_directions=100 with n_bits=0"),
        (nothing, {"n_directions": "x"}, "n_directions='x' is not a whole number"),
        (nothing, {"features": "other"}, "unknown features 'other'"),
        (nothing, {"bitorder": "little"}, "bit order 'little'"),
        (nothing, {"program": "{"}, "'program' is not JSON"),
        (nothing, {"program": '{"input":"rows"}'}, "the program does not fit together"),
        (nothing, {"kind": "vectors"}, "holds 'vectors', expected 'bundle'"),
    ],
)
def test_damaged_files(bundle, tmp_path, change, entries, message):
    bundle.save(tmp_path / "good.safetensors")
    bad = damaged(tmp_path / "good.safetensors", tmp_path, change, entries)
    with pytest.raises(FormatError, match=message):
        Bundle.load(bad)


def test_without_classes(bundle, tmp_path):
    bundle.save(tmp_path / "good.safetensors")
    file = load_container(tmp_path / "good.safetensors", kind="bundle")
    program = json.loads(file.metadata["program"])
    del program["classes"]
    bad = damaged(file.path, tmp_path, nothing, {"program": json.dumps(program)})
    with pytest.raises(FormatError, match="the program has no classes"):
        Bundle.load(bad)


def test_truncated(bundle, tmp_path):
    path = tmp_path / "b.safetensors"
    bundle.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        Bundle.load(path)
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        kind_of(path)


def test_predicting_loads_little(bundle, tmp_path):
    bundle.save(tmp_path / "b.safetensors")
    program = (
        "import sys\nfrom embcompress.bundle import Bundle\n"
        f"bundle = Bundle.load({str(tmp_path / 'b.safetensors')!r})\n"
        "assert bundle.predict(['the king']).tolist() == ['royal']\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"numpy", "numba", "safetensors"} <= loaded
    # SciPy may be there: numba looks at its version
    heavy = {"torch", "sklearn", "faiss", "pandas", "gensim", "matplotlib", "typer", "rich"}
    assert not loaded & heavy
