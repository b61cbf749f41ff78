"""docs/scale.md: its examples and commands run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = re.findall(r"^\$ embcompress (.*)$", PAGE, flags=re.MULTILINE)


def test_examples_and_commands_run(tmp_path):
    for package in ("pyarrow", "distributed"):
        pytest.importorskip(package)
    assert (len(BLOCKS), len(COMMANDS)) == (2, 2)
    # a cluster of processes needs a script that can be imported
    body = "".join(f"    {line}\n" if line else "\n" for line in "".join(BLOCKS).splitlines())
    script = tmp_path / "script.py"
    script.write_text(f"def main():\n{body}\n\nif __name__ == '__main__':\n    main()\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ShardedCodes(20,000 codes of 64 bits in 3 shards, IIQ)"
    assert lines[1:] == ["True [0 1 2]", "uint8 (20000, 8) True 3"]
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "embcompress", *shlex.split(command)],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("vectors  20,000 x 64 dimensions")
