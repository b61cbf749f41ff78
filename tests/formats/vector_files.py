"""Files in every format and packing, and the slow, obvious reader that ours must agree with."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np

from embcompress import KeyedVectors


def pack(data: bytes, packing: str) -> bytes:
    """Pack bytes as a file of that kind would."""
    if packing == "plain":
        return data
    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[packing](data)


def write_packed(path, data: bytes, packing: str):
    """Write bytes under a name that says nothing about the packing."""
    if packing == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner/vectors.txt", data)
    else:
        path.write_bytes(pack(data, packing))
    return path


def oracle(text: bytes, d: int, header: bool = False) -> dict[str, np.ndarray]:
    """Read lines with Python's own float; the first of equal words counts."""
    table: dict[str, np.ndarray] = {}
    lines = text.split(b"\n")[1 if header else 0 :]
    for line in lines:
        fields = line.strip(b" \t\r").rsplit(b" ", d)
        if fields == [b""]:
            continue
        numbers = np.array([np.float32(float(field)) for field in fields[1:]])
        table.setdefault(fields[0].decode(), numbers)
    return table


def assert_same(vectors: KeyedVectors, expected: dict[str, np.ndarray]) -> None:
    """Words equal in order, and all bits of the numbers."""
    assert list(vectors.index_to_key) == list(expected)
    matrix = np.array(list(expected.values()), dtype=np.float32)
    assert vectors.vectors.dtype == np.float32
    assert vectors.vectors.tobytes() == matrix.tobytes()


def make_text(n: int, d: int, seed: int = 0, form: str = "%.5g") -> bytes:
    """Lines as GloVe writes them, with some awkward words."""
    rng = np.random.default_rng(seed)
    odd = {3: ". . .", 7: "at name@domain.com", 11: "caf\u00e9", 13: "a\u00a0b", 17: "x\u0085y"}
    odd |= {19: '"', 23: "'s", 29: "<unk>", 31: "1 2", 37: "42", 41: "#", 43: "-0.5"}
    lines = []
    for i in range(n):
        numbers = " ".join(form % x for x in rng.standard_normal(d) * 0.4)
        lines.append(f"{odd.get(i, f'word{i}')} {numbers}\n")
    return "".join(lines).encode()
