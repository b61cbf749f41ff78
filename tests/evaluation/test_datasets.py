"""Data sets: registry, readers, and where files come from. A server on loopback plays the net."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import lzma
import os
import re
import socket
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from functools import partial

import numpy as np
import pytest

from embcompress import FormatError
from embcompress._optional import MissingExtraError
from embcompress.evaluation.datasets import (
    TASKS,
    DataFile,
    DatasetEntry,
    Form,
    dataset_path,
    dataset_paths,
    fetch,
    find_entry,
    list_datasets,
    load_dataset,
    load_embedding,
    readers,
)
from embcompress.evaluation.datasets.registry import REGISTRY

PAIRS = b"cat\tdog\t7.5\nsun\tmoon\t6\n"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Net:
    """A server of made files: what it sends for a path, and what it was asked for."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"
        self.files = {}
        self.claimed_length = {}
        self.asked = []


@pytest.fixture
def net(monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            net.asked.append(self.path)
            body = net.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            length = net.claimed_length.get(self.path, len(body))
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    net = Net(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield net
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, no data folder, and nothing shown yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EMBCOMPRESS_CACHE", str(folder))
    monkeypatch.delenv("EMBCOMPRESS_DATA", raising=False)
    monkeypatch.setattr(fetch, "_shown", set())
    return folder


@pytest.fixture
def register(monkeypatch):
    """Put a made data set into the registry."""

    def add(*files, read=readers.read_similarity, task="similarity", name="made", member=None):
        entry = DatasetEntry(name, task, (Form(files, read, member),), "a licence", "A paper.")
        monkeypatch.setitem(REGISTRY, name, entry)
        return entry

    return add


# --- the registry ---------------------------------------------------------------------------


def test_names_are_those_that_are_promised():
    names = {task: {entry.name for entry in list_datasets(task)} for task in TASKS}
    assert names["similarity"] == {
        "MC-30", "MEN", "MTurk-287", "RG-65", "RW", "SimLex-999", "WS-353", "WS-353-REL",
        "WS-353-SIM",
    }  # fmt: skip
    assert names["analogy"] == {"google", "msr", "semeval-2012"}
    assert names["categorization"] == {"ap", "battig", "bless", "esslli-2008-verbs"}
    assert names["text"] == {"mr", "subj", "trec", "sst2", "imdb"}
    assert {"glove.6B.300d", "glove.840B.300d", "enwiki_glove300_40k"} <= names["embedding"]
    assert sum(map(len, names.values())) == len(list_datasets()) == len(REGISTRY)


@pytest.mark.parametrize("entry", list_datasets(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry):
    assert REGISTRY[entry.name] is entry
    assert entry.task in TASKS
    assert entry.licence
    assert entry.citation.endswith(".")
    assert len({file.path for file in entry.files}) == len(entry.files) > 0
    for file in entry.files:
        assert not file.path.startswith("/")
        assert ".." not in file.path
        assert all(re.fullmatch(r"https://[^\s]+", address) for address in file.addresses)
        if file.checksum is not None:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.checksum)
    for form in entry.forms:
        assert (form.read is None) == (entry.task == "embedding")


def test_the_same_file_has_the_same_checksum_everywhere():
    files = Counter((file.path, file.checksum) for entry in list_datasets() for file in entry.files)
    assert len({path for path, _ in files}) == len(files)


def test_what_has_neither_address_nor_checksum_is_known():
    local = [entry.name for entry in list_datasets() if not entry.can_be_fetched]
    assert local == [
        "enwiki_sgns300_50k", "enwiki_glove300_40k", "enwiki_glove100_40k",
        "glove.6B.50d.head9163", "glove.6B.100d.head2604",
    ]  # fmt: skip
    unchecked = {
        file.path
        for entry in list_datasets()
        for file in entry.files
        if file.addresses and file.checksum is None
    }
    assert unchecked == {"embeddings/wiki-news-300d-1M-subword.vec.zip"}


def test_names_are_found_in_any_case():
    assert find_entry("simlex-999").name == "SimLex-999"
    assert find_entry("GLOVE.6b.50D").name == "glove.6B.50d"


def test_unknown_names_and_tasks_are_refused():
    with pytest.raises(ValueError, match=r"no data set 'simlex'; close names: .*SimLex-999"):
        load_dataset("simlex")
    with pytest.raises(ValueError, match=r"no data set 'qqqqqq'; none is close"):
        load_embedding("qqqqqq")
    with pytest.raises(ValueError, match=r"task='words' is not one of similarity, analogy"):
        list_datasets("words")
    with pytest.raises(ValueError, match=r"is an embedding; use load_embedding\('glove.6B.50d'\)"):
        load_dataset("glove.6B.50d")
    with pytest.raises(ValueError, match="MEN is a set for similarity; use load_dataset"):
        load_embedding("MEN")


# --- where files come from ------------------------------------------------------------------


def test_fetched_once_then_read_from_the_cache(net, register, cache, capsys):
    net.files["/pairs.txt"] = PAIRS
    register(DataFile("words/pairs.txt", (f"{net.address}/pairs.txt",), sha256(PAIRS)))
    first, second = load_dataset("made"), load_dataset("made")
    assert first.pairs == second.pairs == [("cat", "dog"), ("sun", "moon")]
    assert first.scores.tolist() == [7.5, 6.0]
    assert net.asked == ["/pairs.txt"]
    assert (cache / "words/pairs.txt").read_bytes() == PAIRS
    assert [p.name for p in (cache / "words").iterdir()] == ["pairs.txt"]
    assert dataset_path("made") == cache / "words/pairs.txt"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "made\n  licence: a licence\n  cite: A paper.\n"


def test_licence_is_shown_once_for_each_user(net, register, monkeypatch, capsys):
    net.files["/p"] = PAIRS
    register(DataFile("p", (f"{net.address}/p",)))
    load_dataset("made", quiet=True)
    assert capsys.readouterr().err == ""
    load_dataset("made")
    assert "licence: a licence" in capsys.readouterr().err
    monkeypatch.setattr(fetch, "_shown", set())  # another process
    load_dataset("made")
    assert capsys.readouterr().err == ""


def test_licence_is_shown_once_for_each_process_without_a_cache(
    register, monkeypatch, tmp_path, capsys
):
    (tmp_path / "p").write_bytes(PAIRS)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(tmp_path))
    monkeypatch.setenv("EMBCOMPRESS_CACHE", str(tmp_path / "file"))  # cannot hold anything
    register(DataFile("p"))
    load_dataset("made")
    load_dataset("made")
    assert capsys.readouterr().err.count("A paper.") == 1


def test_next_address_is_tried(net, register):
    net.files["/b"] = PAIRS
    addresses = (f"{net.address}/a", f"{net.address}/b")
    register(DataFile("p", addresses, sha256(PAIRS)))
    assert len(load_dataset("made", quiet=True)) == 2
    assert net.asked == ["/a", "/b"]


def test_wrong_checksum_of_what_is_fetched(net, register, cache):
    net.files["/p"] = PAIRS + b"x"
    register(DataFile("p", (f"{net.address}/p",), sha256(PAIRS)))
    with pytest.raises(
        ConnectionError,
        match=f"sent has the checksum {sha256(PAIRS + b'x')[7:]}, expected {sha256(PAIRS)}",
    ):
        load_dataset("made")
    assert list(cache.iterdir()) == []  # nothing half done is left behind


def test_broken_connection_leaves_nothing_and_the_next_call_fetches(net, register, cache):
    net.files["/p"] = PAIRS
    net.claimed_length["/p"] = len(PAIRS) + 10
    register(DataFile("p", (f"{net.address}/p",)))
    with pytest.raises(ConnectionError, match=r"connection to 127\.0\.0\.1 broke off"):
        load_dataset("made")
    assert list(cache.iterdir()) == []
    net.claimed_length.clear()
    assert len(load_dataset("made", quiet=True)) == 2


def test_no_network(register, cache, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:  # bound, not listening: connections are refused
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/p"
        register(DataFile("words/p", (address,), sha256(PAIRS)))
        with pytest.raises(ConnectionError) as caught:
            load_dataset("made")
    message = str(caught.value)
    assert f"cannot reach 127.0.0.1 ({address})" in message
    assert f"Download it by hand and put it to {cache / 'words/p'}" in message
    assert "set EMBCOMPRESS_DATA to a folder that has words/p" in message


def test_missing_page(net, register):
    register(DataFile("p", (f"{net.address}/p",)))
    with pytest.raises(ConnectionError, match=r"/p answered 404"):
        load_dataset("made")


def test_what_was_put_by_hand_is_read(register, cache):
    cache.mkdir()
    (cache / "p").write_bytes(PAIRS)
    register(DataFile("p", ("https://example.invalid/p",), sha256(PAIRS)))
    assert len(load_dataset("made", quiet=True)) == 2


def test_wrong_checksum_in_the_cache(register, cache):
    cache.mkdir()
    (cache / "p").write_bytes(PAIRS[:-1])
    register(DataFile("p", ("https://example.invalid/p",), sha256(PAIRS)))
    with pytest.raises(FormatError) as caught:
        load_dataset("made")
    found, expected = sha256(PAIRS[:-1])[7:], sha256(PAIRS)[7:]
    assert str(caught.value) == (
        f"{cache / 'p'} has a wrong checksum: sha256 {found}, expected {expected}; "
        "delete it to fetch it again"
    )
    (cache / "p").write_bytes(PAIRS)  # a mended file is noticed
    assert len(load_dataset("made", quiet=True)) == 2


def test_wrong_checksum_of_one_of_several_fetched_files(net, register, cache):
    cache.mkdir()
    (cache / "a").write_bytes(b"0 damaged\n")
    net.files["/b"] = b"1 good\n"
    register(
        DataFile("a", (f"{net.address}/a",), sha256(b"0 bad\n")),
        DataFile("b", (f"{net.address}/b",), sha256(b"1 good\n")),
        task="text",
    )
    with pytest.raises(FormatError, match="wrong checksum"):
        load_dataset("made")


def test_data_folder_goes_first(register, cache, monkeypatch, tmp_path):
    data = tmp_path / "data"
    for folder, score in ((data, b"1"), (cache, b"2")):
        folder.mkdir()
        (folder / "p").write_bytes(b"a b " + score)
    register(DataFile("p"))
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(data))
    assert load_dataset("made", quiet=True).scores.tolist() == [1.0]
    assert dataset_paths("made") == (data / "p",)
    (data / "p").unlink()
    assert load_dataset("made", quiet=True).scores.tolist() == [2.0]


def test_wrong_checksum_in_the_data_folder(register, monkeypatch, tmp_path):
    (tmp_path / "p").write_bytes(b"")
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(tmp_path))
    register(DataFile("p", (), sha256(PAIRS)))
    with pytest.raises(FormatError, match=r"wrong checksum: .* replace it, or unset EMB"):
        load_dataset("made")


