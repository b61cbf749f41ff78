"""Every format in every packing gives the words and the bits that the obvious reader gives."""

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_files import assert_same, make_text, oracle, pack, write_packed

from embcompress import KeyedVectors, load_vectors, save_vectors
from embcompress.formats import open_vectors

PACKINGS = ["plain", "gz", "bz2", "xz", "zip"]


def load_bytes(tmp_path, data: bytes, **options) -> KeyedVectors:
    path = tmp_path / "file"
    path.write_bytes(data)
    return load_vectors(path, **options)


def binary_of(text: bytes, d: int, newline: bytes = b"\n") -> bytes:
    table = oracle(text, d)
    rows = [
        word.encode() + b" " + row.astype("<f4").tobytes() + newline
        for word, row in table.items()
        if " " not in word
    ]
    return b"%d %d\n" % (len(rows), d) + b"".join(rows)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("packing", PACKINGS)
def test_glove_text(tmp_path, text, packing, n_threads):
    path = write_packed(tmp_path / "file", text, packing)
    loaded = load_vectors(path, n_threads=n_threads)
    assert_same(loaded, oracle(text, 20))
    assert loaded.source.format == "glove"
    assert loaded.source.n_bytes == path.stat().st_size
    assert loaded.source.n_duplicates == loaded.source.n_skipped == 0
    assert loaded.counts is None


@pytest.mark.parametrize("packing", PACKINGS)
def test_word2vec_text(tmp_path, text, packing):
    loaded = load_vectors(write_packed(tmp_path / "file", b"300 20\n" + text, packing))
    assert_same(loaded, oracle(text, 20))
    assert loaded.source.format == "word2vec"


@pytest.mark.parametrize("newline", [b"\n", b""])
@pytest.mark.parametrize("packing", PACKINGS)
def test_word2vec_binary(tmp_path, text, packing, newline):
    path = write_packed(tmp_path / "file", binary_of(text, 20, newline), packing)
    expected = {word: row for word, row in oracle(text, 20).items() if " " not in word}
    loaded = load_vectors(path)
    assert_same(loaded, expected)
    assert loaded.source.format == "word2vec-bin"


def test_many_rows_over_several_windows_and_threads(tmp_path):
    text = make_text(40_000, 25)
    path = tmp_path / "large.txt"
    path.write_bytes(text)
    expected = oracle(text, 25)
    for n_threads in (1, 2):
        assert_same(load_vectors(path, n_threads=n_threads), expected)
    with open_vectors(path, n_threads=2) as reader:
        chunks = list(reader.chunks(rows=7001))
    assert [len(chunk.words) for chunk in chunks] == [7001] * 5 + [40_000 - 5 * 7001]
    assert [word for chunk in chunks for word in chunk.words] == list(expected)
    joined = np.concatenate([chunk.vectors for chunk in chunks])
    assert joined.tobytes() == np.array(list(expected.values())).tobytes()
    assert_same(load_vectors(write_packed(tmp_path / "z", text, "gz"), n_threads=2), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace(b"\n", b"\r\n"), None),
        (lambda t: t.replace(b"\n", b" \n"), None),
        (lambda t: t.replace(b"\n", b" \t \r\n"), None),
        (lambda t: t[:-1], None),
        (lambda t: t + b"\n\n  \n\r\n", None),
        (lambda t: b"\xef\xbb\xbf" + t, None),
        (lambda t: t.replace(b"\n", b"\n\n"), None),
        (lambda t: t.replace(b" ", b"\t"), "tabs"),
        (lambda t: t.replace(b" ", b"  "), "doubled"),
        (lambda t: b"  " + t.replace(b"\n", b"\n \t"), None),
    ],
    ids=["crlf", "trailing", "mixed", "no-newline", "blank-end", "bom", "blank", "tabs", "double",
         "leading"],
)  # fmt: skip
def test_shapes_of_lines(tmp_path, text, change, words):
    expected = oracle(text, 20)
    if words == "tabs":
        expected = {word.replace(" ", "\t"): row for word, row in expected.items()}
    if words == "doubled":
        expected = {word.replace(" ", "  "): row for word, row in expected.items()}
    assert_same(load_bytes(tmp_path, change(text)), expected)
    header = change(b"300 20\n" + text)
    loaded = load_bytes(tmp_path, header)
    assert loaded.source.format == "word2vec"
    assert_same(loaded, expected)


