"""Files in the layout of the Hugging Face hub: a folder with a model, its config and a card.

A folder holds ``model.safetensors``, which is the file that ``save`` writes, ``config.json`` with
the figures of its header, and ``README.md``, the card with a table of sizes and measured scores.
"""

from __future__ import annotations

import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from embcompress._optional import require
from embcompress._version import __version__
from embcompress.container import FORMAT_VERSION, FormatError, atomic_write, kind_of
from embcompress.model_card import Results, Summary, model_card

__all__ = ["MODEL_FILE", "Pretrained", "example_word", "model_file"]

MODEL_FILE = "model.safetensors"
_CONFIG_FILE = "config.json"
_CARD_FILE = "README.md"
_LIBRARY = "embcompress"


class Pretrained(ABC):
    """Saving to a folder or to the hub, and reading from there.

    Not instantiated: :class:`~embcompress.CompressedVectors` and :class:`~embcompress.Bundle` are.
    """

    @abstractmethod
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Open the file."""

    @abstractmethod
    def _summary(self) -> Summary:
        """What a config and a card say of it."""

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        results: Results | None = None,
        license: str | None = None,
        language: str | Iterable[str] | None = None,
        repo_id: str | None = None,
    ) -> Path:
        """Write a folder as the Hugging Face hub has them: model, config and card.

        Files of these names that are there are replaced, each whole or not at all.

        Parameters
        ----------
        folder : path-like
            Made if it is not there; its parent must be.
        results : mapping of str to float, or iterable of results, optional
            Scores for the table of the card: names and numbers, such as
            :func:`embcompress.quality.recall_results` gives, or what the functions of
            :mod:`embcompress.evaluation` return.
        license : str, optional
            Name of the hub for the licence of the file, such as ``"cc-by-sa-4.0"``.
        language : str or iterable of str, optional
            Codes of its languages, such as ``"en"``.
        repo_id : str, optional
            Where it will be on the hub, for the example of the card. Default: the folder's name.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        OSError
            If the folder cannot be made or written.

        Examples
        --------
        >>> import tempfile
        >>> from embcompress import CompressedVectors, KeyedVectors, Sign
        >>> kv = KeyedVectors(["cat", "dog", "car"], [[1, 2, -1], [1, 1, -2], [-1, 1, 2.0]])
        >>> small = CompressedVectors.compress(kv, Sign())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = small.save_pretrained(folder, results={"recall@1, hamming": 1.0})
        ...     len(CompressedVectors.from_pretrained(path))
        3
        """
        target = Path(folder)
        target.mkdir(exist_ok=True)
        summary = self._summary()
        model = target / MODEL_FILE
        self.save(model)
        card = model_card(
            summary,
            type(self).__name__,
            n_bytes=model.stat().st_size,
            repo_id=repo_id or target.resolve().name,
            results=results,
            license=license,
            languages=[language] if isinstance(language, str) else list(language or ()),
        )
        for name, text in ((_CONFIG_FILE, _config(summary)), (_CARD_FILE, card)):
            with atomic_write(target / name) as file:
                file.write(text.encode("utf-8"))
        return target

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Open what :meth:`save_pretrained` or :meth:`push_to_hub` wrote.

        Parameters
        ----------
        name : path-like
            A folder, or ``owner/name`` of a repository on the hub (extra ``hub``).
        revision : str, optional
            Branch, tag or commit on the hub. Default: its main branch.
        cache_dir : path-like, optional
            Where files of the hub are kept. Default: that of `huggingface_hub`.
        token : str or bool, optional
            For private repositories. Default: the one that was logged in with.
        local_files_only : bool, default False
            Take what was fetched before, and ask nobody.

        Returns
        -------
        object of this class

        Raises
        ------
        FileNotFoundError
            If there is no such folder or repository, or no model in it.
        ConnectionError
            If the hub cannot be reached and the file was not fetched before.
        FormatError
            If the file is damaged, of a newer version, or holds something else.
        ValueError
            If it is a file, or no name of the hub.
        MissingExtraError
            If it is not a folder and `huggingface_hub` is not installed.
        """
        if Path(name).is_dir():
            return cls.load(model_file(name))
        if Path(name).is_file():
            raise ValueError(f"{name} is a file: open it with {cls.__name__}.load")
        with _hub(os.fspath(name), revision) as hub:
            path = hub.hf_hub_download(
                repo_id=os.fspath(name),
                filename=MODEL_FILE,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
                library_name=_LIBRARY,
                library_version=__version__,
            )
        return cls.load(path)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        results: Results | None = None,
        license: str | None = None,
        language: str | Iterable[str] | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload model, config and card to the Hugging Face hub (extra ``hub``).

        Parameters
        ----------
        repo_id : str
            ``owner/name``; made if it is not there.
        results, license, language
            As in :meth:`save_pretrained`.
        private : bool, optional
            Whether a repository that is made is private. Default: as the owner's settings say.
        token : str or bool, optional
            Default: the one that was logged in with.
        revision : str, optional
            Branch to write to. Default: the main branch.
        commit_message : str, optional
        create_pr : bool, default False
            Propose the change instead of making it.

        Returns
        -------
        str
            Address of the commit, or of the proposal.

        Raises
        ------
        OSError
            If the hub cannot be reached or refuses.
        ValueError
            If `repo_id` is no name of the hub.
        MissingExtraError
            If `huggingface_hub` is not installed.
        """
        with _hub(repo_id, revision) as hub:
            api = hub.HfApi(token=token, library_name=_LIBRARY, library_version=__version__)
            full_name = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(
                folder, results=results, license=license, language=language, repo_id=full_name
            )
            with _hub(full_name, revision):
                commit = api.upload_folder(
                    repo_id=full_name,
                    folder_path=folder,
                    revision=revision,
                    commit_message=commit_message or f"Upload with {_LIBRARY} {__version__}",
                    create_pr=create_pr,
                )
        return str(commit.pr_url or commit.commit_url)


def model_file(path: str | os.PathLike[str]) -> Path:
    """The file of a folder, or the path itself if it is no folder.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If the folder holds no model.
    FormatError
        If its model was not written by this package.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    model = path / MODEL_FILE
    if not model.is_file():
        others = sorted(file.name for file in path.glob("*.safetensors"))
        hint = f" (found: {', '.join(others)})" if others else ""
        raise FileNotFoundError(f"{path}: the folder has no {MODEL_FILE} or manifest.json{hint}")
    try:
        kind_of(model)
    except FormatError as error:
        raise FormatError(f"{error}; is it a model of another library?") from None
    return model


