"""Make the API reference from the docstrings: HTML that needs no network.

It has the names of ``embcompress.__all__``, with those of the modules among them, and the names of
the other modules that users take something from.

Run: ``python docs/make_api.py [-o docs-html]``, or ``make docs``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# modules of which users take names, beside those that embcompress itself offers
MODULES = (
    "embcompress.codes",
    "embcompress.container",
    "embcompress.encoder",
    "embcompress.pretrained",
    "embcompress.quality",
    "embcompress.report",
    "embcompress.rescoring",
    "embcompress.vectors",
    "embcompress.vocabulary",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs-html", metavar="FOLDER")
    options = parser.parse_args(arguments)
    import pdoc
    import pdoc.render

    pdoc.render.configure(docformat="numpy", show_source=False, search=True)
    # a stale page of a module that is gone would stay
    if (options.output / "embcompress.html").is_file():
        shutil.rmtree(options.output)
    pdoc.pdoc("embcompress", *MODULES, output_directory=options.output)
    print(f"{options.output / 'embcompress.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
