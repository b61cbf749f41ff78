"""The file of compressed vectors: round trip, damage, streams."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embcompress import IIQ, ITQ, LSH, CompressedVectors, FormatError, PCASign, Sign
from embcompress.sampling import sample_rows
from embcompress.vocabulary import Vocabulary

QUANTIZERS = [
    IIQ(random_state=0, max_iter=3),
    IIQ(n_bits=150, n_remove=2, random_state=0, max_iter=3),
    IIQ(n_bits=81, bits_per_direction=2, random_state=0, max_iter=3),
    ITQ(n_bits=60, random_state=0, max_iter=3),
    LSH(n_bits=70, random_state=0),
    PCASign(n_bits=33),
    Sign("median"),
]


@pytest.fixture
def path(tmp_path, sample):
    CompressedVectors.compress(sample, Sign()).save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def damage(path, change_header=None, **tensors):
    """Write the file again with other metadata or arrays."""
    from embcompress.container import load_container, save_container

    opened = load_container(path, kind="vectors")
    metadata = dict(opened.metadata)
    if change_header:
        change_header(metadata)
    arrays = {name: np.array(array) for name, array in opened.tensors.items()}
    arrays |= {name: np.asarray(array) for name, array in tensors.items()}
    save_container(path, arrays, kind="vectors", metadata=metadata)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
def test_round_trip(quantizer, sample, tmp_path):
    small = CompressedVectors.compress(sample, quantizer)
    small.save(tmp_path / "s.safetensors")
    loaded = CompressedVectors.load(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(loaded.codes, small.codes)
    assert loaded.index_to_key == small.index_to_key
    assert loaded.quantizer == type(quantizer).__name__
    assert loaded.info == small.info
    assert loaded.source.path == "enwiki_sample_5k_100d.txt"
    # the encoder of the file encodes and decodes as the quantizer itself
    fresh = sample.vectors[:200] + np.float32(0.01)
    np.testing.assert_array_equal(loaded.encoder.encode(fresh), quantizer.transform(fresh))
    np.testing.assert_allclose(
        loaded.encoder.decode(small.codes[:50]),
        quantizer.inverse_transform(small.codes[:50]),
        atol=1e-5,
    )
    assert loaded.most_similar("king") == small.most_similar("king")


def test_same_input_same_bytes(sample, tmp_path):
    for name in ("a", "b"):
        CompressedVectors.compress(sample, IIQ(random_state=1, max_iter=2)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_was_learned_is_in_the_header(sample):
    info = CompressedVectors.compress(sample, IIQ(random_state=0, n_remove=2)).info
    assert info["n_removed"] == "2"
    assert 0 < float(info["isotropy_before"]) < float(info["isotropy_after"]) <= 1


def test_opening_maps_the_file(path):
    loaded = CompressedVectors.load(path)
    base = loaded.codes
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_damaged_files(path):
    raw = path.read_bytes()
    cases = [
        ({"vocab_offsets": np.array([0, 3], np.uint32)}, "2 word positions, expected 5001"),
        ({"codes": np.zeros((5000, 3), np.uint8)}, "3 bytes per word, expected 13 for n_bits=100"),
        ({"codes": np.zeros((5000, 13), np.int8)}, "'codes' is int8 with 2 axes, expected uint8"),
        ({"encoder_levels": np.zeros((2, 9), np.float32)}, r"shape \(2, 9\), expected \(2, 100\)"),
        ({"vocab": np.zeros(3, np.uint8)}, "out of order or do not span the 3 bytes"),
    ]
    for arrays, message in cases:
        path.write_bytes(raw)
        damage(path, **arrays)
        with pytest.raises(FormatError, match=message):
            CompressedVectors.load(path)


def test_positions_out_of_order(path):
    offsets = np.array(CompressedVectors.load(path).index_to_key.offsets)
    offsets[1:3] = offsets[2:0:-1]
    damage(path, vocab_offsets=offsets)
    with pytest.raises(FormatError, match="out of order"):
        CompressedVectors.load(path)


def test_damaged_metadata(path):
    raw = path.read_bytes()
    cases = [
        (lambda m: m.update(n_bits="many"), "n_bits='many' is not a whole number"),
        (lambda m: m.pop("quantizer"), "metadata entry 'quantizer' is missing"),
        (lambda m: m.update(bitorder="little"), "bit order 'little', expected 'big'"),
        (lambda m: m.update(encoder_scale="x"), "encoder_scale is not a number"),
        (lambda m: m.update(n_bits="0", n_features="0"), "n_bits=0, n_features=0; both are at"),
    ]
    for change, message in cases:
        path.write_bytes(raw)
        damage(path, change)
        with pytest.raises(FormatError, match=message):
            CompressedVectors.load(path)


def test_header_is_readable_by_anyone(path):
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    metadata = header["__metadata__"]
    assert metadata["kind"] == "vectors"
    assert metadata["n_bits"] == "100"
    assert metadata["quantizer"] == "Sign"
    assert header["codes"] == {**header["codes"], "dtype": "U8", "shape": [5000, 13]}
    assert header["vocab_offsets"]["dtype"] == "U32"


@pytest.mark.parametrize("rows", [1, 7, 1000, 10_000])
def test_encoding_a_stream_is_encoding_the_whole(rows, sample):
    quantizer = ITQ(n_bits=40, random_state=0, max_iter=2).fit(sample.vectors)
    n = 2000
    words = sample.index_to_key[:n]
    chunks = (
        (Vocabulary.from_words(words[i : i + rows]), sample.vectors[i : min(i + rows, n)])
        for i in range(0, n, rows)
    )
    streamed = CompressedVectors.encode_chunks(chunks, quantizer)
    assert streamed.index_to_key == words
    differing = np.bitwise_count(streamed.codes ^ quantizer.transform(sample.vectors[:n])).sum()
    assert differing <= 5  # scores of almost 0 may round differently in another batch


def test_empty_stream():
    with pytest.raises(ValueError, match="no vectors to encode"):
        CompressedVectors.encode_chunks(iter([]), Sign())
    with pytest.raises(ValueError, match="no vectors to draw from"):
        sample_rows(iter([]))


@pytest.mark.parametrize("chunk", [10, 333, 5000])
def test_sampling_a_stream_is_fair(chunk):
    rows = np.arange(5000, dtype=np.float32)[:, None]
    hits = np.zeros(5000)
    for seed in range(40):
        pieces = (rows[i : i + chunk] for i in range(0, 5000, chunk))
        kept = sample_rows(pieces, 500, random_state=seed)[:, 0].astype(int)
        assert len(np.unique(kept)) == 500
        assert (np.diff(kept) > 0).all()
        hits[kept] += 1
    # 40 x 500 draws over ten equal parts of the stream: 2000 each, standard deviation about 42
    assert np.abs(hits.reshape(10, 500).sum(axis=1) - 2000).max() < 210


def test_short_stream_is_kept_whole():
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.testing.assert_array_equal(sample_rows(iter([rows[:4], rows[4:]]), 10), rows)


def test_saving_needs_a_folder(path, tmp_path):
    small = CompressedVectors.load(path)
    with pytest.raises(FileNotFoundError, match="output folder does not exist"):
        small.save(tmp_path / "no" / "file")


def test_parts_must_fit(path):
    small = CompressedVectors.load(path)
    with pytest.raises(ValueError, match="2 words came with 5000 codes"):
        CompressedVectors(
            Vocabulary.from_words(["a", "b"]), small.codes, small.encoder, quantizer="Sign"
        )