def test_no_public_address(register, monkeypatch, tmp_path):
    register(DataFile("a/p"), DataFile("a/q"))
    with pytest.raises(
        FileNotFoundError,
        match=r"made has no public address .* a/p and a/q below .* \(which is not set\)",
    ):
        load_dataset("made")
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"\({re.escape(str(tmp_path))}, and is not there"):
        load_dataset("made")


def test_data_folder_that_is_none(register, monkeypatch, tmp_path):
    register(DataFile("p"))
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(tmp_path / "absent"))
    with pytest.raises(NotADirectoryError, match=r"EMBCOMPRESS_DATA=.*absent is not a folder"):
        load_dataset("made")


def test_licence_is_not_marked_as_shown_by_a_failed_fetch(net, register, cache, capsys):
    register(DataFile("p", (f"{net.address}/p",)))
    with pytest.raises(ConnectionError):
        load_dataset("made")
    assert capsys.readouterr().err == ""
    assert not (cache / "shown").exists()


def test_cache_that_cannot_be_written(net, register, monkeypatch, tmp_path):
    net.files["/p"] = PAIRS
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBCOMPRESS_CACHE", str(tmp_path / "file"))
    register(DataFile("p", (f"{net.address}/p",)))
    with pytest.raises(OSError, match=r"cannot write into the cache .*; set EMBCOMPRESS_CACHE"):
        load_dataset("made")


