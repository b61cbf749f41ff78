"""Folders of shards: what is written, resumed, refused, and searched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from embcompress import IIQ, LSH, FormatError, HammingIndex, Sign, scale
from embcompress.scale import shards as shards_module
from embcompress.scale.manifest import read_manifest

ROWS = np.random.default_rng(0).normal(size=(10_000, 20)).astype(np.float32)
PER_SHARD = 3000


@pytest.fixture(scope="module")
def quantizer() -> LSH:
    return LSH(n_bits=77, random_state=0).fit(ROWS)


@pytest.fixture(scope="module")
def codes(quantizer) -> np.ndarray:
    return quantizer.transform(ROWS)


def write(quantizer, folder, source=ROWS, **options):
    options = {"rows_per_shard": PER_SHARD} | options
    return scale.write_shards(quantizer, source, folder, **options)


def interrupt(monkeypatch, after: int) -> None:
    """Make the write of shard number `after` fail."""
    save = shards_module.save_shard

    def failing(folder, number, *rest):
        if number == after:
            raise KeyboardInterrupt
        return save(folder, number, *rest)

    monkeypatch.setattr(shards_module, "save_shard", failing)


def test_shards_are_one_array(quantizer, codes, tmp_path):
    written = write(quantizer, tmp_path / "s")
    assert written.shape == codes.shape
    assert (written.n_shards, len(written), written.nbytes) == (4, 10_000, codes.nbytes)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        *(f"codes-0000{k}.safetensors" for k in range(4)), "encoder.safetensors", "manifest.json",
    ]  # fmt: skip
    opened = scale.open_shards(tmp_path / "s")
    opened.verify()
    np.testing.assert_array_equal(np.asarray(opened), codes)
    picks = [slice(None), slice(2990, 3010), slice(9000, None, 7), slice(5, 5), slice(-3, None),
             slice(10, 3, -2), 3000, -1, [9999, 0, 3000, 3000], np.arange(10_000) % 999 == 0,
             (slice(2995, 3005), slice(0, 2))]  # fmt: skip
    for pick in picks:
        np.testing.assert_array_equal(opened[pick], codes[pick], err_msg=str(pick))
    with pytest.raises(IndexError, match="row 10000 of 10000 codes"):
        opened[10_000]
    assert repr(opened) == "ShardedCodes(10,000 codes of 77 bits in 4 shards, LSH)"
    np.testing.assert_array_equal(opened.encoder.encode(ROWS), codes)


def test_shards_stay_mapped_not_copied(quantizer, tmp_path):
    written = write(quantizer, tmp_path / "s")
    part = written[100:200]
    assert not part.flags.owndata
    assert not part.flags.writeable
    with pytest.raises(ValueError, match="only by copying"):
        np.asarray(written, copy=False)


def test_writing_again_changes_nothing(quantizer, tmp_path, monkeypatch):
    write(quantizer, tmp_path / "s")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}
    interrupt(monkeypatch, after=0)  # nothing may be written
    write(quantizer, tmp_path / "s")
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}


@pytest.mark.parametrize("finish_with", ["quantizer", "encoder of the folder"])
def test_an_interrupted_job_goes_on_after_the_last_whole_shard(
    quantizer, codes, tmp_path, monkeypatch, finish_with
):
    with monkeypatch.context() as patch:
        interrupt(patch, after=2)
        with pytest.raises(KeyboardInterrupt):
            write(quantizer, tmp_path / "s")
    with pytest.raises(FormatError, match="interrupted after 6000 rows; write the shards again"):
        scale.open_shards(tmp_path / "s")
    part = scale.open_shards(tmp_path / "s", partial=True)
    np.testing.assert_array_equal(part[:], codes[:6000])
    first = (tmp_path / "s" / "codes-00000.safetensors").stat().st_mtime_ns
    written = write(quantizer if finish_with == "quantizer" else None, tmp_path / "s")
    np.testing.assert_array_equal(written[:], codes)
    assert (tmp_path / "s" / "codes-00000.safetensors").stat().st_mtime_ns == first


@pytest.mark.parametrize("complete", [False, True])
def test_damaged_shards_are_made_again(quantizer, codes, tmp_path, monkeypatch, complete):
    with monkeypatch.context() as patch:
        interrupt(patch, after=9 if complete else 3)
        with nullcontext() if complete else pytest.raises(KeyboardInterrupt):
            write(quantizer, tmp_path / "s")
    path = tmp_path / "s" / "codes-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"checksum mismatch in codes-00001.safetensors"):
        scale.open_shards(tmp_path / "s", partial=True).verify()
    np.testing.assert_array_equal(write(quantizer, tmp_path / "s")[:], codes)


def test_a_missing_or_cut_shard_is_named(quantizer, tmp_path):
    write(quantizer, tmp_path / "s")
    path = tmp_path / "s" / "codes-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"00002.safetensors: \d+ bytes, expected \d+ bytes"):
        scale.open_shards(tmp_path / "s")
    path.unlink()
    with pytest.raises(FormatError, match=r"codes-00002.safetensors: missing"):
        scale.open_shards(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: {"source": ROWS[:-1]}, r"another source \(crc32, shape differ\)"),
        (lambda q: {"source": -ROWS}, r"another source \(crc32 differ\)"),
        (lambda q: {"source": [ROWS]}, "another source"),
        (lambda q: {"quantizer": LSH(n_bits=77, random_state=1).fit(ROWS)}, "another fit of LSH"),
        (lambda q: {"quantizer": Sign().fit(ROWS)}, "another fit of LSH"),
        (lambda q: {"rows_per_shard": 10}, "have 3000 rows, rows_per_shard=10 was asked for"),
    ],
)
def test_other_jobs_are_refused(quantizer, tmp_path, change, message):
    write(quantizer, tmp_path / "s")
    options = {"quantizer": quantizer} | change(quantizer)
    with pytest.raises(ValueError, match=message):
        write(folder=tmp_path / "s", **options)


def test_folders_that_are_no_shards(quantizer, tmp_path):
    with pytest.raises(FileNotFoundError, match="the output folder does not exist"):
        write(quantizer, tmp_path / "none" / "s")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \(notes.txt\)"):
        write(quantizer, tmp_path)
    with pytest.raises(ValueError, match="there are no shards to finish; give a fitted quantizer"):
        write(None, tmp_path / "new")
    with pytest.raises(ValueError, match="rows_per_shard=0 must be a whole number"):
        write(quantizer, tmp_path / "s", rows_per_shard=0)
    with pytest.raises(ValueError, match="20 columns; this quantizer was fitted on 5"):
        write(Sign().fit(ROWS[:, :5]), tmp_path / "s2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2, this embcompress .* reads version 1; please upgrade"),
        ({"format": "other"}, "format 'other', expected 'embcompress-shards'"),
        ({"shards": [{"file": "a"}]}, "not a manifest of shards"),
        (None, "not a manifest of shards"),
    ],
)
def test_damaged_manifests(quantizer, tmp_path, change, message):
    write(quantizer, tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    values = json.loads(path.read_text())
    path.write_text("{" if change is None else json.dumps(values | change))
    with pytest.raises(FormatError, match=message):
        scale.open_shards(tmp_path / "s")


def test_an_iterator_can_be_written_once(quantizer, codes, tmp_path, monkeypatch):
    written = write(quantizer, tmp_path / "s", iter([ROWS[:10], ROWS[10:]]))
    np.testing.assert_array_equal(written[:], codes)
    with monkeypatch.context() as patch:
        interrupt(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            write(quantizer, tmp_path / "t", iter([ROWS]))
    with pytest.raises(ValueError, match="3000 rows are there, and an iterator cannot be told"):
        write(quantizer, tmp_path / "t", iter([ROWS]))


def test_one_writer_at_a_time(quantizer, tmp_path):
    pytest.importorskip("fcntl")
    with (
        shards_module.locked(tmp_path / "s"),
        pytest.raises(BlockingIOError, match="another process is writing to this folder"),
    ):
        write(quantizer, tmp_path / "s")


KILLED = """
import time
import numpy as np
from embcompress import LSH, scale
from embcompress.scale import shards
save = shards.save_shard
def slow(*arguments):
    time.sleep(0.15)  # time to be killed in
    return save(*arguments)
