"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command import run_here

from embcompress import CompressedVectors, load_vectors
from embcompress.cli._output import human_bytes


def run(*arguments, **options):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "embcompress", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def fails(*arguments):
    """Run a command that must end with one line on standard error and exit status 2."""
    done = run_here(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("embcompress: ")
    return done.stderr.removeprefix("embcompress: ").strip()


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, sample_path):
    target = tmp_path_factory.mktemp("cli") / "sample.safetensors"
    done = run("compress", sample_path, "-o", target)
    assert done.returncode == 0, done.stderr
    return target


def test_help_reads_well():
    text = run("--help").stdout
    for command in ("compress", "info", "search", "analogy", "export", "convert"):
        assert command in text
        page = run(command, "--help").stdout
        assert f"Usage: embcompress {command}" in page
        assert "--help" in page
    assert run("--version").stdout.startswith("embcompress 0.")
    assert "Usage" in run().stdout + run().stderr


def test_compress_summary(tmp_path, sample_path):
    done = run("compress", sample_path, "-o", tmp_path / "s.safetensors", "--quality")
    assert done.returncode == 0
    assert done.stderr == ""  # no progress bar where standard error is no terminal
    for expected in (
        "5,000 x 100 dimensions",
        "100 bits, IIQ",
        "30.8x smaller than float32",
        "isotropy",
        "recall@10",
        "read",
    ):
        assert expected in done.stdout


def test_compress_json(tmp_path, sample_path):
    target = tmp_path / "s.safetensors"
    done = run("compress", sample_path, "-o", target, "--bits", 64, "--quality", "--json")
    summary = json.loads(done.stdout)
    assert summary["words"] == 5000
    assert summary["bits"] == 64
    assert summary["code_bytes"] == 5000 * 8
    assert summary["file_bytes"] == target.stat().st_size
    assert set(summary["seconds"]) == {"read", "fit", "encode", "write", "quality"}
    assert 0 < summary["recall_at_10"]["hamming"] < summary["recall_at_10"]["asymmetric"] < 1
    assert CompressedVectors.load(target).n_bits == 64


@pytest.mark.parametrize(
    ("arguments", "n_bits"),
    [
        (["--quantizer", "sign"], 100),
        (["--quantizer", "itq", "--bits", 40], 40),
        (["--quantizer", "lsh", "--bits", 130], 130),
        (["--quantizer", "pcasign"], 100),
        (["--n-remove", 2], 100),
        (["--limit", 1000, "--seed", 5], 100),
        (["--streaming"], 100),
    ],
    ids=str,
)
def test_compress_options(arguments, n_bits, tmp_path, sample_path):
    done = run("compress", sample_path, "-o", tmp_path / "s", *arguments)
    assert done.returncode == 0, done.stderr
    small = CompressedVectors.load(tmp_path / "s")
    assert small.n_bits == n_bits
    assert len(small) == (1000 if "--limit" in arguments else 5000)
    if "--n-remove" in arguments:
        assert small.info["n_removed"] == "2"


def test_streaming_gives_the_same_codes(tmp_path, sample_path, compressed):
    # the sample is smaller than what is fitted on, so both ways see the same rows
    run("compress", sample_path, "-o", tmp_path / "s", "--streaming")
    streamed = CompressedVectors.load(tmp_path / "s")
    whole = CompressedVectors.load(compressed)
    assert streamed.index_to_key == whole.index_to_key
    assert streamed.source == whole.source
    assert np.mean(streamed.codes != whole.codes) < 1e-3


def test_info(compressed):
    text = run("info", compressed).stdout
    for expected in ("5,000", "100 bits, IIQ", "30.8x codes alone", "(glove)", "the of and in"):
        assert expected in text
    described = json.loads(run("info", compressed, "--json").stdout)
    assert sum(described["parts"].values()) == compressed.stat().st_size
    assert described["info"]["n_removed"] == "0"


def test_search(compressed):
    small = CompressedVectors.load(compressed)
    found = json.loads(run("search", compressed, "king", "music", "-n", 3, "--json").stdout)
    assert list(found) == ["king", "music"]
    assert [n["word"] for n in found["king"]] == [
        word for word, _ in small.most_similar("king", topn=3)
    ]
    text = run("search", compressed, "king", "--scoring", "asymmetric").stdout
    assert len(text.splitlines()) == 11


