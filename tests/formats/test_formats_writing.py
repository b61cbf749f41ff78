"""Files are written whole, in bytes that do not change, and other readers open them."""

import bz2
import gzip
import lzma
import warnings

import numpy as np
import pytest

from embcompress import FormatError, KeyedVectors, load_vectors, save_vectors

TEXT_NAMES = ["v.txt", "v.glove", "v.vec", "v.bin"]


def test_golden_text(tmp_path):
    vectors = KeyedVectors(
        ["a", ". .", "é"],
        [[0.5, -1.0, 0.0], [-0.0, 1e-5, 123456.79], [16777216.0, 0.1, -1.1754944e-38]],
    )
    save_vectors(vectors, tmp_path / "v.txt")
    body = "a 0.5 -1.0 0.0\n. . -0.0 1e-05 123456.79\né 16777216.0 0.1 -1.1754944e-38\n"
    assert (tmp_path / "v.txt").read_text() == body
    save_vectors(vectors, tmp_path / "v.vec")
    assert (tmp_path / "v.vec").read_text() == "3 3\n" + body


def test_golden_binary(tmp_path):
    vectors = KeyedVectors(["a", "é"], [[1.0, -2.0], [0.5, 0.0]])
    save_vectors(vectors, tmp_path / "v.bin")
    assert (tmp_path / "v.bin").read_bytes() == (
        b"2 2\na \x00\x00\x80?\x00\x00\x00\xc0\n\xc3\xa9 \x00\x00\x00?\x00\x00\x00\x00\n"
    )


def test_digits_are_those_of_numpy(tmp_path):
    rng = np.random.default_rng(0)
    values = np.concatenate([
        rng.standard_normal(20_000) * scale for scale in (1e-8, 1e-4, 0.4, 1e3, 1e8)
    ]).astype(np.float32)  # fmt: skip
    matrix = values.reshape(-1, 100)
    save_vectors(KeyedVectors([f"w{i}" for i in range(len(matrix))], matrix), tmp_path / "v.txt")
    tokens = [t for line in (tmp_path / "v.txt").read_text().splitlines() for t in line.split()[1:]]
    expected = [repr(float(str(value))) for value in values]
    assert [len(t) for t in tokens] == [len(t) for t in expected]
    differing = [(a, b) for a, b in zip(tokens, expected, strict=True) if a != b]
    assert len(differing) == 0, differing[:5]