def test_words_that_invite_mistakes(tmp_path):
    words = [". . .", "1 2", "3", "-0.5", '"', '""', "'", "#", "a\u00a0b", "x\u0085y", "\u2028",
             "\u3000", "<unk>", "nan", "a\x0cb", "e", "1e5", "inf", "\ufeff", "a,b"]  # fmt: skip
    rows = [[f"{i}.5", "0.25", "-1e-3"] for i in range(len(words))]
    text = "".join(" ".join([w, *row]) + "\n" for w, row in zip(words, rows, strict=True))
    loaded = load_bytes(tmp_path, text.encode())
    assert loaded.index_to_key[:] == words
    np.testing.assert_array_equal(loaded.vectors, np.array(rows, dtype=np.float32))


@pytest.mark.parametrize("first", ["1 2", "3 4 5", ". . .", "42", "1.5"])
def test_first_word_does_not_fix_the_dimensions(tmp_path, first):
    text = f"{first} 0.1 0.2\ncat 0.3 0.4\ndog 0.5 0.6\n"
    loaded = load_bytes(tmp_path, text.encode())
    assert loaded.vector_size == 2
    assert loaded.index_to_key[:] == [first, "cat", "dog"]


def test_one_dimension_is_not_taken_for_a_header(tmp_path):
    assert load_bytes(tmp_path, b"5 3\ncat 1\ndog 2\n").index_to_key[:] == ["5", "cat", "dog"]
    assert load_bytes(tmp_path, b"2 1\ncat 1\ndog 2\n").index_to_key[:] == ["cat", "dog"]
    loaded = load_bytes(tmp_path, b"2 1\ncat 1\ndog 2\n", format="glove")
    assert loaded.index_to_key[:] == ["2", "cat", "dog"]


def test_first_of_equal_words_counts(tmp_path):
    text = b"a 1 2\nb 3 4\na 5 6\nc 7 8\nb 9 9\nd 1 1\n"
    loaded = load_bytes(tmp_path, text)
    assert loaded.index_to_key[:] == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(loaded.vectors, [[1, 2], [3, 4], [7, 8], [1, 1]])
    assert loaded.source.n_duplicates == 2
    with open_vectors(tmp_path / "file") as reader:
        chunks = [chunk.words[:] for chunk in reader.chunks(rows=2)]
    assert chunks == [["a", "b"], ["c", "d"]]
    assert reader.source.n_duplicates == 2


def test_duplicates_among_many_words(tmp_path):
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in rng.integers(0, 30_000, 100_000)]
    text = "".join(f"{word} {i}.0 1\n" for i, word in enumerate(words))
    first: dict[str, int] = {}
    for i, word in enumerate(words):
        first.setdefault(word, i)
    loaded = load_bytes(tmp_path, text.encode())
    assert list(loaded.index_to_key) == list(first)
    np.testing.assert_array_equal(loaded.vectors[:, 0], list(first.values()))
    assert loaded.source.n_duplicates == len(words) - len(first)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_limit_counts_distinct_words_and_reads_no_further(tmp_path, n_threads):
    text = b"a 1 2\na 3 4\nb 5 6\nc 7 8\nnot a row\n"
    loaded = load_bytes(tmp_path, text, limit=3, n_threads=n_threads)
    assert loaded.index_to_key[:] == ["a", "b", "c"]
    assert loaded.source.n_duplicates == 1
    header = load_bytes(tmp_path, b"9 2\n" + b"a 1 2\nb 1 2\n" * 9, limit=1, n_threads=n_threads)
    assert header.index_to_key[:] == ["a"]


