"""Folders as the Hugging Face hub has them, and the hub itself at its boundary."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import small_bundle
from command import run_here

from embcompress import IIQ, Bundle, CompressedVectors, FormatError, KeyedVectors, Sign
from embcompress import pretrained as module
from embcompress._optional import MissingExtraError
from embcompress.evaluation import SimilarityPairs, evaluate_similarity, space_of
from embcompress.quality import neighbour_recalls, recall_results

FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture(scope="module")
def small(sample):
    return CompressedVectors.compress(sample, IIQ(random_state=0, max_iter=3))


@pytest.fixture
def folder(small, tmp_path):
    return small.save_pretrained(tmp_path / "enwiki-100", license="cc-by-sa-4.0", language="en")


def snippet(card):
    return re.search(r"```python\n(.*?)```", card, flags=re.DOTALL).group(1)


def test_a_folder_comes_back(small, folder, tmp_path):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    small.save(tmp_path / "plain.safetensors")
    plain = (tmp_path / "plain.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == plain
    again = CompressedVectors.from_pretrained(folder)
    assert again.most_similar("king") == small.most_similar("king")
    assert CompressedVectors.from_pretrained(str(folder)).info == small.info


def test_a_bundle_comes_back(small, tmp_path, monkeypatch):
    bundle = Bundle.build(small, small_bundle.graph(small), max_words=500)
    folder = bundle.save_pretrained(tmp_path / "royal", results={"accuracy": 0.875})
    again = Bundle.from_pretrained(folder)
    texts = ["the king", "a river"]
    np.testing.assert_array_equal(again.predict_proba(texts), bundle.predict_proba(texts))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model_type"] == "embcompress-bundle"
    assert config["classes"] == ["royal", "wet"]
    card = (folder / "README.md").read_text("utf-8")
    assert "pipeline_tag: text-classification" in card
    assert "| accuracy | 0.875 |" in card
    monkeypatch.chdir(tmp_path)
    exec(snippet(card), {})
    assert run_here("predict", folder, *texts).stdout.split() == bundle.predict(texts).tolist()
    with pytest.raises(FormatError, match="holds 'bundle', expected 'vectors'"):
        CompressedVectors.from_pretrained(folder)


def test_config_has_the_figures_of_the_file(small, folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["library_name"] == "embcompress"
    assert config["kind"] == "vectors"
    assert config["format_version"] == 1
    assert [config[f"n_{name}"] for name in ("words", "bits", "features")] == [5000, 100, 100]
    assert config["quantizer"] == "IIQ"
    assert config["isotropy_after"] == small.info["isotropy_after"]


def test_the_hub_reads_the_card(folder):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard((folder / "README.md").read_text("utf-8"))
    assert card.data.library_name == "embcompress"
    assert card.data.pipeline_tag == "feature-extraction"
    assert card.data.license == "cc-by-sa-4.0"
    assert card.data.language == ["en"]
    assert {"embcompress", "binary-codes"} <= set(card.data.tags)


def test_front_matter_holds_any_text(small, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    license, languages = 'a: "b"\nc', ["no", "de"]  # no is false in YAML, unless quoted
    folder = small.save_pretrained(tmp_path / "x", license=license, language=languages)
    card = hub.ModelCard((folder / "README.md").read_text("utf-8"))
    assert card.data.license == license
    assert card.data.language == languages


def test_the_table_has_sizes_and_scores(sample, small, tmp_path):
    recalls = recall_results(sample, small, n_queries=50)
    assert list(recalls.values()) == list(neighbour_recalls(sample, small, n_queries=50).values())
    folder = small.save_pretrained(tmp_path / "a", results=recalls)
    card = (folder / "README.md").read_text("utf-8")
    assert "| codes | 65 kB | 30.8x |" in card
    n_bytes = (folder / "model.safetensors").stat().st_size
    assert f"| whole file | {n_bytes / 1000:.0f} kB | {2_000_000 / n_bytes:.1f}x |" in card
    for name, value in recalls.items():
        assert f"| {name} | {value:.3f} |" in card
    assert "## Quality" not in small_card(small, tmp_path)


def small_card(small, tmp_path):
    return (small.save_pretrained(tmp_path / "none") / "README.md").read_text("utf-8")


def test_results_of_an_evaluation(small, tmp_path):
    words = small.index_to_key[100:160]
    pairs = SimilarityPairs("made | up", list(pairwise(words)), np.arange(59.0))
    result = evaluate_similarity(space_of(small), pairs)
    skipped = SimpleNamespace(task="t", dataset="d", metric="m", value=None, low=None, high=None)
    folder = small.save_pretrained(tmp_path / "b", results=[result, skipped])
    card = (folder / "README.md").read_text("utf-8")
    shown = f"{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]"
    assert f"| similarity, made \\| up: {result.metric} | {shown} |" in card
    assert "t, d: m" not in card


def test_the_example_of_the_card_runs(folder, small, monkeypatch):
    monkeypatch.chdir(folder.parent)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(snippet((folder / "README.md").read_text("utf-8")), {})
    word = re.search(r"most_similar\('(\w+)'", (folder / "README.md").read_text("utf-8")).group(1)
    assert out.getvalue().strip() == repr(small.most_similar(word, topn=5))


def test_words_for_examples():
    assert module.example_word([",", "the", "which", "other"]) == "which"
    assert module.example_word([",", "."]) == ","
    assert module.example_word([]) == ""
    assert module.example_word(["a"] * 2000 + ["other"]) == "a"


def test_saving_again_replaces_and_a_failure_leaves_what_was(small, folder, sample, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = CompressedVectors.compress(sample, Sign())

    def fail(self, path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CompressedVectors, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            other.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    other.save_pretrained(folder)
    assert CompressedVectors.from_pretrained(folder).quantizer == "Sign"
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_folders_that_are_none(small, tmp_path):
    with pytest.raises(FileNotFoundError):
        small.save_pretrained(tmp_path / "no" / "folder")
    with pytest.raises(FileNotFoundError, match=r"has no model.safetensors or manifest.json$"):
        CompressedVectors.from_pretrained(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"\(found: weights.safetensors\)"):
        CompressedVectors.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"weights.safetensors is a file: open it with Compressed"):
        CompressedVectors.from_pretrained(tmp_path / "weights.safetensors")
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(FormatError, match=r"not one of embcompress.*model of another library\?"):
        CompressedVectors.from_pretrained(tmp_path)


def test_the_command_line_takes_folders(folder, small, tmp_path):
    done = run_here("info", folder)
    assert "5,000" in done.stdout
    done = run_here("search", folder, "king", "--json")
    wanted = [word for word, _ in small.most_similar("king")]
    assert [each["word"] for each in json.loads(done.stdout)["king"]] == wanted
    done = run_here("explore", folder, "-o", tmp_path / "page.html", "--limit", 10)
    assert done.returncode == 0
    (folder / "model.safetensors").unlink()
    done = run_here("search", folder, "king")
    assert done.returncode == 2
    message = f"{folder}: the folder has no model.safetensors or manifest.json"
    assert done.stderr == f"embcompress: {message}\n"


# The hub, which these tests do not reach --------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """Take the place of a function of the hub; calls must fit its real signature."""
    hub = pytest.importorskip("huggingface_hub")

    def replace(owner, name, answer):
        signature = inspect.signature(getattr(owner, name))
        calls = []

        def fake(*args, **kwargs):
            calls.append(signature.bind(*args, **kwargs).arguments)
            return answer(*args, **kwargs)

        monkeypatch.setattr(owner, name, fake)
        return calls

    hub.replace = replace
    yield hub
    del hub.replace


def test_reading_from_the_hub(hub, folder, small):
    calls = hub.replace(hub, "hf_hub_download", lambda **options: str(folder / options["filename"]))
    again = CompressedVectors.from_pretrained(
        "owner/words", revision="v1", token="hf_x", local_files_only=True
    )
    assert again.most_similar("king") == small.most_similar("king")
    assert len(calls) == 1
    asked = {name: calls[0][name] for name in ("repo_id", "filename", "revision", "token")}
    assert asked == {
        "repo_id": "owner/words", "filename": "model.safetensors", "revision": "v1",
        "token": "hf_x",
    }  # fmt: skip
    assert calls[0]["local_files_only"] is True
    assert calls[0]["library_name"] == "embcompress"


def test_uploading_to_the_hub(hub, small):
    uploaded = {}

    def upload(self, *, folder_path, **options):
        from pathlib import Path

        uploaded.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})
        return SimpleNamespace(commit_url="https://hub/commit/1", pr_url=None)

    made = hub.replace(
        hub.HfApi, "create_repo", lambda *_, **__: SimpleNamespace(repo_id="me/words")
    )
    sent = hub.replace(hub.HfApi, "upload_folder", upload)
    address = small.push_to_hub("words", private=True, license="mit", results={"recall": 0.5})
    assert address == "https://hub/commit/1"
    assert (made[0]["repo_id"], made[0]["private"], made[0]["exist_ok"]) == ("words", True, True)
    assert sent[0]["repo_id"] == "me/words"
    assert sent[0]["commit_message"].startswith("Upload with embcompress ")
    assert sorted(uploaded) == FILES
    card = uploaded["README.md"].decode()
    assert card.count("\n# words\n") == 1
    assert 'from_pretrained("me/words")' in card
    assert "| recall | 0.500 |" in card


def error_of(hub, name):
    """An error of the hub, without the answer of a server that it is made from."""
    import huggingface_hub.errors as errors

    kind = getattr(errors, name)
    error = kind.__new__(kind)
    error.args = ("first line\nsecond line",)
    return error


@pytest.mark.parametrize(
    ("name", "raised", "message"),
    [
        ("RepositoryNotFoundError", FileNotFoundError, "no folder, and no repository on the hub"),
        ("GatedRepoError", PermissionError, "open to those only who ask"),
        ("RevisionNotFoundError", FileNotFoundError, "has no revision 'v9'"),
        ("EntryNotFoundError", FileNotFoundError, "on the hub has no model.safetensors"),
        ("LocalEntryNotFoundError", ConnectionError, "not fetched before, and the hub is not"),
        (
            "OfflineModeIsEnabled",
            ConnectionError,
            r"the hub refused or gave no answer \(first line\)",
        ),
        ("HFValidationError", ValueError, r"no name of a repository on the hub \(owner/name\)"),
    ],
)
def test_errors_of_the_hub_in_one_line(hub, name, raised, message):
    def fail(**_):
        raise error_of(hub, name)

    hub.replace(hub, "hf_hub_download", fail)
    with pytest.raises(raised, match=message) as caught:
        CompressedVectors.from_pretrained("owner/words", revision="v9")
    assert "\n" not in str(caught.value)
    assert "owner/words" in str(caught.value)


def test_names_that_are_none_are_refused_without_asking(hub, tmp_path):
    for name in ("a b", tmp_path / "nothing", "./models/words", "a/b/c"):
        with pytest.raises(ValueError, match="is no folder, and no name of a repository"):
            CompressedVectors.from_pretrained(name)


def test_errors_of_the_client_when_uploading(hub, small):
    import huggingface_hub.errors as errors

    client_error = errors.HfHubHTTPError.__mro__[1]

    def fail(*_, **__):
        raise client_error("[Errno -2] Name or service not known")

    hub.replace(hub.HfApi, "create_repo", fail)
    with pytest.raises(
        ConnectionError, match=r"'me/words': the hub refused or gave no answer \(\[Errno -2\]"
    ):
        small.push_to_hub("me/words")


def test_without_the_library(small, tmp_path, monkeypatch):
    def missing(name, **options):
        raise MissingExtraError(f'{options["feature"]}: pip install "embcompress[hub]"')

    monkeypatch.setattr(module, "require", missing)
    small.save_pretrained(tmp_path / "local")  # a folder needs no library
    assert len(CompressedVectors.from_pretrained(tmp_path / "local")) == len(small)
    with pytest.raises(MissingExtraError, match=r"'me/words' is no folder, and the Hugging Face"):
        CompressedVectors.from_pretrained("me/words")


def test_vectors_without_words(tmp_path):
    kv = KeyedVectors(["a", "b"], [[1.0, 2], [2, 1]])
    small = CompressedVectors.compress(kv, Sign())
    empty = CompressedVectors(
        small.index_to_key.__class__.from_words([]), small.codes[:0], small.encoder, quantizer="x"
    )
    folder = empty.save_pretrained(tmp_path / "empty")
    assert len(CompressedVectors.from_pretrained(folder)) == 0
