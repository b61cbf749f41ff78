"""Files of indexes: what FAISS reads, what is kept beside it, and every kind of damage."""

from __future__ import annotations

import json
import os
import zlib

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import KINDS, assert_same_search, filled_index, made, random_codes

from embcompress.container import FormatError
from embcompress.index import HammingIndex

MAGIC = b"EMBCIDX\n"


def split_file(path):
    """Bytes of FAISS, and the entries of the footer."""
    data = path.read_bytes()
    assert data[-8:] == MAGIC
    n_text = int.from_bytes(data[-16:-12], "little")
    return data[: -16 - n_text], json.loads(data[-16 - n_text : -16])


def footer(entries):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    numbers = (len(text), zlib.crc32(text))
    return text + b"".join(number.to_bytes(4, "little") for number in numbers) + MAGIC


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path, kind, mmap):
    index, codes = made(kind, n=800, n_probe=3, ef_search=30)
    path = tmp_path / "codes.faiss"
    index.save(path)
    loaded = HammingIndex.load(path, mmap=mmap)
    assert (loaded.n_bits, loaded.kind, loaded.padded_bits) == (100, kind, 128)
    assert len(loaded) == 800
    assert ("memory-mapped" in repr(loaded)) == (mmap and kind == "flat")
    if kind == "ivf":
        assert (loaded.n_probe, loaded.n_lists) == (3, index.n_lists)
    if kind == "hnsw":
        assert (loaded.ef_search, loaded.n_neighbors, loaded.ef_construction) == (30, 32, 80)
    assert_same_search(index, loaded, codes[:30])
    loaded.save(path)  # over the file that is mapped
    assert_same_search(index, loaded, codes[:30])
    assert_same_search(index, HammingIndex.load(path, mmap=mmap), codes[:30])
    assert os.listdir(tmp_path) == ["codes.faiss"]