def test_limit_larger_than_the_file(tmp_path, text):
    assert len(load_bytes(tmp_path, text, limit=10**9)) == 300
    with open_vectors(tmp_path / "file", limit=250) as reader:
        assert [len(chunk.words) for chunk in reader.chunks(rows=100)] == [100, 100, 50]


def test_skip_bad_drops_and_counts(tmp_path):
    text = b"a 1 2\nb 3\nc 1 x\nd nan 1\ne 1 2 0.5 3 4\n\xff 1 2\nf 1e999 2\n 7 7\ng 5 6\n"
    loaded = load_bytes(tmp_path, text, skip_bad=True)
    assert loaded.index_to_key[:] == ["a", "g"]
    np.testing.assert_array_equal(loaded.vectors, [[1, 2], [5, 6]])
    assert loaded.source.n_skipped == 7


def test_policies_for_words_that_are_not_utf8(tmp_path):
    text = b"a\xff 1 2\na\xfe 3 4\nb\xc3 5 6\n\xa9c 7 8\n"
    replaced = load_bytes(tmp_path, text, errors="replace")
    assert replaced.index_to_key[:] == ["a\ufffd", "b\ufffd", "\ufffdc"]
    assert replaced.source.n_duplicates == 1
    ignored = load_bytes(tmp_path, text, errors="ignore")
    assert ignored.index_to_key[:] == ["a", "b", "c"]


def test_numpy_archive(tmp_path, vectors):
    path = tmp_path / "v.npz"
    for words in (np.array(vectors.index_to_key[:]),
                  np.array([word.encode() for word in vectors.index_to_key])):  # fmt: skip
        for keys in (("words", "vectors"), ("vocab", "embeddings"), ("tokens", "vectors")):
            half = vectors.vectors.astype(np.float16)
            np.savez_compressed(path, **{keys[0]: words, keys[1]: half})
            loaded = load_vectors(path)
            assert loaded.index_to_key[:] == vectors.index_to_key[:]
            np.testing.assert_array_equal(loaded.vectors, half.astype(np.float32))
            assert loaded.counts is None
    fortran = np.asfortranarray(vectors.vectors)
    np.savez(path, index_to_key=words, vectors=fortran, counts=np.arange(7, dtype=np.int32))
    loaded = load_vectors(path, limit=4)
    np.testing.assert_array_equal(loaded.vectors, fortran[:4])
    np.testing.assert_array_equal(loaded.counts, np.arange(4))
    assert loaded.source.format == "npz"


def test_numpy_array_with_words_beside_it(tmp_path, vectors):
    path = tmp_path / "v.npy"
    np.save(path, vectors.vectors.astype(np.float64))
    listed = "\r\n".join(vectors.index_to_key) + "\n\n"
    (tmp_path / "v.txt").write_bytes(listed.encode())
    loaded = load_vectors(path)
    assert loaded.index_to_key[:] == vectors.index_to_key[:]
    assert loaded.vectors.tobytes() == vectors.vectors.tobytes()
    assert loaded.source.format == "npy"
    (tmp_path / "v.txt").rename(tmp_path / "elsewhere")
    loaded = load_vectors(path, vocabulary=tmp_path / "elsewhere")
    assert loaded.index_to_key[:] == vectors.index_to_key[:]


def test_member_of_a_zip_file(tmp_path, text):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.md", "# Word vectors\n\nThese are vectors.\n")
        archive.writestr("__MACOSX/._a.txt", "a 1 2\n")
        archive.writestr("a.txt", text)
    assert len(load_vectors(path)) == 300
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.txt", "cat 1 2\n")
    loaded = load_vectors(path, member="b.txt")
    assert loaded.index_to_key[:] == ["cat"]
    assert loaded.source.path == "all.zip:b.txt"


def test_several_gzip_streams_are_one_file(tmp_path, text):
    cut = text.index(b"\n", 2000) - 7
    for packing in ("gz", "bz2", "xz"):
        data = pack(text[:cut], packing) + pack(text[cut:], packing)
        assert_same(load_bytes(tmp_path, data), oracle(text, 20))
    data = pack(text, "gz") + b"\0" * 100
    assert_same(load_bytes(tmp_path, data), oracle(text, 20))


