"""Messages name the file, the line, what was found, and what to do."""

import struct
import zipfile

import numpy as np
import pytest
from vector_files import make_text, pack

from embcompress import FormatError, load_vectors
from embcompress.formats import open_vectors

GOOD = b"cat 1 2 3\ndog 4 5 6\ncow 7 8 9\n"


def refuse(tmp_path, data: bytes, match: str, **options) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(data)
    for n_threads in (1, 2):
        with pytest.raises(FormatError, match=match) as caught:
            load_vectors(path, n_threads=n_threads, **options)
        assert str(caught.value).startswith("file.txt")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", r"the file is empty"),
        (b"\n \n", r"only blank lines"),
        (b"hello world\nfoo bar\n", r"not a known format.*'hello world'.*Formats: glove"),
        (b"\x00\x01\x02\x03" * 9, r"not a known format"),
        (GOOD + b"pig 1 2\n", r"line 4 holds 2 numbers, 3 expected: 'pig 1 2'.*skip_bad=True"),
        (GOOD + b"pig 1 2 3 4\n", r"line 4 holds more than 3 numbers: 'pig 1 2 3 4'"),
        (GOOD + b"pig 0.5 1 2 3\n", r"line 4 holds more than 3 numbers: 'pig 0.5 1 2 3'"),
        (GOOD + b"\npig 1 2x 3\n", r"line 5: number 2, '2x', is not a number \(3 expected"),
        (GOOD + b"pig 1 2 3_0\n", r"line 4: number 3, '3_0', is not a number"),
        (GOOD + b"pig nan 2 3\n", r"line 4: number 1, 'nan', is not a finite float32"),
        (GOOD + b"pig 1 -Inf 3\n", r"line 4: number 2, '-Inf', is not a finite"),
        (GOOD + b"pig 1 1e39 3\n", r"line 4: number 2, '1e39', is not a finite"),
        (GOOD + b"pig 1 1e999 3\n", r"line 4: number 2, '1e999', is not a finite"),
        (GOOD + b"pig 1 2 3e\n", r"line 4: number 3, '3e', is not a number"),
        (GOOD + b" 1 2 3\n", r"line 4 holds 3 numbers but no word"),
        (GOOD + b"1 2 3\n", r"line 4 holds 3 numbers but no word before them: '1 2 3'"),
        (GOOD + b"p\xe9g 1 2 3\n", r"line 4: the word .* not valid UTF-8; errors=\"replace\""),
        (b"4 3\n" + GOOD, r"line 1: the header promises 4 rows, the file holds 3"),
        (b"2 3\n" + GOOD, r"line 1: the header promises 2 rows, the file holds 3"),
        (b"3 4\n" + GOOD, r"line 1: the header promises 4 dimensions, but the rows hold 3"),
        (b"3 3\n" + GOOD + b"pig 1 2\n", r"line 5 holds 2 numbers"),
        (b"999999999999 3\n" + GOOD, r"promises 999999999999 rows.*more than a file of 45 bytes"),
        (b"3 3\n", r"holds no rows|promises"),
        (b"0 3\n" + GOOD, r"promises 0 rows"),
        (b"\xff\xfec\x00a\x00", r"UTF-16"),
        (b"PAR1" + b"\0" * 30, r"Parquet"),
        (b"\xba\x16\x4f\x2f" + b"\0" * 30, r"fastText model.*\.vec"),
        (b"\x80\x04\x95" + b"\0" * 30, r"Python pickle.*format=\"gensim\""),
    ],
)
def test_bad_text(tmp_path, data, match):
    refuse(tmp_path, data, match)


def test_long_tokens_are_shortened(tmp_path):
    refuse(tmp_path, GOOD + b"pig 1 2 " + b"x" * 5000, r"'x{40}\.\.\.'")


def test_the_first_bad_line_is_named_whatever_thread_finds_it(tmp_path):
    lines = make_text(40_000, 20).split(b"\n")
    lines[31_000] = b"bad 1 2"
    lines[12_345] = b"\xff " + b"1 " * 19 + b"oops"
    lines[39_000] = b"worse"
    refuse(tmp_path, b"\n".join(lines), "line 12346: number 20, 'oops'")


