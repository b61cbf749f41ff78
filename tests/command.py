"""Run the command in this process, which saves the start of an interpreter each time."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest import mock

import pytest

from embcompress.cli import main


def run_here(*arguments: object) -> CompletedProcess[str]:
    """Run `embcompress` with arguments; what it printed and how it ended."""
    out, err = io.StringIO(), io.StringIO()
    words = ["embcompress", *map(str, arguments)]
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.object(sys, "argv", words),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    status = end.value.code
    assert isinstance(status, int)
    return CompletedProcess(words, status, out.getvalue(), err.getvalue())