def example_word(words: Iterable[str]) -> str:
    """A word for an example: the first one with some letters, as the very first are commas.

    Parameters
    ----------
    words : sequence of str

    Returns
    -------
    str
    """
    first = ""
    for n_seen, word in enumerate(words):
        first = first or word
        if word.isalpha() and len(word) >= 5:
            return word
        if n_seen == 1000:
            break
    return first


def _config(summary: Summary) -> str:
    config = {
        "library_name": _LIBRARY,
        "model_type": f"{_LIBRARY}-{summary.kind}",
        "kind": summary.kind,
        "format_version": FORMAT_VERSION,
        "embcompress_version": __version__,
        **summary.config,
    }
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def _hub(name: str, revision: str | None) -> Iterator[Any]:
    """The library of the hub; its errors in one line each."""
    feature = f"{name!r} is no folder, and the Hugging Face hub"
    hub = require("huggingface_hub", extra="hub", feature=feature)
    errors = require("huggingface_hub.errors", extra="hub", feature=feature)
    # the base of all errors of the client that it uses, which changed its name before
    client_error = errors.HfHubHTTPError.__mro__[1]
    try:
        yield hub
    except errors.HFValidationError as error:
        raise ValueError(
            f"{name!r} is no folder, and no name of a repository on the hub (owner/name)"
        ) from error
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{name!r} on the hub is open to those only who ask for it on its page"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{name!r} is no folder, and no repository on the hub that you may read; for a "
            "private one log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{name!r} on the hub has no revision {revision!r}") from error
    except errors.LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{name!r} is no folder and was not fetched before, and the hub is not asked or "
            "cannot be reached"
        ) from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"{name!r} on the hub has no {MODEL_FILE}") from error
    except (client_error, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConnectionError(f"{name!r}: the hub refused or gave no answer ({reason})") from error