def test_without_pooch(register, cache, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    register(DataFile("p", ("https://example.invalid/p",)))
    for variable in ("EMBCOMPRESS_CACHE", "unrelated"):
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(MissingExtraError, match=r'pip install "embcompress\[datasets\]"'):
            load_dataset("made")
    (tmp_path / "p").write_bytes(PAIRS)
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(tmp_path))
    assert len(load_dataset("made")) == 2  # what is at hand needs no pooch


def test_cache_folder_of_the_user(monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("EMBCOMPRESS_CACHE")
    assert fetch.cache_folder() == pooch.os_cache("embcompress")
    monkeypatch.setenv("EMBCOMPRESS_CACHE", "~/elsewhere")
    assert fetch.cache_folder().is_absolute()


def test_embedding_picks_its_member(net, register, cache, capsys):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("tiny.2d.txt", "cat 1 2\ndog 3 4\nsun 5 6\n")
        archive.writestr("tiny.3d.txt", "cat 1 2 3\n")
    data = packed.getvalue()
    net.files["/tiny.zip"] = data
    file = DataFile("embeddings/tiny.zip", (f"{net.address}/tiny.zip",), sha256(data))
    register(file, read=None, task="embedding", name="tiny.2d", member="tiny.2d.txt")
    register(file, read=None, task="embedding", name="tiny.3d", member="tiny.3d.txt")
    vectors = load_embedding("tiny.2d", limit=2)
    assert list(vectors.index_to_key) == ["cat", "dog"]
    assert vectors.vectors.tolist() == [[1, 2], [3, 4]]
    assert load_embedding("tiny.3d", quiet=True).vectors.shape == (1, 3)
    assert net.asked == ["/tiny.zip"]
    assert capsys.readouterr().err.startswith("tiny.2d\n  licence")


def test_progress_counts_every_byte_once():
    class Bar:
        total = None
        done = 0

        def advance(self, amount):
            self.done += amount

    meter = fetch._Meter(Bar())
    meter.total = 10
    for chunk in (4, 4, 4):  # whole chunks, as pooch reports them
        meter.update(chunk)
    meter.reset()
    meter.update(10)
    meter.close()
    assert (meter.total, meter._bar.done) == (10, 10)


def test_several_files_have_no_single_path(register, cache):
    cache.mkdir()
    (cache / "a").touch()
    (cache / "b").touch()
    register(DataFile("a"), DataFile("b"))
    assert dataset_paths("made") == (cache / "a", cache / "b")
    with pytest.raises(ValueError, match=r"made lies in 2 files \(a, b\); use dataset_paths"):
        dataset_path("made")


# --- readers --------------------------------------------------------------------------------


def written(tmp_path, *contents):
    paths = [tmp_path / f"file{i}" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def test_similarity_forms(tmp_path):
    tabs = b"\xef\xbb\xbfice cream\tdog\t1\r\n\r\ncaf\xc3\xa9\tsun\t-2e1"
    read = readers.read_similarity("x", written(tmp_path, tabs))
    assert read.pairs == [("ice cream", "dog"), ("café", "sun")]
    assert read.scores.tolist() == [1.0, -20.0]
    assert readers.read_similarity("x", written(tmp_path, b"a  b 3\n")).pairs == [("a", "b")]


def test_analogy_forms(tmp_path):
    sections = b": one\na b c d\ne f g h\n: two words\nA B C D\n"
    read = readers.read_analogy_sections("x", written(tmp_path, sections))
    assert read.questions == [tuple("abcd"), tuple("efgh"), tuple("ABCD")]
    assert read.sections == ["one", "one", "two words"]
    table = b',type,word1,word2,word3,target\n0,1a,a,b,c,d\n1,2b,"x, y",b,c,d\'s\n'
    read = readers.read_analogy_csv("x", written(tmp_path, table))
    assert read.questions == [("a", "b", "c", "d"), ("x, y", "b", "c", "d's")]
    assert read.sections == ["1a", "2b"]


def test_categories_leave_rows_without_a_word_out(tmp_path):
    table = b",category,word\r\n0,tree,oak\r\n1,tree,\r\n2,four-footed animal,dog\r\n"
    read = readers.read_categories("x", written(tmp_path, table))
    assert read.words == ["oak", "dog"]
    assert read.labels == ["tree", "four-footed animal"]


def test_labelled_lines_in_old_encodings(tmp_path):
    # U+0085 in Latin-1, the dots of Windows-1252; 0x81 exists in neither UTF-8 nor Windows-1252
    lines = [b"0 wait \x85 caf\xe9\n1 b\n", "0 naïve\n".encode(), b"1 \x81\n"]
    read = readers.read_labelled_lines(
        "x", written(tmp_path, *lines), label_names=["no", "yes"], test_files=(False, False, True)
    )
    assert read.texts == ["wait … café", "b", "naïve", "\x81"]
    assert read.labels.tolist() == [0, 1, 0, 1]
    assert read.is_test.tolist() == [False, False, False, True]
    one = readers.read_labelled_lines("x", written(tmp_path, b"0 a\n"), label_names=["no"])
    assert one.is_test is None


def reviews(*rows):
    return lzma.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def test_reviews(tmp_path):
    paths = written(
        tmp_path,
        reviews({"y": 1, "text": "good\u2028é"}, {"y": 0, "text": "bad", "rating": 1}),
        reviews({"y": 0, "text": ""}),
    )
    read = readers.read_reviews("x", paths, label_names=["neg", "pos"])
    assert read.texts == ["good\u2028é", "bad", ""]
    assert read.labels.tolist() == [1, 0, 0]
    assert read.is_test.tolist() == [False, False, True]


def imdb_archive(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"aclImdb/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return packed.getvalue()


def test_imdb_archive(tmp_path):
    data = imdb_archive(
        {
            "test/pos/0_9.txt": b"four",
            "train/neg/10_1.txt": b"two",
            "train/unsup/1_0.txt": b"never",
            "train/pos/3_8.txt": "thré".encode(),
            "train/neg/9_2.txt": b"one",
            "README": b"never",
        }
    )
    read = readers.read_imdb_archive("x", written(tmp_path, data), label_names=["neg", "pos"])
    assert read.texts == ["one", "two", "thré", "four"]
    assert read.labels.tolist() == [0, 0, 1, 1]
    assert read.is_test.tolist() == [False, False, False, True]


TEXTS = partial(readers.read_labelled_lines, label_names=["no", "yes"])
SIMILARITY, SECTIONS = readers.read_similarity, readers.read_analogy_sections
TABLE, CATEGORIES = readers.read_analogy_csv, readers.read_categories
HEADER = b",type,word1,word2,word3,target\n"


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (SIMILARITY, b"a b 1\n\na b\n", "line 3: two words and a score were expected, found 'a b'"),
        (SIMILARITY, b"a\tb\t1\t2\n", "line 1: two words and a score"),
        (SIMILARITY, b"a\t\t1\n", "line 1: two words and a score"),
        (SIMILARITY, b"a b x\n", "line 1: the score is not a number, found 'x'"),
        (SIMILARITY, b"a b nan\n", "line 1: the score is not a number, found 'nan'"),
        (SIMILARITY, b"\n \n", "holds nothing that can be read"),
        (SECTIONS, b"a b c d\n", "line 1: a line ': section' was expected before the first"),
        (SECTIONS, b": s\na b c\n", "line 2: 3 words; a question has four, found 'a b c'"),
        (SECTIONS, b": s\n", "holds nothing"),
        (TABLE, b"0,t,a,b,c,d\n", "line 1: the header ',type,word1,word2,word3,target' was"),
        (TABLE, HEADER + b"0,t,a,b,c\n", "line 2: 6 columns were expected, found '0,t,a,b,c'"),
        (TABLE, HEADER + b"0,t,a,,c,d\n", "line 2: an empty column"),
        (TABLE, HEADER + b'0,t,"a"b,c,d\n', "line 2: "),
        (TABLE, b"", "line 1: the header"),
        (TABLE, HEADER, "holds nothing"),
        (CATEGORIES, b",category,word\n0,,oak\n", "line 2: no category"),
        (CATEGORIES, b",category,word\n0,tree,\n", "holds nothing"),
        (TEXTS, b"0 a\n2 b\n", "line 2: a label from 0 to 1 was expected, found '2'"),
        (TEXTS, b"-1 b\n", "line 1: a label from 0 to 1"),
        (TEXTS, b"0\n", "line 1: a label and a text were expected"),
        (TEXTS, b"x" * 100, r"found 'x{57}\.\.\.'"),
    ],
)
def test_damaged_lines_are_named(tmp_path, read, content, message):
    with pytest.raises(FormatError, match="^file0.*" + message):
        read("x", written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lzma.compress(b'{"y": 0, "text": "a"}\n{"y": 0}\n'), 'line 2: an object with "y" and "te'),
        (lzma.compress(b'{"y": 0, "text": 1}\n'), 'line 1: "text" is not a string'),
        (lzma.compress(b'{"y": 2, "text": "a"}\n'), "line 1: a label from 0 to 1"),
        (lzma.compress(b'{"y": true, "text": "a"}\n'), "line 1: a label from 0 to 1"),
        (lzma.compress(b"[]\n"), "line 1: an object"),
        (reviews({"y": 0, "text": "a" * 999})[:60], "is damaged: "),
        (b"plain", "is damaged: "),
    ],
)
def test_damaged_reviews_are_named(tmp_path, content, message):
    paths = written(tmp_path, content, reviews({"y": 0, "text": "a"}))
    with pytest.raises(FormatError, match=f"^file0.*{message}"):
        readers.read_reviews("x", paths, label_names=["neg", "pos"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"plain", "is damaged: "),
        (imdb_archive({"train/neg/1_1.txt": os.urandom(40000)})[:20000], "is damaged: "),
        (imdb_archive({"README": b""}), "holds nothing"),
    ],
)
def test_damaged_archives_are_named(tmp_path, content, message):
    with pytest.raises(FormatError, match=f"^file0.*{message}"):
        readers.read_imdb_archive("x", written(tmp_path, content), label_names=["neg", "pos"])


