from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open

import embcompress.container as container_module
from embcompress.container import (
    FormatError,
    atomic_write,
    dump_container,
    load_container,
    parse_container,
    save_container,
)

TENSORS = {
    "codes": np.arange(6, dtype=np.uint8).reshape(3, 2),
    "scales": np.array([0.5, 1.0, 2.0], dtype=np.float16),
    "matrix": np.arange(4, dtype=np.float32).reshape(2, 2),
    "offsets": np.array([0, 3, 7], dtype=np.int64),
}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "file.safetensors"
    save_container(target, TENSORS, kind="test", metadata={"note": "naïve"})
    return target


def rewrite(path, change):
    """Change the header of a file and write it back."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


def test_round_trip(path):
    opened = load_container(path, kind="test")
    assert opened.metadata["note"] == "naïve"
    assert set(opened.tensors) == set(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(opened.tensors[name], array)
        assert opened.tensors[name].dtype == array.dtype
        assert not opened.tensors[name].flags.writeable


def test_the_safetensors_library_reads_the_file(path):
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["format"] == "embcompress"
        for name, array in TENSORS.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)


def test_bytes_are_golden(path, monkeypatch, tmp_path):
    monkeypatch.setattr(container_module, "__version__", "0.0.0")
    save_container(path, TENSORS, kind="test", metadata={"b": "1", "a": "2"})
    again = tmp_path / "again.safetensors"
    save_container(
        again, dict(reversed(TENSORS.items())), kind="test", metadata={"a": "2", "b": "1"}
    )
    raw = path.read_bytes()
    assert raw == again.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    assert (8 + size) % 64 == 0
    assert raw[8 : 8 + size].rstrip() == (
        b'{"__metadata__":{"a":"2","b":"1","created_with":"embcompress 0.0.0",'
        b'"format":"embcompress","format_version":"1","kind":"test"},'
        b'"offsets":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},'
        b'"matrix":{"dtype":"F32","shape":[2,2],"data_offsets":[24,40]},'
        b'"scales":{"dtype":"F16","shape":[3],"data_offsets":[40,46]},'
        b'"codes":{"dtype":"U8","shape":[3,2],"data_offsets":[46,52]}}'
    )
    assert raw[8 + size :].hex() == (
        "000000000000000003000000000000000700000000000000"
        "000000000000803f0000004000004040"
        "0038003c0040"
        "000102030405"
    )


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.float16, np.float32, np.int64, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_any_array_comes_back(tmp_path_factory, array):
    target = tmp_path_factory.mktemp("any") / "a.safetensors"
    save_container(target, {"a": array, "b": np.zeros(3, np.uint8)}, kind="test")
    found = load_container(target, kind="test").tensors["a"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_truncated_at_any_length(path):
    raw = path.read_bytes()
    for size in [0, 4, 8, 20, len(raw) - 53, len(raw) - 1]:
        path.write_bytes(raw[:size])
        with pytest.raises(FormatError, match=rf"not a complete safetensors file .* {size} bytes"):
            load_container(path, kind="test")


def test_some_other_file(tmp_path):
    (tmp_path / "glove.txt").write_text("the 0.1 0.2\nof 0.3 0.4\n")
    with pytest.raises(FormatError, match=r"glove.txt: not a safetensors file \(23 bytes found"):
        load_container(tmp_path / "glove.txt", kind="test")


def test_damaged_header(path):
    raw = bytearray(path.read_bytes())
    raw[12] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        load_container(path, kind="test")


def test_newer_version(path):
    rewrite(path, lambda header: header["__metadata__"].update(format_version="2"))
    with pytest.raises(
        FormatError, match=r"format version '2', .* reads versions 1 to 1; .*upgrade"
    ):
        load_container(path, kind="test")


def test_version_that_is_no_number(path):
    rewrite(path, lambda header: header["__metadata__"].update(format_version="x"))
    with pytest.raises(FormatError, match="format version 'x'"):
        load_container(path, kind="test")


def test_other_kind_and_foreign_file(path):
    with pytest.raises(FormatError, match="holds 'test', expected 'vectors'"):
        load_container(path, kind="vectors")
    rewrite(path, lambda header: header.pop("__metadata__"))
    with pytest.raises(FormatError, match="not one of embcompress"):
        load_container(path, kind="test")


def test_checked_access(path):
    opened = load_container(path, kind="test")
    with pytest.raises(FormatError, match=r"array 'other' is missing \(found: codes, matrix"):
        opened.tensor("other", (np.uint8,), 1)
    with pytest.raises(FormatError, match="'codes' is uint8 with 2 axes, expected float32 with 1"):
        opened.tensor("codes", (np.float32,), 1)
    with pytest.raises(FormatError, match="metadata entry 'n_bits' is missing"):
        opened.integer("n_bits")
    with pytest.raises(FormatError, match="note='naïve' is not a whole number"):
        opened.integer("note")


def test_unknown_dtype(tmp_path):
    with pytest.raises(TypeError, match="array 'a' has dtype complex128; allowed: uint8"):
        save_container(tmp_path / "f", {"a": np.zeros(2, complex)}, kind="test")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_writing_stops(tmp_path, error):
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def write():
        with atomic_write(target) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_container(tmp_path / "out", TENSORS, kind="test")
    assert not list(tmp_path.iterdir())


def test_really_full_disk(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")

    def write():
        with (
            atomic_write(tmp_path / "out") as file,
            open("/dev/full", "wb", buffering=0) as full,
        ):
            file.write(b"something")
            full.write(b"x")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert not list(tmp_path.iterdir())


def test_folder_errors(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="output folder does not exist"),
        atomic_write(tmp_path / "no" / "file"),
    ):
        pass
    with pytest.raises(IsADirectoryError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_container(tmp_path, kind="test")
    with pytest.raises(FileNotFoundError):
        load_container(tmp_path / "missing", kind="test")


def test_permissions_of_the_file(tmp_path):
    target = tmp_path / "out"
    mask = os.umask(0o027)
    try:
        with atomic_write(target) as file:
            file.write(b"1")
        assert target.stat().st_mode & 0o777 == 0o640
        target.chmod(0o600)
        with atomic_write(target) as file:
            file.write(b"2")
        assert target.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(mask)


def test_bytes_are_those_of_the_file(tmp_path):
    save_container(tmp_path / "f", TENSORS, kind="test", metadata={"a": "b"})
    data = dump_container(TENSORS, kind="test", metadata={"a": "b"})
    assert data == (tmp_path / "f").read_bytes()
    parsed = parse_container(data, "a database", kind="test")
    assert parsed.metadata["a"] == "b"
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(parsed.tensors[name], array)
        assert parsed.tensors[name].dtype == array.dtype
    with pytest.raises(FormatError, match="a database: holds 'test', expected 'other'"):
        parse_container(data, "a database", kind="other")
    for end in (0, 5, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError, match=f"a database: {end} bytes that are not safetensors"):
            parse_container(data[:end], "a database", kind="test")