def test_analogy(compressed):
    small = CompressedVectors.load(compressed)
    found = json.loads(run("analogy", compressed, "good", "better", "large", "--json").stdout)
    expected = small.most_similar(["better", "large"], ["good"], topn=5, scoring="asymmetric")
    assert [answer["word"] for answer in found["answers"]] == [word for word, _ in expected]
    assert "good : better = large :" in run("analogy", compressed, "good", "better", "large").stdout


@pytest.mark.parametrize("to", ["word2vec", "word2vec-bin", "glove"])
def test_export_vectors(to, compressed, tmp_path):
    done = run("export", compressed, "--to", to, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    vectors = load_vectors(tmp_path / "out")
    small = CompressedVectors.load(compressed)
    assert vectors.index_to_key == small.index_to_key
    np.testing.assert_array_equal(vectors.vectors, small.decode().vectors)


def test_export_gensim(compressed, tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    assert run("export", compressed, "--to", "gensim", "-o", tmp_path / "out.kv").returncode == 0
    loaded = models.KeyedVectors.load(str(tmp_path / "out.kv"))
    small = CompressedVectors.load(compressed)
    np.testing.assert_array_equal(loaded.vectors, small.decode().vectors)


def test_export_faiss(compressed, tmp_path):
    import faiss

    assert run("export", compressed, "--to", "faiss", "-o", tmp_path / "out.faiss").returncode == 0
    small = CompressedVectors.load(compressed)
    index = faiss.read_index_binary(str(tmp_path / "out.faiss"))
    words = (tmp_path / "out.faiss.words.txt").read_text("utf-8").splitlines()
    assert words == list(small.index_to_key)
    assert index.ntotal == 5000
    query = np.zeros((1, index.d // 8), np.uint8)
    query[0, : small.codes.shape[1]] = small.codes[small.get_index("king")]
    _, found = index.search(query, 4)
    assert [words[i] for i in found[0][1:]] == [w for w, _ in small.most_similar("king", topn=3)]


def test_export_npz(compressed, tmp_path):
    assert run("export", compressed, "--to", "npz", "-o", tmp_path / "out.npz").returncode == 0
    small = CompressedVectors.load(compressed)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        np.testing.assert_array_equal(out["codes"], small.codes)
        assert out["words"].tolist() == list(small.index_to_key)
        assert out["n_bits"] == 100


def test_what_was_written_as_json(compressed, sample_path, tmp_path):
    for arguments in (
        ("export", compressed, "--to", "faiss", "-o", tmp_path / "out.faiss"),
        ("convert", sample_path, tmp_path / "out.bin"),
    ):
        done = run_here(*arguments, "--json")
        for file in json.loads(done.stdout)["written"]:
            assert os.path.getsize(file["path"]) == file["bytes"]


@pytest.mark.parametrize("name", ["a.vec", "a.bin", "a.txt.gz", "a.npz"])
def test_convert(name, sample, sample_path, tmp_path):
    done = run("convert", sample_path, tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert "5,000 words x 100" in done.stdout
    np.testing.assert_array_equal(load_vectors(tmp_path / name).vectors, sample.vectors)


def test_user_errors(compressed, sample_path, tmp_path):
    out = tmp_path / "out"
    assert "close words: kings, king" in fails("search", compressed, "kinggs")
    assert "No such file" in fails("compress", tmp_path / "missing.txt", "-o", out)
    assert "output folder does not exist" in fails("compress", sample_path, "-o", out / "deep")
    assert "the output is a folder" in fails("compress", sample_path, "-o", tmp_path)
    assert "n_bits=200" in fails(
        "compress", sample_path, "-o", out, "--quantizer", "itq", "--bits", 200
    )
    assert "a whole number or auto" in fails("compress", sample_path, "-o", out, "--n-remove", "x")
    assert "--n-remove is for iiq" in fails(
        "compress", sample_path, "-o", out, "--n-remove", 2, "--quantizer", "itq"
    )
    assert "leaves no direction" in fails("compress", sample_path, "-o", out, "--n-remove", 100)
    assert "sign makes one bit per dimension" in fails(
        "compress", sample_path, "-o", out, "--bits", 5, "--quantizer", "sign"
    )
    assert "leave out --streaming" in fails(
        "compress", sample_path, "-o", out, "--quality", "--streaming"
    )
    assert "not a safetensors file" in fails("info", sample_path)
    assert "--bits" in fails("compress", sample_path, "-o", out, "--bits", 0)
    assert "--help" in fails("compress", sample_path)
    assert "zzz" in fails("export", compressed, "--to", "zzz", "-o", out)
    same = tmp_path / "same.txt"
    same.write_text("a 1 2\nb 3 4\n")
    assert "same file" in fails("compress", same, "-o", same)
    assert same.read_text() == "a 1 2\nb 3 4\n"
    assert [p.name for p in tmp_path.iterdir()] == ["same.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_folder_that_is_not_writable(sample_path, tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert "not writable" in fails("compress", sample_path, "-o", tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)


def test_full_disk(sample_path, tmp_path):
    """A file size limit stands in for a full disk: the write fails half-way."""
    import resource

    done = run(
        "compress",
        sample_path,
        "-o",
        tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def wait_until_mapped(process, path):
    """Wait until a process is reading a file, which it maps into its memory."""
    maps = f"/proc/{process.pid}/maps"
    if not os.path.exists(maps):
        pytest.skip("this system does not show what a process has mapped")
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with open(maps) as lines:
            if str(path) in lines.read():
                return
        time.sleep(0.01)
    pytest.fail(f"the process never read {path}")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(number, status, sample, tmp_path):
    source = tmp_path / "big.txt"
    rows = [
        f"{word} {' '.join(['0.12345'] * 99)} {i}" for i, word in enumerate(sample.index_to_key)
    ]
    text = "\n".join(rows) + "\n"
    with source.open("w") as file:
        for copy in range(60):
            file.write(text.replace("\n", f"\n{copy}x"))
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "embcompress", "compress", source, "-o", folder / "f"],
        stderr=subprocess.PIPE,
    )
    wait_until_mapped(process, source)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    if number == signal.SIGINT:
        assert b"interrupted; nothing was written" in errors
    assert not list(folder.iterdir())


def test_closed_pipe_is_no_error(compressed):
    shell = f"{sys.executable} -m embcompress search {compressed} king -n 2000 | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("king")
    assert "Traceback" not in done.stderr


def test_progress_on_a_terminal(monkeypatch):
    """A bar appears on a terminal once the work lasts, with rate and time left."""
    program = (
        "import time\n"
        "from embcompress.progress import ProgressBar\n"
        "with ProgressBar('Encoding', 30, unit='words') as bar:\n"
        "    for _ in range(15):\n"
        "        bar.advance(2); time.sleep(0.1)\n"
    )
    main, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", program], stderr=end, env=environment)
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(main, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0
    os.close(main)
    assert b"Encoding" in shown
    assert b"words/s" in shown


def test_short_work_shows_no_bar():
    from embcompress.progress import ProgressBar

    with ProgressBar("Short", 3) as bar:
        bar.advance(3)
        assert bar._rich is None


def test_human_bytes():
    assert [human_bytes(n) for n in (0, 999, 1000, 15_200_000, 1.1e9, 2e15)] == [
        "0 B",
        "999 B",
        "1 kB",
        "15.2 MB",
        "1.1 GB",
        "2e+03 TB",
    ]


def test_messages_name_options_as_they_are_typed(tmp_path, sample_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.txt", "cat 0.5 1\ndog 1 0.25\n")
        archive.writestr("b.txt", "cat 0.5 1\ndog 1 0.25\n")
    found = fails("compress", tmp_path / "two.zip", "-o", tmp_path / "out")
    assert "choose with --member: a.txt, b.txt" in found
    (tmp_path / "bad.txt").write_text("cat 0.5 1\ndog 1 x\ncow 1 2.5\n")
    assert "line 2: number 2, 'x'" in fails("compress", tmp_path / "bad.txt", "-o", tmp_path / "o")
    done = run("convert", tmp_path / "bad.txt", tmp_path / "good.vec", "--skip-bad")
    assert done.returncode == 0
    assert (tmp_path / "good.vec").read_text().splitlines()[0] == "2 2"
