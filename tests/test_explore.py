"""The page of `explore` as text: what is in it, what is left out, and how large it is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape

import numpy as np
import pytest
from command import run_here

from embcompress import IIQ, CompressedVectors, KeyedVectors, Sign, explore
from embcompress.container import FormatError, load_container


@pytest.fixture(scope="module")
def small(sample):
    return CompressedVectors.compress(sample, IIQ(100, bits_per_direction=2, random_state=0))


@pytest.fixture(scope="module")
def file(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("explore") / "small.safetensors"
    small.save(path)
    return path


def element(page, opening):
    """Text of the element that an opening tag begins."""
    name = re.match(r"<(\w+)", opening).group(1)
    return page.split(opening)[1].split(f"</{name}>")[0]


def held(page, folder):
    """The file that a page holds, opened."""
    raw = base64.b64decode(element(page, '<script type="application/octet-stream" id="file">'))
    (folder / "held").write_bytes(raw)
    return load_container(folder / "held", kind="lookup")


def test_the_page_holds_words_codes_and_levels_only(small, tmp_path):
    opened = held(explore.to_page(small), tmp_path)
    assert set(opened.tensors) == {
        "codes", "vocab", "vocab_lengths", "encoder_levels", "encoder_thresholds",
    }  # fmt: skip
    np.testing.assert_array_equal(opened.tensors["codes"], small.codes)
    assert bytes(opened.tensors["vocab"]).decode() == "".join(small.index_to_key)
    assert opened.metadata["n_bits"] == "100"
    assert opened.metadata["n_directions"] == "50"


def test_the_first_words_only(small, tmp_path):
    page = explore.to_page(small, limit=300)
    opened = held(page, tmp_path)
    np.testing.assert_array_equal(opened.tensors["codes"], small.codes[:300])
    assert bytes(opened.tensors["vocab"]).decode() == "".join(small.index_to_key[:300])
    assert "the first 300 of 5,000 words" in page
    assert "<dt>words</dt><dd>300</dd>" in page
    # more than there are is all of them
    assert explore.to_page(small, limit=9000) == explore.to_page(small)


def test_words_of_a_file_that_is_mapped(file, small, tmp_path):
    loaded = CompressedVectors.load(file)
    a, b = (held(explore.to_page(each), tmp_path).tensors for each in (loaded, small))
    assert all(np.array_equal(a[name], b[name]) for name in b)


def test_the_same_input_gives_the_same_page(small):
    assert explore.to_page(small) == explore.to_page(small)


def test_nothing_is_asked_for(small):
    page = explore.to_page(small)
    without_file = re.sub(r'id="file">[^<]*<', 'id="file"><', page)
    # names of XML and of the licence are no addresses to ask
    addresses = set(re.findall(r"https?://[\w./-]+", without_file))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"(?:src|href)=\"([^\"#]*)\"", without_file)) == {"data:,"}
    assert "import " not in re.sub(
        r"(?m)^ *(\*|//).*$", "", element(page, '<script type="module">')
    )
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_has_the_hashes_of_script_and_style(small):
    page = explore.to_page(small)
    policy = unescape(re.search(r'Security-Policy" content="([^"]*)"', page).group(1))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, opening in (("script", '<script type="module">'), ("style", "<style>")):
        digest = hashlib.sha256(element(page, opening).encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_facts_and_title(small, sample):
    page = explore.to_page(small)
    assert "<title>enwiki_sample_5k_100d.txt</title>" in page
    for fact in (
        "<dt>bits a word</dt><dd>100</dd>",
        "<dt>codes</dt><dd>65 kB</dd>",
        "<dt>as float32</dt><dd>2 MB, 30.8x larger</dd>",
    ):
        assert fact in page
    shown = re.search(r"this page</dt><dd>(\d+) kB", page).group(1)
    assert int(shown) == pytest.approx(len(page.encode()) / 1000, abs=0.6)
    unnamed = CompressedVectors.compress(KeyedVectors(["a", "b"], [[1, 2], [2, 1.0]]), Sign())
    assert "<title>Words</title>" in explore.to_page(unnamed)
    assert "<h1><bdi>a &lt;b&gt; &amp; $c</bdi></h1>" in explore.to_page(
        unnamed, title="a <b> & $c"
    )


def test_fifty_thousand_words_of_300_bits_take_less_than_4_megabytes(tmp_path):
    """Words as long as those of English, and codes as random as real ones."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlu"))
    words = ["".join(rng.choice(letters, n)) for n in rng.integers(4, 13, 50_000)]
    rows = rng.normal(size=(50_000, 300)).astype(np.float32)
    for bits in (1, 2):
        encoder = IIQ(300, bits_per_direction=bits, max_iter=1, random_state=0).fit(rows[:2000])
        small = CompressedVectors.encode(KeyedVectors(words, rows), encoder)
        assert explore.save_page(small, tmp_path / "page.html") <= 4_000_000
        assert (tmp_path / "page.html").stat().st_size <= 4_000_000