@pytest.mark.parametrize("packing", ["", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("name", TEXT_NAMES)
def test_packed_files_come_back_and_are_reproducible(tmp_path, vectors, name, packing):
    path = tmp_path / (name + packing)
    save_vectors(vectors, path)
    first = path.read_bytes()
    save_vectors(vectors, path)
    assert path.read_bytes() == first
    loaded = load_vectors(path)
    assert loaded.index_to_key[:] == vectors.index_to_key[:]
    assert loaded.vectors.tobytes() == vectors.vectors.tobytes()
    unpack = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
    save_vectors(vectors, tmp_path / name)
    assert unpack[packing](first) == (tmp_path / name).read_bytes()


def test_npz_keeps_counts_and_is_reproducible(tmp_path, vectors):
    path = tmp_path / "v.npz"
    save_vectors(vectors, path)
    first = path.read_bytes()
    save_vectors(vectors, path)
    assert path.read_bytes() == first
    loaded = load_vectors(path)
    np.testing.assert_array_equal(loaded.counts, vectors.counts)
    with np.load(path) as arrays:
        assert arrays["words"].tolist() == vectors.index_to_key[:]
        assert arrays["vectors"].tobytes() == vectors.vectors.tobytes()


@pytest.mark.parametrize(
    ("word", "name", "match"),
    [
        ("a\nb", "v.txt", r"word 1, 'a\\nb', holds a line break, which glove cannot"),
        (" a", "v.vec", r"word 1, ' a', begins or ends with a space, which word2vec cannot"),
        ("a 0.5", "v.txt", r"word 1, 'a 0.5', ends in a part that reads as a value"),
        ("", "v.txt", r"word 1, '', is empty"),
        ("a b", "v.bin", r"word 1, 'a b', holds a space, which word2vec-bin cannot represent"),
        ("\na", "v.bin", r"begins with a line break"),
        ("a\0", "v.npz", r"ends in a zero character, which npz cannot represent"),
    ],
)
def test_words_that_a_format_cannot_hold(tmp_path, word, name, match):
    path = tmp_path / name
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=match):
        save_vectors(KeyedVectors(["good", word], np.ones((2, 2))), path)
    assert path.read_bytes() == b"before"


def test_formats_and_endings(tmp_path, vectors):
    with pytest.raises(ValueError, match=r"ending '.csv' does not tell the format.*\.txt.*glove"):
        save_vectors(vectors, tmp_path / "v.csv")
    with pytest.raises(ValueError, match=r"format='csv' is not one of glove, word2vec"):
        save_vectors(vectors, tmp_path / "v.txt", format="csv")
    with pytest.raises(ValueError, match=r"npz files are not packed; leave .gz out"):
        save_vectors(vectors, tmp_path / "v.npz.gz")
    with pytest.raises(ValueError, match="no vectors"):
        save_vectors(KeyedVectors([], np.ones((0, 2))), tmp_path / "v.txt")
    with pytest.raises(FileNotFoundError):
        save_vectors(vectors, tmp_path / "missing" / "v.txt")
    save_vectors(vectors, tmp_path / "v.csv", format="word2vec")
    assert load_vectors(tmp_path / "v.csv").source.format == "word2vec"


def test_vectors_that_are_a_view_or_read_only(tmp_path, vectors):
    matrix = np.asfortranarray(vectors.vectors)
    matrix.flags.writeable = False
    save_vectors(KeyedVectors(vectors.index_to_key, matrix), tmp_path / "v.txt")
    assert load_vectors(tmp_path / "v.txt").vectors.tobytes() == vectors.vectors.tobytes()


def test_many_rows_and_numbers_left_to_python(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((20_000, 30)).astype(np.float32)
    matrix[::1000, 7] = 1e-30
    matrix[5000, 29] = 3e38
    words = [f"w{i}" for i in range(len(matrix))]
    save_vectors(KeyedVectors(words, matrix), tmp_path / "v.txt")
    loaded = load_vectors(tmp_path / "v.txt")
    assert list(loaded.index_to_key) == words
    assert loaded.vectors.tobytes() == matrix.tobytes()


@pytest.fixture
def gensim_vectors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("gensim.models", reason="gensim is not installed").KeyedVectors


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("v.txt", {"no_header": True}),
        ("v.txt.gz", {"no_header": True}),
        ("v.vec", {}),
        ("v.bin", {"binary": True}),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # gensim leaves the file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_gensim_reads_what_we_write(tmp_path, vectors, gensim_vectors, name, options):
    path = tmp_path / name
    save_vectors(vectors, path)
    loaded = gensim_vectors.load_word2vec_format(str(path), **options)
    assert loaded.index_to_key == vectors.index_to_key[:]
    assert loaded.vectors.tobytes() == vectors.vectors.tobytes()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_we_read_what_gensim_writes(tmp_path, vectors, gensim_vectors, binary, ending):
    theirs = gensim_vectors(vectors.vector_size)
    theirs.add_vectors(vectors.index_to_key[:], vectors.vectors)
    path = tmp_path / ("theirs" + ending)
    theirs.save_word2vec_format(str(path), binary=binary)
    loaded = load_vectors(path)
    assert loaded.index_to_key[:] == vectors.index_to_key[:]
    assert loaded.vectors.tobytes() == vectors.vectors.tobytes()


def test_gensim_files_both_ways(tmp_path, vectors, gensim_vectors):
    path = tmp_path / "v.kv"
    save_vectors(vectors, path)
    assert [p.name for p in tmp_path.iterdir()] == ["v.kv"]
    theirs = gensim_vectors.load(str(path))
    assert theirs.index_to_key == vectors.index_to_key[:]
    assert theirs.vectors.tobytes() == vectors.vectors.tobytes()
    assert theirs.get_vecattr("café", "count") == vectors.counts[1]
    assert theirs.most_similar("the", topn=1)
    with pytest.raises(FormatError, match=r"Python pickle.*format=\"gensim\""):
        load_vectors(path)
    loaded = load_vectors(path, format="gensim", limit=5)
    assert loaded.index_to_key[:] == vectors.index_to_key[:5]
    assert loaded.vectors.tobytes() == vectors.vectors[:5].tobytes()
    np.testing.assert_array_equal(loaded.counts, vectors.counts[:5])
    assert loaded.source.format == "gensim"


def test_gensim_large_matrix_in_a_second_file(tmp_path, gensim_vectors):
    theirs = gensim_vectors(100)
    matrix = np.random.default_rng(0).standard_normal((30_000, 100)).astype(np.float32)
    theirs.add_vectors([f"w{i}" for i in range(len(matrix))], matrix)
    theirs.save(str(tmp_path / "large.kv"), sep_limit=1000)
    assert len(list(tmp_path.iterdir())) > 1
    loaded = load_vectors(tmp_path / "large.kv", format="gensim")
    assert loaded.vectors.tobytes() == matrix.tobytes()


def test_gensim_damaged_file(tmp_path, vectors, gensim_vectors):
    path = tmp_path / "v.kv"
    save_vectors(vectors, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="not a file that gensim can read"):
        load_vectors(path, format="gensim")
