"""Dask arrays and frames: equal to memory on threads and on real processes, workers lost or not."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from embcompress import IIQ, ITQ, LSH, HammingIndex, PCASign, Sign, scale
from embcompress.scale import shards as shards_module

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

BLOCK = 2048
QUANTIZERS = [
    IIQ(n_bits=40, fit_samples=1500, random_state=0),
    ITQ(n_bits=16, fit_samples=1500, max_iter=10, random_state=0),
    LSH(n_bits=50, random_state=0),
    PCASign(n_bits=20),
    Sign(threshold="mean"),
]


def make_rows(n: int, dtype: type = np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 24)) / np.sqrt(np.arange(1, 25)) + 0.5).astype(dtype)


ROWS = make_rows(4 * BLOCK + 300)


@pytest.fixture(scope="module")
def cluster_client():
    """A client of two worker processes, of which a task may lose one, but not two."""
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.scheduler.worker-ttl": None,
        "distributed.admin.log-format": "%(message)s",
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def client(cluster_client):
    """The cluster does the work of one test; the others run on threads."""
    with cluster_client.as_current():
        yield cluster_client


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
def test_fit_and_codes_on_threads(quantizer):
    expected = clone(quantizer).fit(ROWS)
    found = clone(quantizer).fit(da.from_array(ROWS, chunks=(BLOCK, 24)))
    codes = found.transform(da.from_array(ROWS, chunks=(777, 10)))
    assert isinstance(codes, da.Array)
    assert (codes.dtype, codes.shape) == (np.uint8, expected.transform(ROWS).shape)
    np.testing.assert_array_equal(codes.compute(), expected.transform(ROWS))
    assert found.n_features_in_ == 24


@pytest.mark.parametrize("chunks", [(5, 24), (1000, 24), (1000, 7), (9000, 5)])
@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
def test_any_partitions_give_the_fit_in_memory(quantizer, chunks):
    # sums of double precision: no sign turns in the rotations, whatever the order of merging
    rows = ROWS[:2500].astype(np.float64)
    expected = clone(quantizer).fit(rows)
    found = clone(quantizer).fit(da.from_array(rows, chunks=chunks))
    assert found.encoder_.projection is None or np.allclose(
        found.encoder_.projection, expected.encoder_.projection, atol=1e-8
    )
    np.testing.assert_allclose(found.encoder_.levels, expected.encoder_.levels, atol=1e-8)
    np.testing.assert_array_equal(found.transform(rows), expected.transform(rows))


def test_fit_on_processes(client):
    rows = scale.to_dask(ROWS, rows_per_block=BLOCK)
    quantizer = IIQ(n_bits=40, fit_samples=1500, random_state=0)
    expected = clone(quantizer).fit(ROWS)
    found = clone(quantizer).fit(rows)
    np.testing.assert_allclose(found.mean_, expected.mean_, atol=1e-12)
    np.testing.assert_array_equal(found.transform(rows).compute(), expected.transform(ROWS))


@pytest.mark.parametrize("make", [IIQ, ITQ])
def test_a_rotation_on_all_rows(make, client):
    rows = make_rows(2000, np.float64)
    quantizer = make(fit_samples=None, max_iter=4, random_state=1)
    expected = clone(quantizer).fit(rows)
    found = clone(quantizer).fit(da.from_array(rows, chunks=(100, 24)))
    np.testing.assert_allclose(found.rotation_, expected.rotation_, atol=1e-8)
    np.testing.assert_array_equal(found.transform(rows), expected.transform(rows))


def slow_once(block: np.ndarray, flag: str, block_info: dict | None = None) -> np.ndarray:
    """Wait to be killed in the third block, the first time only."""
    path = Path(flag)
    if block_info and block_info[0]["chunk-location"][0] == 2 and not path.exists():
        path.with_suffix(".tmp").write_text(str(os.getpid()))
        path.with_suffix(".tmp").rename(path)
        time.sleep(60)
    return block


def kill_when_it_works(flag: Path, killed: list[int]) -> None:
    deadline = time.monotonic() + 60
    while not flag.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.append(int(flag.read_text()))
    os.kill(killed[0], signal.SIGKILL)


@pytest.mark.parametrize("job", ["fit", "shards", "search"])
def test_a_worker_killed_in_the_middle_changes_nothing(job, client, tmp_path):
    workers = set(client.run(os.getpid).values())
    rows = da.from_array(ROWS, chunks=(BLOCK, 24)).map_blocks(
        slow_once, flag=str(tmp_path / "flag"), dtype=np.float32
    )
    quantizer = IIQ(n_bits=40, fit_samples=1500, random_state=0).fit(ROWS)
    codes = quantizer.transform(ROWS)
    killed: list[int] = []
    killer = threading.Thread(target=kill_when_it_works, args=(tmp_path / "flag", killed))
    killer.start()
    if job == "fit":
        found = clone(quantizer).fit(rows)
        np.testing.assert_array_equal(found.transform(ROWS), codes)
    elif job == "shards":
        written = scale.write_shards(quantizer, rows, tmp_path / "shards")
        np.testing.assert_array_equal(written[:], codes)
    else:
        index = HammingIndex(n_bits=40)
        index.add(codes)
        lazy = quantizer.transform(rows)
        found = scale.ShardedIndex(lazy, n_bits=40).search(codes[:9], 5)
        np.testing.assert_array_equal(found[1], index.search(codes[:9], 5)[1])
    killer.join()
    assert killed[0] in workers
    assert killed[0] not in set(client.run(os.getpid).values())


def deadly(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
    if block_info and block_info[0]["chunk-location"][0] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return block


@pytest.mark.parametrize("job", ["fit", "shards"])
def test_a_partition_that_loses_two_workers_is_an_error_of_one_line(job, client, tmp_path):
    rows = da.from_array(ROWS, chunks=(BLOCK, 24)).map_blocks(deadly, dtype=np.float32)
    quantizer = Sign(threshold="mean").fit(ROWS)
    jobs = {
        "fit": lambda: clone(quantizer).fit(rows),
        "shards": lambda: scale.write_shards(quantizer, rows, tmp_path / "shards"),
    }
    message = "2 Dask workers were lost one after another.*use smaller partitions or more memory"
    with pytest.raises(RuntimeError, match=message) as caught:
        jobs[job]()
    assert "\n" not in str(caught.value)
    client.wait_for_workers(2, timeout=60)


def test_errors_on_workers_are_told(client):
    rows = ROWS.copy()
    rows[3000, 2] = np.nan
    with pytest.raises(ValueError, match=r"a partition .* holds NaN or infinity in row 952"):
        PCASign().fit(da.from_array(rows, chunks=(BLOCK, 24)))


def test_shards_of_partitions_resume(tmp_path, monkeypatch):
    quantizer = LSH(n_bits=50, random_state=0).fit(ROWS)
    rows = da.from_array(ROWS, chunks=(BLOCK, 24))
    save = shards_module.save_shard

    def failing(folder, number, *rest):
        if number == 2:
            raise OSError("disk full")
        return save(folder, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_shard", failing)
        with pytest.raises(OSError, match="disk full"):
            scale.write_shards(quantizer, rows, tmp_path / "s")
    first = (tmp_path / "s" / "codes-00000.safetensors").stat().st_mtime_ns
    written = scale.write_shards(quantizer, rows, tmp_path / "s")
    assert written.n_shards == 5
    np.testing.assert_array_equal(written[:], quantizer.transform(ROWS))
    assert (tmp_path / "s" / "codes-00000.safetensors").stat().st_mtime_ns == first
    with pytest.raises(ValueError, match="another source"):
        scale.write_shards(quantizer, da.from_array(-ROWS, chunks=(BLOCK, 24)), tmp_path / "s")


@pytest.mark.parametrize("chunks", [(1000, 10), (5, 3), (9000, 10)])
def test_search_in_partitions_is_that_of_one_index(chunks):
    codes = LSH(n_bits=77, random_state=0).fit(ROWS).transform(ROWS)[:300]
    index = HammingIndex(n_bits=77)
    index.add(codes)
    expected = index.search(codes[:20], 10)
    found = scale.ShardedIndex(da.from_array(codes, chunks=chunks), n_bits=77)
    for got, wanted in zip(found.search(codes[:20], 10), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    with pytest.raises(ValueError, match=r"codes of 50 bits are uint8 \(n, 7\)"):
        scale.ShardedIndex(da.from_array(codes), n_bits=50).search(codes[:2, :7], 1)


def test_blocks_of_unknown_size():
    rows = da.from_array(ROWS, chunks=(BLOCK, 24))
    some = rows[rows[:, 0] > 0.5]
    assert np.isnan(some.shape[0])
    expected = LSH(random_state=0).fit(ROWS[ROWS[:, 0] > 0.5])
    found = LSH(random_state=0).fit(some)
    np.testing.assert_allclose(found.mean_, expected.mean_, atol=1e-7)
    assert np.isnan(some.shape[0])  # the array of the caller is left as it was
    codes = found.transform(some)
    np.testing.assert_array_equal(codes.compute(), found.transform(ROWS[ROWS[:, 0] > 0.5]))


def test_empty_partitions():
    rows = da.from_array(ROWS, chunks=(BLOCK, 24))
    later = rows[da.arange(len(ROWS), chunks=BLOCK) >= BLOCK]
    expected = IIQ(random_state=0).fit(ROWS[BLOCK:])
    found = IIQ(random_state=0).fit(later)
    np.testing.assert_allclose(found.mean_, expected.mean_, atol=1e-7)
    codes = found.transform(later)
    np.testing.assert_array_equal(codes.compute(), found.transform(ROWS[BLOCK:]))
    index = scale.ShardedIndex(codes, n_bits=24)
    assert index.search(codes.compute()[:3], 1)[1].shape == (3, 1)


def test_files_become_arrays_that_workers_read(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    paths = [tmp_path / "rows.npy"]
    if pytest.importorskip("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        column = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 24)
        pq.write_table(pa.table({"v": column}), tmp_path / "rows.parquet", row_group_size=1000)
        paths.append(tmp_path / "rows.parquet")
    for path in paths:
        rows = scale.to_dask(path, rows_per_block=BLOCK)
        assert rows.chunks == ((BLOCK,) * 4 + (300,), (24,))
        np.testing.assert_array_equal(rows.compute(), ROWS)
        assert rows.name == scale.to_dask(path, rows_per_block=BLOCK).name
    with pytest.raises(ValueError, match="number of rows is not known, which a Dask array needs"):
        scale.to_dask([ROWS])
    with pytest.raises(ValueError, match="rows_per_block=0"):
        scale.to_dask(ROWS, rows_per_block=0)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Data frames with columns of numbers, and with a column of lists."""
    pytest.importorskip("pyarrow")
    import pandas as pd

    dd = pytest.importorskip("dask.dataframe")
    rows = ROWS[:1500]
    wide = pd.DataFrame(rows, columns=[f"x{k}" for k in range(24)])
    wide["name"] = "a"
    lists = pd.DataFrame({"id": np.arange(1500), "v": list(rows)})
    path = tmp_path_factory.mktemp("frames") / "lists.parquet"
    lists.to_parquet(path)
    return {
        "numbers": dd.from_pandas(wide, npartitions=3),
        "lists in files": dd.read_parquet(path),
    }