@pytest.mark.parametrize("kind", KINDS)
def test_faiss_opens_the_file(tmp_path, kind):
    index, codes = made(kind)
    path = tmp_path / "x"
    index.save(path)
    payload, entries = split_file(path)
    if kind == "flat":
        bare = faiss.IndexBinaryFlat(index.padded_bits)
        bare.add(np.pad(codes, ((0, 0), (0, index.padded_bits // 8 - codes.shape[1]))))
    else:
        bare = index._codes.index
    assert payload == faiss.serialize_index_binary(bare).tobytes()
    assert entries["payload_bytes"] == len(payload)
    assert (entries["n_bits"], entries["padded_bits"], entries["n_codes"]) == (100, 128, 500)
    for flags in (0, getattr(faiss, "IO_FLAG_MMAP_IFC", 0)):
        opened = faiss.read_index_binary(str(path), flags)
        padded = np.pad(codes, ((0, 0), (0, 3)))
        np.testing.assert_array_equal(
            opened.search(padded[:9], 5)[0], index.search(codes[:9], 5)[0]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_index_grows(tmp_path, kind):
    index, codes = made(kind)
    index.save(tmp_path / "x")
    loaded = HammingIndex.load(tmp_path / "x", mmap=False)
    loaded.add(codes[:100])
    assert len(loaded) == 600
    distances, _ = loaded.search(codes[:5], 2)
    np.testing.assert_array_equal(distances, 0)


def test_a_mapped_index_does_not_grow(tmp_path):
    index, codes = made()
    index.save(tmp_path / "x")
    loaded = HammingIndex.load(tmp_path / "x")
    with pytest.raises(ValueError, match=r"memory-mapped and cannot be changed.*mmap=False"):
        loaded.add(codes)


def test_same_index_same_bytes(tmp_path):
    for name in ("a", "b"):
        made()[0].save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def foreign(kind):
    if kind == "ivf":
        index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(128), 128, 4)
        index.cp.min_points_per_centroid = 1
        index.train(random_codes(100, 128))
    else:
        index = {"flat": faiss.IndexBinaryFlat, "hnsw": faiss.IndexBinaryHNSW}[kind](128)
    index.add(random_codes(100, 128))
    return index


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_faiss_loads(tmp_path, kind, mmap):
    path = tmp_path / "x"
    index = foreign(kind)
    faiss.write_index_binary(index, str(path))
    loaded = HammingIndex.load(path, mmap=mmap)
    assert (loaded.n_bits, loaded.kind, len(loaded)) == (128, kind, 100)
    queries = random_codes(5, 128, seed=1)
    np.testing.assert_array_equal(loaded.search(queries, 4)[0], index.search(queries, 4)[0])
    shorter = HammingIndex.load(path, mmap=mmap, n_bits=100)
    assert shorter.n_bits == 100
    assert shorter.search(queries[:, :13] & 0xF0, 4)[1].shape == (5, 4)
    shorter.save(tmp_path / "y")
    assert HammingIndex.load(tmp_path / "y").n_bits == 100


def test_n_bits_that_contradicts_the_file(tmp_path):
    faiss.write_index_binary(foreign("flat"), str(tmp_path / "x"))
    with pytest.raises(ValueError, match="holds codes of 128 bits, n_bits=129 was asked for"):
        HammingIndex.load(tmp_path / "x", n_bits=129)
    made()[0].save(tmp_path / "y")
    with pytest.raises(ValueError, match="holds codes of 100 bits, n_bits=90 was asked for"):
        HammingIndex.load(tmp_path / "y", n_bits=90)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_found(tmp_path, kind, mmap):
    made(kind, n=60)[0].save(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    payload, _ = split_file(tmp_path / "x")
    stops = {0, 3, 10, 32, 33, 40, len(data) - 1, len(data) - 9, len(data) - 17, len(payload) - 1}
    if kind == "flat":
        stops |= set(range(len(payload) + 1, len(data)))
    for stop in sorted(stops | set(range(0, len(data) - 1, 97))):
        if stop == len(payload):
            continue  # exactly what FAISS wrote is a file of FAISS
        (tmp_path / "y").write_bytes(data[:stop])
        with pytest.raises(FormatError):
            HammingIndex.load(tmp_path / "y", mmap=mmap)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_found_when_the_file_is_read(tmp_path, kind):
    made(kind, n=200)[0].save(tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    data[1000] ^= 1
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(
        FormatError, match=r"checksum .* found, .* expected|cannot read|bytes found"
    ):
        HammingIndex.load(tmp_path / "x", mmap=False)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_changed_bit_of_header_and_footer_is_found(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(KINDS))
    made(kind, n=40, n_threads=1)[0].save(folder / "x")
    content = bytearray((folder / "x").read_bytes())
    payload, _ = split_file(folder / "x")
    place = data.draw(st.integers(0, 60) | st.integers(len(payload), len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    (folder / "x").write_bytes(content)
    with pytest.raises(FormatError):
        HammingIndex.load(folder / "x", mmap=False)


def test_messages_about_the_footer(tmp_path):
    made()[0].save(tmp_path / "x")
    payload, entries = split_file(tmp_path / "x")
    path = tmp_path / "y"

    def load(new_footer, content=payload):
        path.write_bytes(content + new_footer)
        HammingIndex.load(path)

    with pytest.raises(
        FormatError, match=r"version 3, this embcompress .* reads versions 1 and 2.*upgr"
    ):
        load(footer(entries | {"format_version": 3}))
    for broken in (b"{", b"[]", b"3", b"{}", b"\xff\xfe"):
        with pytest.raises(FormatError, match=r"damaged footer: .* is not what was written"):
            load(footer(broken))
    for change in (
        *[{"n_bits": 0}, {"n_bits": "100"}, {"n_bits": 129}, {"n_bits": None}],
        *[{"padded_bits": 64}, {"payload_crc32": -1}, {"surprise": 1}],
    ):
        with pytest.raises(FormatError, match=r"damaged footer: .* in a file of codes of 128 bits"):
            load(footer(entries | change))
    with pytest.raises(FormatError, match="header says 500 codes, flat; the footer says 9 codes"):
        load(footer(entries | {"n_codes": 9}))
    with pytest.raises(FormatError, match=r"header says 500 codes, flat; .* 500 codes, ivf"):
        load(footer(entries | {"kind": "ivf"}))
    with pytest.raises(FormatError, match=r"\d+ bytes found, \d+ expected; was the download"):
        load(footer(entries), payload[:-100])
    with pytest.raises(FormatError, match=r"damaged footer: 4294967295 bytes"):
        load(b"\xff" * 8 + MAGIC)


def test_messages_about_other_files(tmp_path):
    path = tmp_path / "x"
    floats = faiss.IndexFlatL2(8)
    floats.add(np.zeros((3, 8), dtype=np.float32))
    faiss.write_index(floats, str(path))
    with pytest.raises(FormatError, match=r"a float FAISS index \('IxF2'\); expected a binary one"):
        HammingIndex.load(path)
    hashed = faiss.IndexBinaryHash(64, 8)
    hashed.add(random_codes(10, 64))
    faiss.write_index_binary(hashed, str(path))
    with pytest.raises(FormatError, match="binary index of a kind that is not read here"):
        HammingIndex.load(path)
    path.write_bytes(b"\x93NUMPY and more")
    with pytest.raises(FormatError, match=r"not a FAISS binary index file .*NUM"):
        HammingIndex.load(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="not a FAISS binary index file"):
        HammingIndex.load(path)
    path.write_bytes(b"IBxF" + b"\0" * 40)
    with pytest.raises(FormatError, match="damaged header: codes of 0 bits in 0 bytes each"):
        HammingIndex.load(path)
    with pytest.raises(FileNotFoundError):
        HammingIndex.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        HammingIndex.load(tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    index, _ = made()
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr("zlib.crc32", full)
    with pytest.raises(OSError, match="no space left"):
        index.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


# ids and scales


def extended(n=300, n_bits=100, engine="auto", ids=True, scales=True):
    codes = random_codes(n, n_bits)
    rng = np.random.default_rng(0)
    options = {"ids": np.sort(rng.permutation(5000)[:n])} if ids else {}
    if scales:
        options["scales"] = rng.uniform(0.5, 2, n).astype(np.float32)
    return filled_index(codes, n_bits, engine, **options), codes


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize(("ids", "scales"), [(True, True), (True, False), (False, True)])
def test_ids_and_scales_are_kept(tmp_path, ids, scales, engine, mmap):
    index, codes = extended(ids=ids, scales=scales)
    index.save(tmp_path / "x")
    _, entries = split_file(tmp_path / "x")
    assert entries["format_version"] == 2
    names = [name for name, there in (("ids", ids), ("scales", scales)) if there]
    assert sorted(entries["sections"]) == names
    loaded = HammingIndex.load(tmp_path / "x", mmap=mmap, engine=engine)
    np.testing.assert_array_equal(loaded.ids, index.ids)
    assert loaded.ids.dtype == np.int64
    assert_same_search(index, loaded, codes[:9])
    queries = np.random.default_rng(1).integers(-4, 5, (5, 100))
    for a, b in zip(
        index.search_asymmetric(queries, 30), loaded.search_asymmetric(queries, 30), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    loaded.save(tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == (tmp_path / "x").read_bytes()
    if not mmap:
        loaded.add(codes[:2], scales=[1, 2] if scales else None)
        assert loaded.ids[-2:].tolist() == [index.ids[-1] + 1, index.ids[-1] + 2]
        loaded.remove(loaded.ids[:5])
        assert len(loaded) == 297


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_kept_by_faiss(tmp_path, kind):
    codes = random_codes(900, 64)
    ids = np.random.default_rng(0).permutation(5000)[:900]
    index = HammingIndex(64, kind=kind, engine="faiss")
    index.add(codes, ids)
    index.save(tmp_path / "x")
    loaded = HammingIndex.load(tmp_path / "x", engine="faiss")
    np.testing.assert_array_equal(loaded.ids, index.ids)
    assert_same_search(index, loaded, codes[:30])
    faiss.read_index_binary(str(tmp_path / "x"))  # does not mind what is behind its own bytes
    if kind == "flat":
        assert_same_search(index, HammingIndex.load(tmp_path / "x", engine="numpy"), codes[:30])
        index.remove(ids[:7])
        native = filled_index(codes[7:], 64, "native", ids[7:])
        assert_same_search(index, native, codes[:30])
        index.save(tmp_path / "x")
        native.save(tmp_path / "y")
        assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_positions_need_no_section(tmp_path):
    extended(ids=False, scales=False)[0].save(tmp_path / "x")
    _, entries = split_file(tmp_path / "x")
    assert entries["format_version"] == 1
    assert "sections" not in entries


def test_faiss_does_not_lose_scales_silently(tmp_path):
    extended()[0].save(tmp_path / "x")
    with pytest.raises(ValueError, match=r"x: holds scales, which FAISS has no use for"):
        HammingIndex.load(tmp_path / "x", engine="faiss")


@pytest.mark.parametrize("mmap", [True, False])
def test_every_changed_byte_of_ids_and_scales_is_found(tmp_path, mmap):
    extended(n=40)[0].save(tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    _, entries = split_file(tmp_path / "x")
    start = entries["payload_bytes"]
    for place in range(start, start + 40 * 12, 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x20
        (tmp_path / "y").write_bytes(damaged)
        with pytest.raises(FormatError, match=r"y: damaged: checksum .* found, .* expected"):
            HammingIndex.load(tmp_path / "y", mmap=mmap)
    for stop in range(start - 3, len(content), 5):
        (tmp_path / "y").write_bytes(content[:stop])
        with pytest.raises(FormatError):
            HammingIndex.load(tmp_path / "y", mmap=mmap)


def test_sections_that_cannot_be(tmp_path):
    extended(n=40)[0].save(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    _, entries = split_file(tmp_path / "x")
    before = data[: entries["payload_bytes"] + 40 * 12]
    ids = entries["sections"]["ids"]
    for sections in (
        {"names": ids},
        {"ids": ids | {"bytes": 12}},
        {"ids": {"bytes": 320}},
        {"ids": ids | {"crc32": -1}},
        {"ids": 7},
        [1],
        3,
    ):
        (tmp_path / "y").write_bytes(before + footer(entries | {"sections": sections}))
        with pytest.raises(FormatError, match=r"damaged footer|\d+ bytes found, \d+ expected"):
            HammingIndex.load(tmp_path / "y")


# three codes of 20 bits, as they were written before there were ids
VERSION_1 = (
    b"IBxF \x00\x00\x00\x04\x00\x00\x00"
    b"\x03\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00"
    b"\x80@\x00\x00\x00\x00\x10\x00\xff\xff\xf0\x00"
    b'{"created_with":"embcompress 0.1.0","format_version":1,"kind":"flat","n_b'
    b'its":20,"n_codes":3,"padded_bits":32,"payload_bytes":45,"payload_crc32":2138747029'
    b"}\x9c\x00\x00\x00{\xa0\xd6\xcbEMBCIDX\n"
)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("engine", ["auto", "native", "numpy", "faiss"])
def test_a_file_of_version_1_loads(tmp_path, engine, mmap):
    (tmp_path / "x").write_bytes(VERSION_1)
    index = HammingIndex.load(tmp_path / "x", mmap=mmap, engine=engine)
    assert index.n_bits == 20
    assert index.ids.tolist() == [0, 1, 2]
    assert index.codes.tolist() == [[128, 64, 0], [0, 0, 16], [255, 255, 240]]
    distances, indices = index.search(np.array([[0, 64, 0]], np.uint8), 3)
    assert distances.tolist() == [[1, 2, 19]]
    assert indices.tolist() == [[0, 1, 2]]
