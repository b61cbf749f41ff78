"""Ask the reader in JavaScript, which runs in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import embcompress

HERE = Path(__file__).parent
WEB = Path(embcompress.__file__).parent / "web"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")


def ask(calls: Sequence[tuple[Any, ...]], script: str = "ask.mjs") -> list[dict[str, Any]]:
    """Answers of a script beside this file: for each call its name and arguments."""
    lines = [json.dumps({"call": name, "args": arguments}) for name, *arguments in calls]
    done = subprocess.run(
        [str(NODE), str(HERE / script), str(WEB)],
        input="\n".join(lines), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(answers) == len(calls)
    return answers


def values(calls: Sequence[tuple[Any, ...]], script: str = "ask.mjs") -> list[Any]:
    """What calls return; none of them may fail."""
    answers = ask(calls, script)
    assert all("value" in answer for answer in answers), answers
    return [answer["value"] for answer in answers]
