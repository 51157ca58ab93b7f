"""Archives of packages that tests and benchmarks download."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a `.tgz` or `.tar.gz` into a folder; nothing in it can write elsewhere.

    Python 3.10 and 3.11 have filters only in their later versions.
    """
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(folder)  # noqa: S202 -- see the filter
