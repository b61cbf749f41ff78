"""The methods that the benchmark compares: equal bytes, same seed same result, what is refused."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

from embcompress import IIQ, CompressedVectors, KeyedVectors
from embcompress.codes import unpack_signs
from embcompress.evaluation import SimilarityPairs, evaluate_similarity, space_of
from embcompress.evaluation.methods import METHODS, Compressed, find_methods
from embcompress.evaluation.methods_faiss import rotated_index_codes
from embcompress.row_lengths import unit_rows

WITH_FACTORS = {"rabitq", "eden1"}
NOT_CUT = {"float", "float-abtt"}
MADE = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name == "nlb" and importlib.util.find_spec("torch") is None,
            reason="torch is not installed",
        ),
    )
    for name in METHODS
]


@pytest.fixture(scope="module")
def words() -> KeyedVectors:
    """1,500 words in 40 dimensions with a decaying spectrum, an offset and a dominant direction."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 40)) / np.sqrt(np.arange(1, 41))
    X[:, 0] *= 3
    return KeyedVectors([f"w{i}" for i in range(1500)], (X + 0.3).astype(np.float32))


@pytest.fixture(scope="module")
def compressed(words):
    """Each method at 40 bits, made once."""
    made: dict[str, Compressed] = {}

    def get(name: str) -> Compressed:
        if name not in made:
            made[name] = METHODS[name].make(words, 40, 0)
        return made[name]

    return get


@pytest.mark.parametrize("name", MADE)
def test_what_every_method_gives(name, words, compressed):
    before = words.vectors.copy()
    made = compressed(name)
    np.testing.assert_array_equal(words.vectors, before)
    assert made.name == name
    assert made.decoded.shape == (1500, 40)
    assert made.decoded.dtype == np.float32
    assert np.isfinite(made.decoded).all()
    assert made.fit_seconds >= 0
    assert made.encode_seconds >= 0
    assert all(isinstance(value, float) for value in made.info.values())
    labels = set()
    for scoring in made.scorings:
        space = made.space(scoring)
        assert len(space) == 1500
        assert space.words == words.index_to_key
        assert np.isfinite(space.rows).all()
        assert np.linalg.norm(space.rows, axis=1).max() < 1 + 1e-5
        assert space.is_symmetric == (scoring != "asymmetric")
        labels.add(space.name)
    assert len(labels) == len(made.scorings)


@pytest.mark.parametrize("name", MADE)
def test_equal_bytes(name, compressed):
    made = compressed(name)
    factors = 8 if name in WITH_FACTORS else 0
    expected = 160 if name in NOT_CUT else 5 + factors
    if name == "pruned":  # whole entries of 3 bytes, as many as fit
        assert 5 - 3 / 1500 < made.bytes_per_vector <= 5
    else:
        assert made.bytes_per_vector == expected
    assert made.code_bytes == round(1500 * made.bytes_per_vector)
    assert made.total_bytes == made.code_bytes + made.overhead_bytes
    assert (made.overhead_bytes == 0) == (name == "float")


@pytest.mark.parametrize("name", MADE)
def test_same_seed_same_result_and_another_seed_if_randomized(name, words, compressed):
    spec = METHODS[name]
    first = compressed(name)
    np.testing.assert_array_equal(first.decoded, spec.make(words, 40, 0).decoded)
    other = spec.make(words, 40, 1)
    assert np.array_equal(first.decoded, other.decoded) != spec.randomized


@pytest.mark.parametrize("name", MADE)
def test_decoded_rows_are_near_the_vectors(name, words, compressed):
    # whatever was stored points the way of the vector, after the mean is taken from both
    decoded = compressed(name).decoded
    centred = [unit_rows(rows - rows.mean(axis=0)) for rows in (decoded, words.vectors)]
    assert (centred[0] * centred[1]).sum(axis=1).mean() > 0.2


def test_codes_are_those_of_the_quantizer(words, compressed):
    small = CompressedVectors.compress(words, IIQ(40, random_state=0))
    made = compressed("iiq")
    signs = unpack_signs(small.codes, 40) / np.float32(np.sqrt(40))
    np.testing.assert_array_equal(made.space("hamming").rows, signs)
    np.testing.assert_array_equal(made.decoded, small.encoder.decode(small.codes))
    assert made.overhead_bytes == small.encoder.nbytes
    asking = space_of(small, scoring="asymmetric", floats=words)
    np.testing.assert_array_equal(made.space("asymmetric").queries, asking.queries)