# --- the real files -------------------------------------------------------------------------

SIZES = {
    "MC-30": 30, "MEN": 3000, "MTurk-287": 287, "RG-65": 65, "RW": 2034, "SimLex-999": 999,
    "WS-353": 353, "WS-353-REL": 252, "WS-353-SIM": 203,
    "google": 19_544, "msr": 8_000, "semeval-2012": 10_014,
    "ap": 402, "battig": 5_231, "bless": 200, "esslli-2008-verbs": 45,
    "mr": 10_662, "subj": 10_000, "trec": 5_952, "sst2": 9_613, "imdb": 50_000,
}  # fmt: skip


@pytest.fixture
def real_data(data_folder, monkeypatch):
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(data_folder))
    return data_folder


def test_every_task_set_has_a_known_size():
    assert set(SIZES) == {entry.name for entry in list_datasets() if entry.task != "embedding"}


@pytest.mark.real_data
@pytest.mark.parametrize("name", SIZES)
def test_real_sizes(name, real_data):
    data = load_dataset(name, quiet=True)
    assert len(data) == SIZES[name]
    assert data.name == name
    if hasattr(data, "scores"):
        assert len(set(data.scores.tolist())) > 10


@pytest.mark.real_data
def test_real_sections_and_categories(real_data):
    n_sections = {"google": 14, "msr": 16, "semeval-2012": 79}
    for name, n in n_sections.items():
        assert len(set(load_dataset(name, quiet=True).sections)) == n
    google = load_dataset("google", quiet=True)
    assert google.questions[0] == ("Athens", "Greece", "Baghdad", "Iraq")
    assert google.sections[0] == "capital-common-countries"
    n_categories = {"ap": 21, "battig": 56, "bless": 17, "esslli-2008-verbs": 9}
    for name, n in n_categories.items():
        assert len(set(load_dataset(name, quiet=True).labels)) == n


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "n_test", "counts"),
    [
        ("mr", None, [5331, 5331]),
        ("subj", None, [5000, 5000]),
        ("trec", 500, [1300, 1344, 95, 1288, 916, 1009]),
        ("sst2", 1821, [4650, 4963]),
        ("imdb", 25_000, [25_000, 25_000]),
    ],
)
def test_real_labels_and_splits(name, n_test, counts, real_data):
    data = load_dataset(name, quiet=True)
    assert np.bincount(data.labels).tolist() == counts
    assert len(data.label_names) == len(counts)
    assert (None if data.is_test is None else data.is_test.sum()) == n_test
    # controls of Latin-1 would be Windows-1252 read wrongly (IMDB's JSON has a few of its own)
    assert name == "imdb" or not any(
        "\x80" <= sign <= "\x9f" for text in data.texts for sign in set(text)
    )


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "dims"),
    [("enwiki_sgns300_50k", 300), ("enwiki_glove300_40k", 300), ("enwiki_glove100_40k", 100),
     ("glove.6B.50d.head9163", 50), ("glove.6B.100d.head2604", 100)],
)  # fmt: skip
def test_real_embeddings(name, dims, real_data):
    vectors = load_embedding(name, limit=50, progress=False, quiet=True)
    assert vectors.vectors.shape == (50, dims)
