import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcompress.codes import hamming_distances, pack_bits
from embcompress.container import FormatError
from embcompress.index import HammingIndex

KINDS = ["flat", "ivf", "hnsw"]
MAGIC = b"EMBCIDX\n"
CAN_MAP = hasattr(faiss, "IO_FLAG_MMAP_IFC")


def random_codes(n, n_bits, seed=0, n_free=None):
    """Codes of which the first `n_free` bits vary: few of them make many ties."""
    bits = np.zeros((n, n_bits), dtype=bool)
    n_free = n_bits if n_free is None else min(n_free, n_bits)
    bits[:, :n_free] = np.random.default_rng(seed).random((n, n_free)) < 0.5
    return pack_bits(bits)


def clustered_codes(n, n_bits, n_clusters=20, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.random((n_clusters, n_bits)) < 0.5
    return pack_bits(centres[rng.integers(n_clusters, size=n)] ^ (rng.random((n, n_bits)) < noise))


def oracle(queries, codes, k):
    """All distances, and a stable sort: the order that a search must have."""
    distances = hamming_distances(queries, codes)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, indices, 1), indices


def made(kind="flat", n=500, n_bits=100, **options):
    codes = clustered_codes(n, n_bits)
    index = HammingIndex(n_bits, kind=kind, **options)
    index.add(codes)
    return index, codes


def assert_same_search(first, second, queries, k=10):
    for a, b in zip(first.search(queries, k), second.search(queries, k), strict=True):
        np.testing.assert_array_equal(a, b)


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


# exact search


@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(1, 300),
    n_bits=st.integers(1, 600),
    n_free=st.integers(1, 12),
    k=st.integers(1, 40),
    n_queries=st.integers(0, 40),
    seed=st.integers(0, 2**16),
)
def test_flat_is_the_oracle_with_ties(n, n_bits, n_free, k, n_queries, seed):
    codes = random_codes(n, n_bits, seed, n_free)
    queries = random_codes(n_queries, n_bits, seed + 1, n_free)
    index = HammingIndex(n_bits)
    index.add(codes)
    distances, indices = index.search(queries, k)
    expected_distances, expected_indices = oracle(queries, codes, k)
    n_found = min(n, k)
    assert distances.dtype == np.int32
    assert indices.dtype == np.int64
    assert distances.shape == indices.shape == (n_queries, k)
    np.testing.assert_array_equal(distances[:, :n_found], expected_distances)
    np.testing.assert_array_equal(indices[:, :n_found], expected_indices)
    assert (distances[:, n_found:] == n_bits + 1).all()
    assert (indices[:, n_found:] == -1).all()


@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("n_bits", [8, 300])
def test_ties_do_not_depend_on_threads_or_batches(n_bits, n_threads):
    # more codes than FAISS scans in one block, and more queries than one thread takes at a time
    codes = random_codes(70_000, n_bits, n_free=6)
    queries = random_codes(70, n_bits, seed=1, n_free=8)
    index = HammingIndex(n_bits, n_threads=n_threads)
    index.add(codes)
    expected = oracle(queries, codes, 50)
    for size in (1, 33, 70):
        parts = [index.search(queries[i : i + size], 50) for i in range(0, 70, size)]
        for got, right in zip(zip(*parts, strict=True), expected, strict=True):
            np.testing.assert_array_equal(np.concatenate(got), right)


def test_several_adds_append():
    codes = random_codes(1000, 77)
    whole, parts = HammingIndex(77), HammingIndex(77)
    whole.add(codes)
    for start, stop in [(0, 1), (1, 1), (1, 400), (400, 1000)]:
        parts.add(codes[start:stop])
        assert len(parts) == stop
    assert_same_search(whole, parts, codes[:20], k=1000)


def test_codes_may_be_views_and_stay_as_they_are():
    codes = random_codes(200, 120)
    wide = np.repeat(codes, 2, axis=1)
    wide.flags.writeable = False
    index = HammingIndex(120)
    index.add(wide[::2, ::2])
    distances, indices = index.search(wide[::2, ::2][:3], 1)
    assert distances.ravel().tolist() == [0, 0, 0]
    assert indices.ravel().tolist() == [0, 1, 2]