def test_progress_is_silent_without_a_terminal(tmp_path, text, capfd):
    assert len(load_bytes(tmp_path, pack(text, "gz"), progress=True)) == 300
    assert capfd.readouterr() == ("", "")


def test_reader_says_what_it_found(tmp_path, text):
    path = tmp_path / "file"
    path.write_bytes(b"300 20\n" + text)
    with open_vectors(path) as reader:
        assert (reader.format, reader.n_features, reader.n_rows) == ("word2vec", 20, 300)
        assert sum(len(chunk.words) for chunk in reader.chunks()) == 300
        with pytest.raises(ValueError, match="already read"):
            next(reader.chunks())
    path.write_bytes(text)
    with open_vectors(path) as reader:
        assert reader.n_rows is None
        with pytest.raises(ValueError, match="rows=0 must be"):
            next(reader.chunks(rows=0))


def test_bin_of_any_values_is_recognized(tmp_path):
    for d in (1, 2, 3):
        for value in (0.2, 1e-3, 123.456):
            rows = b"".join(b"w%d " % i + struct.pack(f"<{d}f", *[value] * d) for i in range(3))
            loaded = load_bytes(tmp_path, b"3 %d\n" % d + rows)
            assert loaded.source.format == "word2vec-bin"
            assert loaded.vectors.tolist() == [[float(np.float32(value))] * d] * 3


WORD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=8
).filter(lambda word: word.strip(" \t\r") == word)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(WORD, min_size=1, max_size=30, unique=True),
    st.integers(1, 4),
    st.sampled_from(["glove", "word2vec", "word2vec-bin", "npz"]),
    st.randoms(use_true_random=False),
)
def test_anything_that_can_be_saved_comes_back(tmp_path_factory, words, d, form, random):
    bits = np.array([random.getrandbits(32) for _ in range(len(words) * d)], dtype=np.uint32)
    matrix = np.nan_to_num(bits.view(np.float32), nan=0.25, posinf=-1, neginf=1e-5)
    vectors = KeyedVectors(words, matrix.reshape(-1, d))
    path = tmp_path_factory.getbasetemp() / "any"
    try:
        save_vectors(vectors, path, format=form)
    except ValueError as error:
        assert "cannot represent" in str(error)  # noqa: PT017
        return
    loaded = load_vectors(path, format=form)
    assert loaded.index_to_key[:] == words
    assert loaded.vectors.tobytes() == vectors.vectors.tobytes()


@pytest.mark.real_data
@pytest.mark.skipif("EMBCOMPRESS_DATA" not in os.environ, reason="EMBCOMPRESS_DATA is not set")
@pytest.mark.parametrize(
    ("name", "n", "d"),
    [
        ("enwiki_glove100_40k.txt.gz", 40_001, 100),
        ("enwiki_glove300_40k.npz", 40_000, 300),
        ("enwiki_sgns300_50k.npz", 50_000, 300),
        ("glove.6B.100d.head2604.txt", 2_604, 100),
        ("glove.6B.50d.head9163.txt", 9_163, 50),
    ],
)
def test_real_files(name, n, d):
    path = Path(os.environ["EMBCOMPRESS_DATA"], "embeddings", name)
    loaded = load_vectors(path)
    assert loaded.vectors.shape == (n, d)
    if name.endswith(".npz"):
        with np.load(path) as arrays:
            assert loaded.index_to_key[:] == arrays["words"].tolist()
            np.testing.assert_array_equal(loaded.vectors, arrays["vectors"].astype(np.float32))
            np.testing.assert_array_equal(loaded.counts, arrays["counts"])
    elif name.endswith(".txt"):
        assert_same(loaded, oracle(path.read_bytes(), d))
    else:
        assert loaded.index_to_key[-1] == "<unk>"