shards.save_shard = slow
rows = np.load("rows.npy", mmap_mode="r")
quantizer = scale.fit(LSH(n_bits=77, random_state=0), rows)
scale.write_shards(quantizer, "rows.npy", "shards", rows_per_shard=700)
"""


def test_a_killed_process_is_gone_on_from(quantizer, codes, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    folder = tmp_path / "shards"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED)], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while len([*folder.glob("codes-*")]) < 3:
            assert process.poll() is None, "the process ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    manifest = read_manifest(folder)
    assert not manifest.complete
    assert 2 <= len(manifest.shards) < 15
    # as if it had been killed in the middle of a file
    (folder / ".codes-00009.safetensors.abc.tmp").write_bytes(b"half")
    kept = {shard.file: (folder / shard.file).stat().st_mtime_ns for shard in manifest.shards}
    written = write(quantizer, folder, tmp_path / "rows.npy", rows_per_shard=700)
    np.testing.assert_array_equal(written[:], codes)
    assert kept == {name: (folder / name).stat().st_mtime_ns for name in kept}
    assert not [*folder.glob(".*")]


def test_search_over_shards_is_that_of_one_index(quantizer, codes, tmp_path):
    index = HammingIndex(n_bits=77)
    index.add(codes)
    expected = index.search(codes[:50], 20)
    written = write(quantizer, tmp_path / "s")
    sharded = [
        scale.ShardedIndex(written),
        scale.ShardedIndex(tmp_path / "s", n_bits=77),
        scale.ShardedIndex(np.array_split(codes, 3), n_bits=77),
        scale.ShardedIndex([codes[:5], codes[5:5], codes[5:]], n_bits=77),
    ]
    for each in sharded:
        found = each.search(codes[:50], 20)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    few = scale.ShardedIndex([codes[:2], codes[2:3]], n_bits=77).search(codes[:1], 5)
    assert few[1][0, 3:].tolist() == [-1, -1]
    assert few[0][0, 3:].tolist() == [78, 78]


def test_what_cannot_be_searched(quantizer, codes, tmp_path):
    with pytest.raises(ValueError, match="n_bits is needed"):
        scale.ShardedIndex([codes])
    with pytest.raises(ValueError, match="there are no codes to search"):
        scale.ShardedIndex([], n_bits=77)
    written = write(quantizer, tmp_path / "s")
    with pytest.raises(ValueError, match="the shards hold codes of 77 bits, not 80"):
        scale.ShardedIndex(written, n_bits=80)
    two = IIQ(bits_per_direction=2, random_state=0).fit(ROWS)
    with pytest.raises(ValueError, match="two bits per direction"):
        scale.ShardedIndex(write(two, tmp_path / "t"))
    with pytest.raises(ValueError, match="3 bytes per row"):
        scale.ShardedIndex(written).search(codes[:, :3], 2)


def test_the_encoder_of_the_folder_has_to_be_whole(quantizer, tmp_path):
    write(quantizer, tmp_path / "s")
    (tmp_path / "s" / "encoder.safetensors").write_bytes(b"x")
    with pytest.raises(FormatError, match=r"encoder.safetensors: 1 bytes, expected"):
        scale.open_shards(tmp_path / "s")
    with pytest.raises(ValueError, match=r"encoder.safetensors: missing or damaged"):
        write(quantizer, tmp_path / "s")


def test_a_manifest_that_claims_other_rows(quantizer, tmp_path):
    written = write(quantizer, tmp_path / "s")
    first = written.manifest.shards[0]
    wrong = replace(written.manifest, shards=[replace(first, rows=2999)])
    with pytest.raises(FormatError, match=r"codes of shape \(3000, 10\), expected \(2999, 10\)"):
        scale.ShardedCodes(tmp_path / "s", wrong, written.encoder).shard(0)