def test_faiss_itq_encodes_as_faiss_does(words, compressed):
    import faiss

    transform = faiss.ITQTransform(40, 40, True)
    transform.itq.seed = 0
    transform.train(words.vectors)
    scores = transform.apply(words.vectors)
    signs = compressed("faiss-itq").space("hamming").rows > 0
    differing = signs != (scores >= 0)
    assert np.abs(scores[differing]).max(initial=0) < 1e-5


def test_the_dominant_direction_is_removed(words, compressed):
    assert compressed("float-abtt").info["n_removed"] == 1
    assert compressed("iiq").info["n_removed"] == 1
    assert compressed("iiq-d0").info["n_removed"] == 0
    assert compressed("iiq-1").info["n_rotations"] == 1
    rows = compressed("float-abtt").decoded
    strongest = np.linalg.svd(words.vectors - words.vectors.mean(axis=0))[2][0]
    assert np.abs(rows @ strongest).max() < 0.5
    assert np.abs(rows.mean(axis=0)).max() < 1e-3


def test_pruning_keeps_the_largest_entries(words, compressed):
    made = compressed("pruned")
    kept = made.decoded != 0
    assert kept.mean() == pytest.approx(made.info["density"])
    sizes = np.abs(words.vectors)
    assert sizes[kept].min() >= sizes[~kept].max()
    np.testing.assert_allclose(made.decoded[kept], words.vectors[kept], rtol=1e-3)


def test_optimized_product_quantization_is_nearer(words, compressed):
    unit = unit_rows(words.vectors)
    plain, turned = (
        (unit_rows(compressed(name).decoded) * unit).sum(axis=1).mean() for name in ("pq", "opq")
    )
    assert turned > plain


@pytest.mark.parametrize("name", ["iiq", "lsh", "lsh-uncentred", "pq", "opq", "rabitq", "eden1"])
@pytest.mark.parametrize("n_bits", [17, 60])
def test_other_numbers_of_bits(name, n_bits, words):
    made = METHODS[name].make(words, n_bits, 0)
    factors = 8 if name in WITH_FACTORS else 0
    assert made.bytes_per_vector == -(-n_bits // 8) + factors
    assert made.decoded.shape == (1500, 40)


def test_spaces_go_into_the_tasks(words, compressed):
    keys = [words.index_to_key[i] for i in range(400)]
    pairs = list(zip(keys[:200], keys[200:], strict=True))
    cleaned = compressed("float-abtt").space("float")
    gold = SimilarityPairs("made", pairs, (cleaned.rows[:200] * cleaned.rows[200:400]).sum(axis=1))
    for name in ("float-abtt", "iiq", "iiq-1"):
        made = compressed(name)
        for scoring in made.scorings:
            result = evaluate_similarity(made.space(scoring), gold, n_resamples=10)
            assert result.n_covered == 200
            assert result.value > 0.4


@pytest.mark.parametrize("name", ["sign", "sign-mean", "sign-median"])
def test_signs_have_one_bit_per_feature(name, words):
    with pytest.raises(
        ValueError, match=f"{name} makes one bit per feature: n_bits=20 was asked for, 40 is poss"
    ):
        METHODS[name].make(words, 20, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pcasign", r"PCASign\(n_bits=60\) needs at least 60 features"),
        ("itq", r"ITQ\(n_bits=60\) needs at least 60 features"),
        ("faiss-itq", "n_bits=60 exceeds the 40 features"),
        ("iiq-1", r"n_rotations=1\) does not fit n_bits=60"),
    ],
)
def test_more_bits_than_features_are_refused(name, message, words):
    with pytest.raises(ValueError, match=message):
        METHODS[name].make(words, 60, 0)


def test_too_little_is_refused(words):
    few = KeyedVectors(words.index_to_key[:100], words.vectors[:100])
    with pytest.raises(ValueError, match=r"256 centroids for each byte.*; there are 100"):
        METHODS["pq"].make(few, 40, 0)
    with pytest.raises(ValueError, match=r"pruned needs 4 bytes per word.*n_bits=8 are 1"):
        METHODS["pruned"].make(words, 8, 0)
    with pytest.raises(ValueError, match="scoring='hamming'; pq allows: decoded, asymmetric"):
        METHODS["pq"].make(words, 40, 0).space("hamming")
    with pytest.raises(ValueError, match=r"FAISS .* has no Nothing9 index"):
        rotated_index_codes(words.vectors, 40, 0, "Nothing9")


def test_methods_by_name():
    assert [spec.name for spec in find_methods(["iiq", "float"])] == ["iiq", "float"]
    with pytest.raises(ValueError, match="there is no method 'iqq'; allowed: float, float-abtt"):
        find_methods(["float", "iqq"])
    for name, spec in METHODS.items():
        assert spec.name == name
        assert spec.describe
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["iiq"].name = "other"