def test_concurrent_searches_agree():
    index, codes = made(n=5000, n_threads=1)
    expected = index.search(codes[:40], 10)[1]
    with ThreadPoolExecutor(4) as pool:
        for indices in pool.map(lambda _: index.search(codes[:40], 10)[1], range(8)):
            np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize("n_threads", [1, 3, None])
def test_the_number_of_threads_is_set_back(n_threads):
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        index, codes = made(n_threads=n_threads)
        index.search(codes[:1], 3)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize(
    ("n_bits", "padded"),
    [
        *[(1, 32), (32, 32), (33, 64), (65, 128), (128, 128), (129, 160), (161, 256)],
        *[(256, 256), (257, 512), (300, 512), (512, 512), (513, 576), (600, 640), (1024, 1024)],
    ],
)
def test_padding(n_bits, padded):
    index = HammingIndex(n_bits)
    assert index.padded_bits == padded
    codes = random_codes(50, n_bits)
    index.add(codes)
    np.testing.assert_array_equal(index.search(codes, 50)[0], oracle(codes, codes, 50)[0])


# approximate search


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_approximate_results_are_true_distances_in_order(kind):
    index, codes = made(kind, n=3000)
    distances, indices = index.search(codes[:100], 20)
    assert distances.dtype == np.int32
    assert indices.dtype == np.int64
    every = np.take_along_axis(hamming_distances(codes[:100], codes), indices, 1)
    np.testing.assert_array_equal(distances, every)
    steps = np.diff(distances.astype(np.int64) * len(codes) + indices, axis=1)
    assert (steps > 0).all()
    assert all(len(set(row)) == 20 for row in indices.tolist())
    exact = oracle(codes[:100], codes, 20)[0]
    assert np.mean(distances[:, -1] == exact[:, -1]) > 0.8


def test_ivf_that_visits_every_list_is_exact_in_distances():
    index, codes = made("ivf", n=2000, n_lists=12, n_probe=12)
    np.testing.assert_array_equal(index.search(codes[:50], 30)[0], oracle(codes[:50], codes, 30)[0])


def test_ivf_finds_more_with_more_probes():
    codes = random_codes(4000, 64)
    index = HammingIndex(64, kind="ivf", n_lists=40, n_probe=1)
    index.add(codes)
    exact = oracle(codes[:100], codes, 10)[0].sum()
    few = index.search(codes[:100], 10)[0].sum()
    index.n_probe = 40
    assert index.search(codes[:100], 10)[0].sum() == exact < few


def test_hnsw_finds_more_with_a_wider_search():
    codes = random_codes(4000, 128)
    index = HammingIndex(128, kind="hnsw", n_neighbors=4, ef_construction=20, ef_search=1)
    index.add(codes)
    few = index.search(codes[:100], 5)[0].sum()
    index.ef_search = 200
    assert index.search(codes[:100], 5)[0].sum() < few


@pytest.mark.parametrize("kind", KINDS)
def test_more_neighbours_than_codes(kind):
    index, codes = made(kind, n=7)
    distances, indices = index.search(codes[:2], 10)
    assert (indices[:, 7:] == -1).all()
    assert (distances[:, 7:] == 101).all()
    assert (np.sort(indices[:, :7], axis=1) == np.arange(7)).all()


def test_unreached_neighbours_are_marked():
    codes = np.repeat(pack_bits(np.eye(3, 64, dtype=bool)), 10, axis=0)
    index = HammingIndex(64, kind="ivf", n_lists=3, n_probe=1)
    index.add(codes)
    distances, indices = index.search(codes[:1], 30)
    found = indices[0] >= 0
    assert 0 < found.sum() < 30
    assert not found[found.sum() :].any()
    assert (distances[0, ~found] == 65).all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_seed_is_honoured(kind):
    def bytes_of(seed):
        index, _ = made(kind, n=3000, n_threads=1, random_state=seed)
        return faiss.serialize_index_binary(index._codes.index).tobytes()

    assert bytes_of(3) == bytes_of(3)
    assert bytes_of(3) != bytes_of(4)


