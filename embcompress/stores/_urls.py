"""Addresses of stores: ``scheme:///place?option=value``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["DEFAULT_TABLE", "StoreURL", "parse_url"]

DEFAULT_TABLE = "codes"
_PASSWORD = re.compile(r"((?:^|&)(?:ssl)?password=)[^&]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


@dataclass(frozen=True)
class StoreURL:
    """A store's address, taken apart.

    Attributes
    ----------
    text : str
        The address as it was given.
    scheme : str
    path : str
        What is between the host and the options; for stores in files, the file.
    options : mapping of str to str
    """

    text: str
    scheme: str
    path: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The address for messages: without a password."""
        parts = urlsplit(self.text)
        netloc = parts.netloc
        if parts.password is not None:
            netloc = f"{parts.username}:***@{netloc.rpartition('@')[2]}"
        query = _PASSWORD.sub(r"\1***", parts.query)
        # put together by hand: the library drops the empty host of sqlite:///file
        return f"{parts.scheme}://{netloc}{parts.path}{'?' if query else ''}{query}"

    @property
    def file(self) -> Path:
        """The file or folder of a store.

        As in SQLAlchemy, three slashes start a path from the present folder and four an absolute
        one: ``sqlite:///words.db``, ``sqlite:////srv/words.db``.

        Raises
        ------
        ValueError
            If there is none, or a host.
        """
        if urlsplit(self.text).netloc:
            raise ValueError(
                f"{self.shown}: two slashes name a host, which {self.scheme} has not; write "
                f"{self.scheme}:///PATH, or {self.scheme}:////PATH for an absolute path"
            )
        if not self.path:
            raise ValueError(f"{self.shown}: the path is missing; write {self.scheme}:///PATH")
        return Path(self.path)

    def table(self) -> list[str]:
        """Name of the table, with its schema before it where one is given.

        Raises
        ------
        ValueError
            If a part is no plain name.
        """
        parts = self.options.get("table", DEFAULT_TABLE).split(".")
        if len(parts) > 2 or not all(map(_NAME.fullmatch, parts)):
            raise ValueError(
                f"table={self.options['table']!r}; a name has letters, digits and _, does not "
                "start with a digit, and is at most 40 long"
            )
        return parts

    def flag(self, name: str) -> bool:
        """An option that is 0 or 1; 0 if it is not there.

        Raises
        ------
        ValueError
            If it is something else.
        """
        value = self.options.get(name, "0")
        if value not in {"0", "1"}:
            raise ValueError(f"{self.shown}: {name}={value!r}; allowed: 0 or 1")
        return value == "1"

    def allow(self, options: Collection[str]) -> None:
        """Refuse options that the store does not know; `ValueError` names those that it does."""
        unknown = sorted(set(self.options) - set(options))
        if unknown:
            known = ", ".join(sorted(options)) or "none"
            raise ValueError(f"{self.shown}: option {unknown[0]!r} is not known; allowed: {known}")


def parse_url(text: str) -> StoreURL:
    """Take an address apart.

    Parameters
    ----------
    text : str

    Returns
    -------
    StoreURL

    Raises
    ------
    ValueError
        If it is no address.

    Examples
    --------
    >>> url = parse_url("sqlite:///folder/words.db?table=words")
    >>> url.scheme, url.path, url.table()
    ('sqlite', 'folder/words.db', ['words'])
    """
    if "://" not in text:
        raise ValueError(f"{text!r} is not the address of a store, such as sqlite:///words.db")
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    return StoreURL(text, parts.scheme, unquote(parts.path.removeprefix("/")), options)