@pytest.mark.parametrize("name", ["numbers", "lists in files"])
def test_data_frames(name, frames):
    frame, rows = frames[name], ROWS[:1500]
    found = LSH(random_state=0).fit(frame)
    expected = LSH(random_state=0).fit(rows)
    np.testing.assert_allclose(found.mean_, expected.mean_, atol=1e-7)
    np.testing.assert_array_equal(found.transform(frame).compute(), found.transform(rows))


def test_columns_of_data_frames_are_checked(frames):
    frame = frames["numbers"]
    found = scale.fit(LSH(random_state=0), frame, column=["x0", "x1"])
    assert found.n_features_in_ == 2
    with pytest.raises(ValueError, match=r"no column \['y'\]; there are x0"):
        scale.fit(Sign(), frame, column="y")
    with pytest.raises(TypeError, match="no column holds floats or lists of floats; found name: s"):
        scale.fit(Sign(), frame, column="name")
    with pytest.raises(TypeError, match="no column holds floats"):
        scale.fit(Sign(), frame, column=["x0", "name"])
    with pytest.raises(ValueError, match="has 24 columns; this quantizer was fitted on 2"):
        scale.transform(found, frame)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([[1.0, 2.0], [1.0]], ValueError, "has 1 numbers in row 1 of a partition, 2 are needed"),
        ([[1.0, 2.0], None], TypeError, "holds NoneType in row 1 of a partition; lists of real"),
        ([[1.0, 2.0], [1.0, None]], TypeError, "holds list in row 1"),
        ([[1.0, 2.0], [1.0, np.inf]], ValueError, "holds NaN or infinity in row 1"),
    ],
)
def test_bad_lists(values, error, message):
    import pandas as pd

    dd = pytest.importorskip("dask.dataframe")
    with dask.config.set({"dataframe.convert-string": False}):
        frame = dd.from_pandas(pd.DataFrame({"v": values}), npartitions=1)
        with pytest.raises(error, match=message):
            Sign().fit(frame)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (da.ones(5), ValueError, r"has shape \(5,\); a matrix"),
        (da.ones((0, 5)), ValueError, "there are no rows"),
        (da.ones((5, 2), dtype=complex), TypeError, "holds complex128; real numbers are needed"),
    ],
)
def test_arrays_that_are_no_rows(array, error, message):
    with pytest.raises(error, match=message):
        Sign().fit(array)


def test_options_that_do_not_go_with_dask():
    rows = da.from_array(ROWS, chunks=(BLOCK, 24))
    with pytest.raises(ValueError, match="a Dask array has no column 'v'"):
        scale.fit(Sign(), rows, column="v")
    with pytest.raises(ValueError, match="out= is not for Dask collections"):
        scale.transform(Sign().fit(ROWS), rows, ROWS)
    with pytest.raises(ValueError, match="needs all rows in memory at once"):
        Sign(threshold="median").fit(rows)
    with pytest.raises(ValueError, match="max_rows=0"):
        scale.fit(Sign(), rows, max_rows=0)


def test_fit_on_a_sample_of_partitions():
    rows = da.from_array(ROWS, chunks=(1000, 24))
    found = scale.fit(IIQ(random_state=0), rows, max_rows=500)
    expected = scale.fit(IIQ(random_state=0), ROWS, max_rows=500)
    np.testing.assert_array_equal(found.transform(ROWS), expected.transform(ROWS))
