"""Every value equals np.float32(float(text)), bit for bit, and is written so that it comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcompress import KeyedVectors, load_vectors, save_vectors


def read_numbers(tokens: list[str], path) -> np.ndarray:
    """Read tokens as the numbers of rows of one, two or more values, at every place of a line."""
    d = 3
    padded = tokens + ["0"] * (-len(tokens) % d)
    lines = [" ".join([f"w{i}", *padded[i : i + d]]) for i in range(0, len(padded), d)]
    path.write_text("".join(line + "\n" for line in ["first 1 1 1", *lines]))
    loaded = load_vectors(path, n_threads=1)
    return loaded.vectors[1:].reshape(-1)[: len(tokens)]


def expected_numbers(tokens: list[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([np.float32(float(token)) for token in tokens])


def assert_exact(tokens: list[str], path) -> None:
    found, expected = read_numbers(tokens, path), expected_numbers(tokens)
    wrong = np.flatnonzero(found.view(np.uint32) != expected.view(np.uint32))
    assert not len(wrong), [(tokens[i], found[i], expected[i]) for i in wrong[:5]]


SHAPES = [
    "0", "-0", "+0", "0.0", "-0.0", "1", "-1", "+1", "+0.5", ".5", "-.5", "5.", "-5.", "00.5",
    "1e5", "1E5", "1e+5", "1e-05", "-1.5e-05", "+1.5E+05", "0e0", "0e99999", "-0e-99999", ".5e1",
    "5.e1", "123456789", "0.123456789", "0.1234567890123456789", "12345678901234567890.5",
    "0.00000000000000000000001234", "1e22", "1e-22", "1e23", "1e-23", "1e38", "3.4028235e38",
    "3.4028234e38", "1e-38", "1.1754944e-38", "1.4e-45", "7e-46", "1e-400", "1e-99999999999",
    "9007199254740993", "9007199254740992.5", "0.9007199254740993", "16777217", "16777219",
    "0.100000001490116119384765625", "1.00000005960464477539", "1.000000059604644775390625",
    "1.0000000596046447753906250000000001", "1.00000017881393432617187499", "1." + "0" * 60 + "1",
    "0." + "0" * 60 + "1", "1" + "0" * 30, "100000000000000000000000000000000.0e-30",
    "-9.9999999", "9.99999999999", "0.99999999999999", "8.5899345920", "1.0000000000001",
]  # fmt: skip


def test_shapes_of_numbers(tmp_path):
    assert_exact(SHAPES, tmp_path / "numbers.txt")


@pytest.mark.parametrize("form", ["%.5g", "%.6f", "%.9g", "%.17g", "%.18e", "%.3e", "%d.", "%.1f"])
@pytest.mark.parametrize("scale", [1e-6, 0.01, 0.4, 30.0, 1e6])
def test_formats_of_numbers(tmp_path, form, scale):
    values = np.random.default_rng(0).standard_normal(3000) * scale
    assert_exact([form % value for value in values], tmp_path / "numbers.txt")


def test_values_half_way_between_two_float32(tmp_path):
    floats = np.random.default_rng(1).standard_normal(500).astype(np.float32)
    middle = (floats.astype(np.float64) + np.nextafter(floats, np.float32(9))) / 2
    tokens = [f"{value:.{digits}f}" for value in middle for digits in (15, 17, 19, 22, 30)]
    tokens += [repr(float(np.nextafter(value, 9))) for value in middle.tolist()]
    assert_exact(tokens, tmp_path / "numbers.txt")


DECIMALS = st.from_regex(
    r"[+-]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-9]{1,2})?", fullmatch=True
).filter(lambda token: token.isascii() and np.isfinite(expected_numbers([token])[0]))


@settings(max_examples=80, deadline=None)
@given(st.lists(DECIMALS, min_size=1, max_size=30))
def test_any_decimal(tmp_path_factory, tokens):
    assert_exact(tokens, tmp_path_factory.getbasetemp() / "decimals.txt")


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=80, deadline=None)
@given(st.lists(FLOATS, min_size=2, max_size=40))
def test_written_numbers_come_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "back.txt"
    matrix = np.array(values, dtype=np.float32)[:, None]
    matrix = np.hstack([matrix, matrix[::-1]])
    save_vectors(KeyedVectors([f"w{i}" for i in range(len(matrix))], matrix), path)
    assert load_vectors(path).vectors.tobytes() == matrix.tobytes()


@settings(max_examples=80, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_written_numbers_are_shortest(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "short.txt"
    matrix = np.array(values, dtype=np.float32)[:, None]
    save_vectors(KeyedVectors([f"w{i}" for i in range(len(matrix))], matrix), path)
    for line, value in zip(path.read_text().splitlines(), matrix[:, 0], strict=True):
        token = line.split(" ")[1]
        assert n_digits(token) <= n_digits(str(value)), (token, str(value))


def n_digits(token: str) -> int:
    mantissa = token.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    return len(mantissa)


def test_all_bits_of_float32_sampled(tmp_path):
    bits = np.random.default_rng(2).integers(0, 2**32, size=200_000, dtype=np.uint32)
    values = bits.view(np.float32)
    matrix = values[np.isfinite(values)][:190_000].reshape(-1, 10)
    words = [f"w{i}" for i in range(len(matrix))]
    save_vectors(KeyedVectors(words, matrix), tmp_path / "bits.vec")
    loaded = load_vectors(tmp_path / "bits.vec")
    assert loaded.vectors.tobytes() == matrix.tobytes()