def binary(n: int = 3, d: int = 2, promised: int | None = None) -> bytes:
    rows = b"".join(b"w%d " % i + struct.pack(f"<{d}f", *[i + 0.1] * d) for i in range(n))
    return b"%d %d\n" % (promised or n, d) + rows


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (binary()[:-1], r"promises 3 rows.* is it complete"),
        (binary(60, 300)[:-1], r"promises 60 rows, the file ends in row 60|promises 60 rows"),
        (binary(60, 300, promised=59), r"more data follows the 59 rows.*limit=59"),
        (binary(3, 2, promised=10**15), r"promises 1000000000000000 rows"),
        (binary(3, 2).replace(struct.pack("<f", 1.1), struct.pack("<f", float("nan"))),
         r"row 2: number 1 is nan"),
        (binary().replace(b"w1", b"\xff"), r"row 2: the word .* not valid UTF-8"),
        (binary().replace(b"w1", b""), r"row 2: the word is empty"),
    ],
)  # fmt: skip
def test_bad_binary(tmp_path, data, match):
    refuse(tmp_path, data, match)


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz"])
def test_truncated_or_damaged_packing(tmp_path, packing):
    whole = pack(make_text(6_000, 20), packing)
    match = r"compressed data is damaged or incomplete.*interrupted"
    refuse(tmp_path, whole[: len(whole) // 2], match)
    refuse(tmp_path, whole[:-3], match)
    refuse(tmp_path, whole[:30], match)
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(64) + whole[middle + 64 :]
    refuse(tmp_path, damaged, r"damaged or incomplete|line|UTF-8")


def zipped(tmp_path, members: dict[str, bytes]):
    path = tmp_path / "file.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_bad_zip_files(tmp_path):
    path = zipped(tmp_path, {"a.txt": GOOD, "b.txt": GOOD})
    with pytest.raises(FormatError, match=r"several files.*member=: a.txt, b.txt"):
        load_vectors(path)
    with pytest.raises(ValueError, match=r"no member 'c.txt'; found: a.txt, b.txt"):
        load_vectors(path, member="c.txt")
    with pytest.raises(FormatError, match=r"no file in this zip file.*found: README"):
        load_vectors(zipped(tmp_path, {"README": b"hello there\n", "x": b""}))
    with pytest.raises(FormatError, match=r"found: none"):
        load_vectors(zipped(tmp_path, {}))
    whole = zipped(tmp_path, {"a.txt": make_text(20_000, 20)}).read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(FormatError, match=r"damaged or incomplete zip file"):
        load_vectors(path)
    middle = 2 * len(whole) // 3
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(FormatError, match=r"damaged or incomplete|line|UTF-8"):
        load_vectors(path)


def test_bad_numpy_files(tmp_path):
    path = tmp_path / "v.npz"
    matrix = np.ones((3, 2), np.float32)
    words = np.array(["a", "b", "c"])

    def refuse_npz(match: str, **arrays) -> None:
        np.savez(path, **arrays)
        with pytest.raises(FormatError, match=match):
            load_vectors(path)

    refuse_npz(r"no array of vectors.*found: words", words=words)
    refuse_npz(r"no array of words.*found: vectors", vectors=matrix)
    refuse_npz(r"3 words, but 2 vectors", words=words, vectors=matrix[:2])
    refuse_npz(r"a matrix \(n, d\)", words=words, vectors=matrix[:, 0])
    refuse_npz(r"text \(n,\) is needed", words=np.arange(3), vectors=matrix)
    refuse_npz(r"counts are float64", words=words, vectors=matrix, counts=np.ones(3))
    refuse_npz(r"Python objects.*safety", words=words.astype(object), vectors=matrix)
    refuse_npz(r"row 2: number 1 is inf", words=words, vectors=matrix * [[1], [np.inf], [1]])
    refuse_npz(r"row 3: the word is empty", words=np.array(["a", "b", ""]), vectors=matrix)
    npy = tmp_path / "w.npy"
    np.save(npy, matrix)
    with pytest.raises(FormatError, match=r"holds no words.*vocabulary=.*w.txt or w.vocab"):
        load_vectors(npy)
    (tmp_path / "w.vocab").write_text("a\nb\n")
    with pytest.raises(FormatError, match=r"3 rows, but w.vocab holds 2 words"):
        load_vectors(npy)
    npy.write_bytes(npy.read_bytes()[:-3])
    with pytest.raises(FormatError, match=r"damaged or unsafe .npy"):
        load_vectors(npy)


def test_bad_paths_and_options(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_vectors(tmp_path / "nothing.txt")
    with pytest.raises(IsADirectoryError, match="a folder"):
        load_vectors(tmp_path)
    path = tmp_path / "file.txt"
    path.write_bytes(GOOD)
    for options, match in [
        ({"format": "csv"}, r"format='csv' is not one of glove, word2vec, "),
        ({"limit": 0}, r"limit=0 must be a whole number"),
        ({"limit": 1.5}, r"limit=1.5 must be"),
        ({"n_threads": -1}, r"n_threads=-1"),
        ({"errors": "surrogateescape"}, r"errors='surrogateescape' is not one of strict"),
        ({"member": "a"}, r"is not a zip file"),
        ({"vocabulary": path}, r"vocabulary= is for .npy"),
    ]:
        with pytest.raises(ValueError, match=match):
            open_vectors(path, **options)
    with pytest.raises(FormatError, match=r"line 1 is 'cat 1 2 3'; a word2vec file starts"):
        load_vectors(path, format="word2vec")
    with pytest.raises(FormatError, match=r"not a .npz file"):
        load_vectors(path, format="npz")


def test_all_rows_bad(tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"a nan 1\nb nan 2\n")
    with pytest.raises(FormatError, match=r"no usable rows; 2 were skipped|holds no rows"):
        load_vectors(path, skip_bad=True)