@pytest.mark.parametrize(("n", "n_lists"), [(10, 1), (100, 2), (1521, 39), (10_000, 100)])
def test_default_number_of_lists(n, n_lists):
    index = HammingIndex(64, kind="ivf")
    index.add(random_codes(n, 64))
    assert index.n_lists == n_lists


# messages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bits": 0}, "n_bits=0 must be a whole number of at least 1"),
        ({"n_bits": 8.0}, "n_bits=8.0 must be"),
        ({"kind": "tree"}, "kind='tree' is not known; allowed: 'flat', 'ivf', 'hnsw'"),
        (
            {"engine": "gpu"},
            "engine='gpu' is not known; allowed: 'auto', 'native', 'numpy', 'faiss'",
        ),
        ({"n_lists": 0}, "n_lists=0 must be"),
        ({"n_probe": -1}, "n_probe=-1 must be"),
        ({"n_neighbors": True}, "n_neighbors=True must be"),
        ({"ef_construction": 0}, "ef_construction=0 must be"),
        ({"ef_search": 0}, "ef_search=0 must be"),
        ({"n_threads": 0}, "n_threads=0 must be"),
        ({"random_state": -1}, "random_state=-1 must be None or a whole number"),
        ({"random_state": 2**31}, "random_state=2147483648 must be"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        HammingIndex(**{"n_bits": 64, **options})


@pytest.mark.parametrize("k", [0, -1, 2.0, "3", None, True])
def test_k_is_checked(k):
    index, codes = made()
    with pytest.raises(ValueError, match=r"k=.* must be a whole number of at least 1"):
        index.search(codes[:1], k)


def test_codes_are_checked():
    index, codes = made()
    with pytest.raises(ValueError, match=r"queries has shape \(13,\).*use code\[None, :\]"):
        index.search(codes[0], 3)
    with pytest.raises(ValueError, match="queries has 12 bytes per row; 100 bits need 13"):
        index.search(codes[:, :12], 3)
    with pytest.raises(TypeError, match="codes has dtype float64"):
        index.add(codes.astype(float))
    with pytest.raises(ValueError, match="codes has bits set behind bit 100; pad bits must be 0"):
        index.add(codes | 1)
    with pytest.raises(ValueError, match="queries has bits set behind bit 100"):
        index.search(codes | 8, 3)


def test_an_empty_index_says_so(tmp_path):
    index = HammingIndex(16)
    queries = np.zeros((1, 2), dtype=np.uint8)
    assert len(index) == 0
    with pytest.raises(ValueError, match="the index is empty; add codes before searching"):
        index.search(queries, 1)
    index.add(queries[:0])
    with pytest.raises(ValueError, match="the index is empty; add codes before saving"):
        index.save(tmp_path / "x")


def test_too_few_codes_for_the_lists():
    index = HammingIndex(16, kind="ivf", n_lists=20)
    with pytest.raises(ValueError, match=r"n_lists=20 lists need at least as many codes.*10 came"):
        index.add(random_codes(10, 16))


def test_effort_set_later_is_checked():
    index, codes = made("ivf")
    index.n_probe = 0
    with pytest.raises(ValueError, match="n_probe=0 must be"):
        index.search(codes[:1], 1)


# files


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path, kind, mmap):
    index, codes = made(kind, n=800, n_probe=3, ef_search=30)
    path = tmp_path / "codes.faiss"
    index.save(path)
    loaded = HammingIndex.load(path, mmap=mmap)
    assert (loaded.n_bits, loaded.kind, loaded.padded_bits) == (100, kind, 128)
    assert len(loaded) == 800
    assert ("memory-mapped" in repr(loaded)) == (mmap and kind == "flat" and CAN_MAP)
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


@pytest.mark.skipif(not CAN_MAP, reason="this version of FAISS does not map flat indexes")
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