def test_what_cannot_be_shown(small, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="limit=0 must be at least 1"):
        explore.to_page(small, limit=0)
    empty = CompressedVectors(
        small.index_to_key.__class__.from_words([]), small.codes[:0], small.encoder, quantizer="IIQ"
    )
    with pytest.raises(ValueError, match="there is no word to show"):
        explore.to_page(empty)
    monkeypatch.setattr(explore, "LARGEST_PAGE", 100_000)
    with pytest.raises(ValueError, match=r"5,000 words would make a page of 1\d\d kB; pages have"):
        explore.save_page(small, tmp_path / "page.html")
    fitting = re.search(r"the first ([\d,]+) words would do", _message(small)).group(1)
    explore.to_page(small, limit=int(fitting.replace(",", "")) - 50)
    assert list(tmp_path.iterdir()) == []


def _message(small):
    with pytest.raises(ValueError, match="would do") as caught:
        explore.to_page(small)
    return str(caught.value)


def test_a_script_that_would_end_its_element_is_not_put_in(monkeypatch, tmp_path):
    for name in explore._SCRIPTS[:-1]:
        (tmp_path / name).write_text("")
    (tmp_path / "explore.js").write_text('const end = "</SCRIPT>";')
    monkeypatch.setattr(explore, "_WEB", tmp_path)
    with pytest.raises(ValueError, match="script of the page would end its element"):
        explore.bundle_scripts()


def test_command(file, tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    done = run_here("explore", file, "-o", target, "--limit", 100, "--title", "A title")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{target}  100 words x 100 bits, ")
    assert "<title>A title</title>" in target.read_text("utf-8")
    done = run_here("explore", file, "-o", target, "--json")
    assert json.loads(done.stdout) == {
        "written": [{"path": str(target), "bytes": target.stat().st_size}],
        "words": 5000,
        "bits": 100,
    }
    opened = []
    monkeypatch.setattr("typer.launch", opened.append)
    assert run_here("explore", file, "-o", target, "--open").returncode == 0
    assert opened == [target.as_uri()]


def test_a_large_page_comes_with_advice(file, tmp_path, monkeypatch):
    monkeypatch.setattr("embcompress.cli.explore._LARGE_PAGE", 1000)
    done = run_here("explore", file, "-o", tmp_path / "page.html")
    assert "--limit 50000 takes the first words only" in done.stdout


def test_command_refuses(file, sample_path, tmp_path):
    for arguments, message in [
        (["explore", file, "-o", file], "input and output are the same file"),
        (["explore", file, "-o", tmp_path / "no" / "page.html"], "output folder does not exist"),
        (["explore", file, "-o", tmp_path], "the output is a folder; name a file in it"),
        (["explore", sample_path, "-o", tmp_path / "p.html"], "not a safetensors file"),
        (["explore", file, "-o", tmp_path / "p.html", "--limit", 0], "Invalid value for .--limit."),
    ]:
        done = run_here(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.search(message, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "p.html").exists()
    CompressedVectors.load(file)


def test_a_page_is_no_file_of_vectors(small, tmp_path):
    (tmp_path / "held").write_bytes(explore.lookup_bytes(small, 10))
    with pytest.raises(FormatError, match="holds 'lookup', expected 'vectors'"):
        CompressedVectors.load(tmp_path / "held")
