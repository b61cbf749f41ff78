"""docs/format.md: its readers read real files, its example is the committed file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from embcompress import IIQ, CompressedVectors, KeyedVectors, Sign
from embcompress.container import FORMAT_VERSION, load_container
from embcompress.explore import lookup_bytes

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "format.md").read_text("utf-8")
PLAIN, WITH_NUMPY = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
QUANTIZERS = {
    "one": IIQ(random_state=0, max_iter=3),
    "one-75": IIQ(75, n_remove=1, random_state=0, max_iter=3),
    "two-100": IIQ(100, bits_per_direction=2, random_state=0, max_iter=3),
    "two-81": IIQ(81, bits_per_direction=2, random_state=0, max_iter=3),
    "sign": Sign("median"),
}


@pytest.fixture(scope="module", params=QUANTIZERS)
def file(request, sample, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "vectors.safetensors"
    some = KeyedVectors(sample.index_to_key[:1500], sample.vectors[:1500], source=sample.source)
    CompressedVectors.compress(some, QUANTIZERS[request.param]).save(path)
    return path


def plain_reader():
    scope: dict = {}
    exec(compile(PLAIN, "docs/format.md", "exec"), scope)
    return scope["Words"]


def test_the_plain_reader_is_short_and_needs_nothing():
    code = [line for line in PLAIN.splitlines() if line.strip()]
    assert len(code) <= 52
    imported = set(re.findall(r"^(?:import|from) (\w+)", PLAIN, flags=re.MULTILINE))
    assert imported == {"json", "math", "struct", "itertools"}


@pytest.mark.parametrize("kind", ["vectors", "lookup"])
def test_the_plain_reader_finds_the_same_neighbours(file, kind, tmp_path):
    small = CompressedVectors.load(file)
    if kind == "lookup":
        file = tmp_path / "lookup"
        file.write_bytes(lookup_bytes(small, len(small)))
    words = plain_reader()(file)
    assert words.words == list(small.index_to_key)
    assert words.numbers == small.encoder.values(small.codes).astype(int).tolist()
    for word in ("he", "world", "music"):
        found, wanted = words.most_similar(word, topn=8), small.most_similar(word, topn=8)
        np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], atol=1e-6)
        assert found[0][0] == wanted[0][0]
        for name, score in found:
            assert small.similarity(word, name) == pytest.approx(score)


def test_the_plain_reader_refuses_other_files(file):
    raw = file.read_bytes()
    file_of_tomorrow = file.with_name("tomorrow")
    file_of_tomorrow.write_bytes(raw.replace(b'"format_version":"1"', b'"format_version":"2"'))
    with pytest.raises(ValueError, match="not a file of embcompress, format version 1"):
        plain_reader()(file_of_tomorrow)


def test_encoding_and_decoding_with_numpy(file, sample, monkeypatch):
    monkeypatch.chdir(file.parent)
    scope: dict = {}
    exec(compile(WITH_NUMPY, "docs/format.md", "exec"), scope)
    small = CompressedVectors.load(file)
    np.testing.assert_allclose(
        scope["decode"](small.codes[:200]), small.encoder.decode(small.codes[:200]), atol=1e-5
    )
    fresh = sample.vectors[1500:2500]
    differing = np.bitwise_count(scope["encode"](fresh) ^ small.encoder.encode(fresh)).sum()
    assert differing <= 2  # scores of zero to rounding


def test_the_example_has_the_bytes_of_the_file():
    raw = (ROOT / "tests" / "web" / "golden.safetensors").read_bytes()
    block = PAGE.split("## Example")[1].split("```\n")[1]
    lines = re.findall(r"^(\d+) +((?:[0-9a-f]{2}(?: |$))+)", block, flags=re.MULTILINE)
    assert len(lines) == 18
    for place, shown in lines:
        expected = bytes.fromhex(shown)
        assert raw[int(place) :][: len(expected)] == expected, place
    # all of it from the word positions on
    n_shown = sum(len(bytes.fromhex(shown)) for place, shown in lines if int(place) >= 784)
    assert n_shown == len(raw) - 784
    names = re.findall(r"codes\[\d\], (\S+): bits ([01 ]+)", block)
    assert [name for name, _ in names] == ["king", "queen", "naïve", "river", "日本"]
    small = CompressedVectors.load(ROOT / "tests" / "web" / "golden.safetensors")
    for (_, bits), code in zip(names, small.codes, strict=True):
        whole = "".join(f"{byte:08b}" for byte in code)
        assert whole[:9] == bits.replace(" ", "")[:9]
        assert set(whole[9:]) == {"0"}
    assert small.similarity("king", "queen") == pytest.approx(1 - 2 / 9)


def tables():
    """First cells of the tables of the page, without code marks."""
    return set(
        re.findall(r"`([\w.]+)`", " ".join(re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE)))
    )


def test_every_array_and_entry_is_described(file, tmp_path):
    described = tables() | {"info_..."}
    raw = file.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert set(header) - {"__metadata__"} <= described
    entries = {name for name in header["__metadata__"] if not name.startswith("info_")}
    assert entries <= described
    small = CompressedVectors.load(file)
    (tmp_path / "lookup").write_bytes(lookup_bytes(small, 10))
    opened = load_container(tmp_path / "lookup", kind="lookup")
    part = PAGE.split("## Kind `lookup`")[1].split("## Other kinds")[0]
    for name in opened.tensors:
        assert f"`{name}`" in part, name


def test_every_kind_is_named():
    kinds = set()
    for path in (ROOT / "embcompress").rglob("*.py"):
        text = path.read_text("utf-8")
        kinds |= set(re.findall(r'^\w*_KIND = "(\w+)"', text, re.MULTILINE))
        kinds |= set(re.findall(r'save_container\(.*kind="(\w+)"', text))
    assert {"vectors", "bundle", "masks"} <= kinds
    assert all(f"`{kind}`" in PAGE for kind in kinds), kinds
    assert f"version {FORMAT_VERSION}" in PAGE.splitlines()[0]
