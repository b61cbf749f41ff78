"""Sources of rows: files, tables, arrays and chunks, what they accept and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress import LSH, FormatError, scale
from embcompress.scale.sources import blocks

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = np.random.default_rng(0).normal(size=(5000, 12)).astype(np.float32)


def fixed(rows: np.ndarray, kind=None) -> object:
    kind = kind or pa.from_numpy_dtype(rows.dtype)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), kind), rows.shape[1])


def lists(rows: np.ndarray, kind: object = None) -> object:
    values = [None if row is None else list(row) for row in rows]
    return pa.array(values, kind or pa.list_(pa.float32()))


def read(source: object, start: int = 0) -> np.ndarray:
    return np.concatenate([*blocks(source, start)])


TABLES = {
    "fixed": lambda rows: pa.table({"id": np.arange(len(rows)), "v": fixed(rows)}),
    "lists": lambda rows: pa.table({"v": lists(rows)}),
    "large lists": lambda rows: pa.table({"v": lists(rows, pa.large_list(pa.float32()))}),
    "double": lambda rows: pa.table({"v": fixed(rows.astype(np.float64))}),
    "half": lambda rows: pa.table({"v": fixed(rows.astype(np.float16))}),
    "columns": lambda rows: pa.table({f"x{k}": column for k, column in enumerate(rows.T)}),
    "tensor": lambda rows: pa.table(
        {
            "v": pa.ExtensionArray.from_storage(
                pa.fixed_shape_tensor(pa.float32(), [rows.shape[1]]), fixed(rows)
            )
        }
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ["parquet", "feather", "table"])
@pytest.mark.parametrize("start", [0, 2048])
def test_tables(name, form, start, tmp_path):
    table, path = TABLES[name](ROWS), tmp_path / f"rows.{form}"
    thing: object = table
    if form == "parquet":
        pq.write_table(table, path, row_group_size=777)
        thing = path
    elif form == "feather":
        from pyarrow import feather

        feather.write_feather(table, path, chunksize=999)
        thing = path
    source = scale.open_source(thing)
    assert (source.n_rows, source.n_features, source.rereadable) == (5000, 12, True)
    assert source.dtype == (np.float64 if name == "double" else np.float32)
    expected = ROWS.astype(np.float16) if name == "half" else ROWS
    for _ in range(2):
        np.testing.assert_array_equal(read(source, start), expected[start:])


def test_a_folder_of_parquet_files(tmp_path):
    for number, part in enumerate(np.array_split(ROWS, 3)):
        pq.write_table(pa.table({"v": fixed(part)}), tmp_path / f"part-{number}.parquet")
    (tmp_path / "notes.txt").write_text("not read")
    for thing in (tmp_path, sorted(tmp_path.glob("*.parquet"))):
        source = scale.open_source(thing)
        np.testing.assert_array_equal(read(source), ROWS)
        np.testing.assert_array_equal(read(source, 4096), ROWS[4096:])


def test_polars_and_streams():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"v": ROWS})
    np.testing.assert_array_equal(read(scale.open_source(frame)), ROWS)
    table = pa.table({"v": fixed(ROWS)})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=600))
    source = scale.open_source(reader)
    assert not source.rereadable
    np.testing.assert_array_equal(read(source), ROWS)
    with pytest.raises(ValueError, match="used up after one pass"):
        read(source)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16])
def test_arrays_and_memory_maps(dtype, tmp_path):
    rows = (100 * np.abs(ROWS)).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    for thing in (rows, tmp_path / "rows.npy", np.load(tmp_path / "rows.npy", mmap_mode="r")):
        source = scale.open_source(thing)
        assert source.dtype == (np.float64 if dtype == np.float64 else np.float32)
        np.testing.assert_array_equal(read(source), rows)


def test_blocks_do_not_depend_on_chunks():
    expected = [block.copy() for block in blocks(scale.open_source(ROWS))]
    assert [len(block) for block in expected] == [2048, 2048, 904]
    for places in ([1], [2047, 2049], [0, 0, 4999]):
        found = [*blocks(scale.open_source(np.split(ROWS, places)))]
        for block, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(block, other)


def test_functions_and_iterators():
    source = scale.open_source(lambda: iter([ROWS[:10], ROWS[10:]]))
    assert source.rereadable
    np.testing.assert_array_equal(read(source), read(source))
    once = scale.ChunkSource(iter([ROWS]), n_rows=5000)
    np.testing.assert_array_equal(read(once), ROWS)
    with pytest.raises(ValueError, match="used up after one pass; give a list, an array"):
        read(once)


def test_fingerprints_tell_sources_apart(tmp_path):
    other = ROWS.copy()
    other[0, 0] += 1
    pq.write_table(pa.table({"v": fixed(ROWS)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"v": fixed(other)}), tmp_path / "b.parquet")
    things = [
        ROWS, other, ROWS[:-1], ROWS.astype(np.float64), [ROWS], [other],
        pa.table({"v": fixed(ROWS)}), tmp_path / "a.parquet", tmp_path / "b.parquet",
    ]  # fmt: skip
    found = [scale.open_source(thing).fingerprint() for thing in things]
    assert found == [scale.open_source(thing).fingerprint() for thing in things]
    assert len({repr(each) for each in found}) == len(things)


@pytest.mark.parametrize(
    ("columns", "column", "error", "message"),
    [
        (
            {"v": ["a", "b"]},
            None,
            TypeError,
            "no column holds floats or lists of floats; found v",
        ),
        ({"v": ["a", "b"]}, "v", TypeError, "column 'v' holds string; floats or lists of floats"),
        ({"v": [[1, 2], [3, 4]]}, "v", TypeError, "column 'v' holds int64"),
        ({"v": [[1.0], [2.0]], "w": [[1.0], [2.0]]}, None, ValueError, "name one of .*: v, w"),
        ({"v": [[1.0], [2.0]]}, "w", ValueError, r"no column \['w'\]; there are v"),
        (
            {"v": [[1.0, 2], [3.0]]},
            None,
            ValueError,
            "has 1 numbers in row 1, and 2 in those",
        ),
        ({"v": [[1.0, 2], None]}, None, ValueError, "column 'v' is null in row 1; drop such rows"),
        ({"v": [[1.0, 2], [3.0, None]]}, None, ValueError, "column 'v' holds a null in row 1"),
        ({"v": [[1.0, 2], [3.0, np.nan]]}, None, ValueError, "row 1 holds NaN or infinity"),
        ({"v": [[], [3.0]]}, None, ValueError, "row 0 of 'v' is an empty list or null"),
        ({"x": [1.0, None], "y": [1.0, 2]}, None, ValueError, "column 'x' is null in row 1"),
        ({"x": [1.0, 2], "y": ["a", "b"]}, ["x", "y"], TypeError, "'x', 'y' holds string"),
    ],
    ids=range(12),
)
def test_bad_columns(columns, column, error, message, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(error, match=f"bad.parquet: {message}|bad.parquet: .*{message}"):
        read(scale.open_source(tmp_path / "bad.parquet", column=column))


def test_rows_of_bad_values_are_counted_over_batches_and_files(tmp_path):
    values = [[1.0, 2.0]] * 5000
    pq.write_table(pa.table({"v": values}), tmp_path / "a.parquet", row_group_size=700)
    pq.write_table(pa.table({"v": [*values[:2500], [1.0]]}), tmp_path / "b.parquet")
    source = scale.open_source(tmp_path)
    with pytest.raises(ValueError, match="1 numbers in row 7500, and 2"):
        read(source)
    with pytest.raises(ValueError, match="1 numbers in row 7500, and 2"):
        read(source, 6144)


def test_files_of_different_types(tmp_path):
    pq.write_table(pa.table({"v": fixed(ROWS)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"v": fixed(ROWS[:, :5])}), tmp_path / "b.parquet")
    with pytest.raises(TypeError, match=r"b.parquet: .*\[5\].* but a.parquet has .*\[12\]"):
        scale.open_source(tmp_path)


def test_damaged_files(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"v": fixed(ROWS)}), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="not a complete Parquet file"):
        scale.open_source(path)
    (tmp_path / "a.arrow").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="not a complete Arrow file"):
        scale.open_source(tmp_path / "a.arrow")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(FormatError, match=r"damaged or unsafe .npy file"):
        scale.open_source(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        scale.open_source(tmp_path / "none.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no .parquet file"):
        scale.open_source(tmp_path / "empty")


@pytest.mark.parametrize(
    ("thing", "error", "message"),
    [
        (5, TypeError, "cannot read rows from int"),
        ([], ValueError, "there is no chunk of rows"),
        ([ROWS[0]], ValueError, r"chunk 0 has shape \(12,\)"),
        (ROWS[0], ValueError, r"the array has shape \(12,\); a matrix"),
        (ROWS[:0], ValueError, r"the array has shape \(0, 12\); a matrix"),
        (ROWS.astype(complex), TypeError, "the array holds complex128; real numbers"),
        ([np.array([["a"]])], TypeError, "the chunks holds <U1; real numbers"),
    ],
)
def test_what_is_no_source(thing, error, message):
    with pytest.raises(error, match=message):
        scale.open_source(thing)


def test_chunks_of_different_widths():
    with pytest.raises(ValueError, match=r"chunk 1 has shape \(5000, 7\), those before it \(m, 12"):
        scale.fit(LSH(random_state=0), [ROWS, ROWS[:, :7]])


def test_a_column_is_for_tables():
    with pytest.raises(ValueError, match=r"rows.npy is no table; column='v' is for Parquet"):
        scale.open_source("rows.npy", column="v")
