"""Codes with two bits per direction: their definition, their scores, their file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import run_here
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embcompress import IIQ, CompressedVectors, FormatError
from embcompress.codes import asymmetric_scores, unpack_bits, unpack_signs
from embcompress.encoder import Encoder, cut_scores
from embcompress.evaluation import space_of
from embcompress.quality import neighbour_recalls

# n_bits for 12 directions: one bit each, some second bits, all second bits
WIDTHS = (12, 13, 19, 24)


def encoder_of(n_bits: int, n_directions: int = 12) -> Encoder:
    """An encoder that takes rows for scores."""
    n_levels = 2 if n_bits == n_directions else 4
    return Encoder(
        n_bits=n_bits,
        mean=np.zeros(n_directions),
        projection=None,
        thresholds=np.zeros(n_directions),
        levels=np.tile(np.linspace(-1.5, 1.5, n_levels)[:, None], n_directions),
    )


def numbers_by_definition(scores, n_second):
    """The whole number of each score, one at a time, as the docstring of Encoder says."""
    out = np.empty(scores.shape)
    for i, row in enumerate(scores):
        size = np.sqrt(np.mean(row**2))
        for j, score in enumerate(row):
            sign = 1 if score >= 0 else -1
            if not n_second:
                out[i, j] = sign
            elif j >= n_second:
                out[i, j] = 2 * sign
            else:
                out[i, j] = sign * (3 if abs(score) >= size else 1)
    return out


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def small(sample) -> CompressedVectors:
    return CompressedVectors.compress(sample, IIQ(99, bits_per_direction=2, random_state=0))


@pytest.mark.parametrize("n_bits", WIDTHS)
def test_numbers_are_those_of_the_definition(n_bits, scores):
    encoder = encoder_of(n_bits)
    codes = encoder.encode(scores)
    values = encoder.values(codes)
    np.testing.assert_array_equal(values, numbers_by_definition(scores, encoder.n_second))
    np.testing.assert_allclose(encoder.value_lengths(codes), np.linalg.norm(values, axis=1))
    # first bits come first, and are signs
    np.testing.assert_array_equal(unpack_bits(codes, n_bits)[:, :12], scores >= 0)


def test_bytes_are_golden():
    scores = [[3.0, -3, 0.5, -0.5], [0, 0, 0, 0]]
    # first bits 1010 and 1111; second bits 10 01 of large and small ones, and 1111
    np.testing.assert_array_equal(cut_scores(np.array(scores), 4), [[0b10101001], [0b11111111]])


@pytest.mark.parametrize("n_bits", WIDTHS)
@given(
    rows=hnp.arrays(np.float64, (5, 12), elements=st.floats(-1e3, 1e3)),
    factor=st.floats(1e-3, 1e3),
)
def test_a_factor_changes_nothing_and_numbers_keep_their_code(n_bits, rows, factor):
    encoder = encoder_of(n_bits)
    codes = encoder.cut(rows)
    # where no score is at the edge, to rounding
    size = np.sqrt((rows**2).mean(axis=1, keepdims=True))
    clear = ((np.abs(np.abs(rows) - size) > 1e-9 * size) & (np.abs(rows) > 1e-9)).all(axis=1)
    np.testing.assert_array_equal(encoder.cut(rows * factor)[clear], codes[clear])
    # numbers that are all 1 are, as a direction, those that are all 3
    values = encoder.values(codes)
    again = encoder.values(encoder.cut(values))
    cosines = (values * again).sum(axis=1) / (
        np.linalg.norm(values, axis=1) * np.linalg.norm(again, axis=1)
    )
    if encoder.n_second in (0, 12):
        np.testing.assert_allclose(cosines, 1, rtol=1e-6)


@pytest.mark.parametrize("n_bits", WIDTHS)
def test_sums_over_numbers_are_sums_over_bits(n_bits, scores):
    encoder = encoder_of(n_bits)
    codes = encoder.encode(scores)
    queries = scores[:20]
    wanted = queries @ encoder.values(codes).T
    per_bit = encoder.per_bit(queries)
    np.testing.assert_allclose(per_bit @ unpack_signs(codes, n_bits).T, wanted, atol=1e-4)
    np.testing.assert_allclose(asymmetric_scores(per_bit, codes, n_bits), wanted, atol=1e-4)


def test_levels_are_the_mean_scores_behind_each_number(sample):
    quantizer = IIQ(51, bits_per_direction=2, random_state=0).fit(sample.vectors)
    encoder = quantizer.encoder_
    assert (encoder.n_directions, encoder.n_second) == (26, 25)
    assert encoder.levels.shape == (4, 26)
    codes = quantizer.transform(sample.vectors)
    scores, values = quantizer.project(sample.vectors), encoder.values(codes)
    for row, value in enumerate((-3, -1, 1, 3)):
        means = [scores[values[:, j] == value, j].mean() for j in range(25)]
        np.testing.assert_allclose(encoder.levels[row, :25], means, atol=1e-5)
    assert (np.diff(encoder.levels[:, :25], axis=0) > 0).all()
    # the last direction has signs only
    assert encoder.levels[0, 25] == encoder.levels[1, 25] < encoder.levels[2, 25]
    assert encoder.levels[2, 25] == encoder.levels[3, 25]
    decoded = encoder.decode_scores(codes)
    for j in (0, 25):
        assert len(np.unique(decoded[:, j])) == (4 if j < 25 else 2)


def test_a_number_without_rows_gets_the_mean_of_its_side():
    rows = np.array([[1.0, 1, -1, 1], [1, -1, 1, -1], [-1, 1, 1, 1]])
    encoder = IIQ(8, bits_per_direction=2, n_remove=0, random_state=0).fit(rows).encoder_
    assert np.isfinite(encoder.levels).all()
    assert np.isfinite(encoder.decode(encoder.encode(rows))).all()


@pytest.mark.parametrize("n_bits", [1, 2, 7, 60, 99, 100, 200, 250])
def test_any_number_of_bits(n_bits, sample):
    rows = sample.vectors[:600]
    quantizer = IIQ(n_bits, bits_per_direction=2, max_iter=3, random_state=0).fit(rows)
    assert quantizer.bits_per_direction_ == 2
    assert quantizer.encoder_.n_directions == -(-n_bits // 2)
    codes = quantizer.transform(rows)
    assert codes.shape == (600, -(-n_bits // 8))
    assert quantizer.inverse_transform(codes).shape == rows.shape
    assert quantizer.project(rows).shape == (600, -(-n_bits // 2))


def test_two_bits_decode_better_than_signs_of_as_many_directions(sample):
    errors = {}
    for n_bits, per_direction in ((50, 1), (100, 2)):
        quantizer = IIQ(n_bits, bits_per_direction=per_direction, max_iter=10, random_state=0)
        decoded = quantizer.inverse_transform(quantizer.fit_transform(sample.vectors))
        errors[per_direction] = np.linalg.norm(sample.vectors - decoded)
    assert errors[2] < 0.97 * errors[1]


@pytest.mark.parametrize(("n_features", "chosen"), [(255, 1), (256, 2)])
def test_automatic_choice(n_features, chosen):
    rows = np.random.default_rng(0).normal(size=(400, n_features))
    quantizer = IIQ(bits_per_direction="auto", max_iter=1, random_state=0).fit(rows)
    assert quantizer.bits_per_direction_ == chosen
    assert quantizer.encoder_.n_bits == n_features


def test_bad_choice(sample):
    with pytest.raises(ValueError, match="'bits_per_direction' parameter of IIQ must be"):
        IIQ(bits_per_direction=3).fit(sample.vectors)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("scoring", ["hamming", "asymmetric"])
def test_neighbours_are_those_of_the_numbers(scoring, small, sample):
    values = unit(small.encoder.values(small.codes).astype(np.float64))
    word, row = "music", small.get_index("music")
    # a word asks with its number; a user's vector with its projection, or the code of that
    vector = sample.vectors[row] + np.float32(0.1)
    asking = small.encoder.project(vector[None, :])
    if scoring == "hamming":
        asking = small.encoder.values(small.encoder.cut(asking))
    for query, terms in ((values[row], word), (unit(asking.astype(np.float64))[0], vector)):
        wanted = values @ query
        found = small.most_similar(positive=[terms], topn=30, scoring=scoring)
        for key, score in found:
            assert score == pytest.approx(wanted[small.get_index(key)], abs=1e-5)
        if isinstance(terms, str):
            wanted[row] = -np.inf
        assert found[-1][1] >= np.sort(wanted)[-30] - 1e-5
    first, second = values[[row, small.get_index("jazz")]]
    assert small.similarity("music", "jazz") == pytest.approx(first @ second)


def test_spaces_of_the_evaluation_agree(small, sample):
    hamming = space_of(small)
    assert hamming.compares_codes
    assert hamming.is_symmetric
    found = dict(small.most_similar("king", topn=20))
    scores = hamming.scores(hamming.find(["king"]))[0]
    for word, score in found.items():
        assert scores[hamming.find([word])[0]] == pytest.approx(score, abs=1e-5)
    a, b, c = hamming.queries[hamming.find(["man", "king", "woman"])]
    assert hamming.cut is not None
    combined = hamming.rows @ hamming.cut((b - a + c)[None, :])[0]
    answers = small.most_similar(positive=["king", "woman"], negative=["man"], topn=5)
    for word, score in answers:
        assert combined[hamming.find([word])[0]] == pytest.approx(score, abs=1e-5)
    recalls = neighbour_recalls(sample, small, n_queries=100)
    assert 0.3 < recalls["hamming"] < recalls["asymmetric"] < 1


def test_file(small, tmp_path, sample):
    path = tmp_path / "small.safetensors"
    small.save(path)
    loaded = CompressedVectors.load(path)
    assert (loaded.n_bits, loaded.encoder.n_directions) == (99, 50)
    np.testing.assert_array_equal(loaded.codes, small.codes)
    rows = sample.vectors[:100]
    np.testing.assert_array_equal(loaded.encoder.encode(rows), small.encoder.encode(rows))
    assert loaded.most_similar("king") == small.most_similar("king")


@pytest.mark.parametrize(
    ("n_directions", "message"),
    [
        ("49", "n_directions=49 with n_bits=99; each direction has one bit or two"),
        ("99", "n_directions=99 with n_bits=99"),
        ("51", r"shape \(100, 50\), expected \(100, 51\)"),
    ],
)
def test_damaged_file(n_directions, message, small, tmp_path):
    from embcompress.container import load_container, save_container

    path = tmp_path / "small.safetensors"
    small.save(path)
    opened = load_container(path, kind="vectors")
    tensors = {name: np.array(array) for name, array in opened.tensors.items()}
    metadata = {**opened.metadata, "n_directions": n_directions}
    save_container(path, tensors, kind="vectors", metadata=metadata)
    with pytest.raises(FormatError, match=message):
        CompressedVectors.load(path)


def test_no_plain_hamming_index(small):
    with pytest.raises(ValueError, match="two bits per direction, which plain Hamming"):
        _ = small.index


def test_command_line(tmp_path, sample_path):
    out = tmp_path / "small.safetensors"
    given = ("compress", sample_path, "-o", out, "--bits-per-direction", 2, "--limit", 500)
    done = run_here(*given, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["bits"], summary["directions"]) == (100, 50)
    assert "100 bits, IIQ, 2 for each of 50 directions" in run_here("info", out).stdout
    exported = run_here("export", out, "--to", "faiss", "-o", tmp_path / "x.faiss")
    assert exported.returncode == 2
    assert "--bits-per-direction 1" in exported.stderr
    assert not (tmp_path / "x.faiss").exists()
    refused = run_here(*given, "--quantizer", "itq")
    assert refused.returncode == 2
    assert "--bits-per-direction 2 is for iiq; itq makes signs" in refused.stderr


@given(n_directions=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_lengths_of_any_shape(n_directions, share, seed):
    n_bits = n_directions + round(share * n_directions)
    encoder = encoder_of(n_bits, n_directions)
    codes = encoder.cut(np.random.default_rng(seed).normal(size=(9, n_directions)))
    lengths = np.linalg.norm(encoder.values(codes), axis=1)
    np.testing.assert_allclose(encoder.value_lengths(codes), lengths, rtol=1e-6)
