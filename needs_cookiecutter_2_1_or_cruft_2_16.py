"""Refuses versions of Python and cruft that this template does not work with, in one line.

Cookiecutter before 2.1, and `cruft diff` before cruft 2.16, cannot import modules of a template.
They stop with `Unable to load extension: No module named '…'`, and nothing of the template runs
before that. So the name of this module tells those users which versions they need.
cookiecutter.json lists it before template_extensions, and it must run on every Python 3.
"""

import sys
from typing import Optional, Tuple

from jinja2 import Environment
from jinja2.ext import Extension

OLDEST_PYTHON = (3, 10)
OLDEST_CRUFT = (2, 16)


class CheckVersions(Extension):
    """Stops Cookiecutter or cruft when it starts with a version that is too old."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        problem = version_problem(sys.version_info[:3], running_cruft_version())
        if problem:
            print("Error: " + problem, file=sys.stderr)
            raise SystemExit(1)
        # `cruft update` renders two versions of the template in one process; each needs its own.
        sys.modules.pop(__name__, None)


def version_problem(python: Tuple[int, ...], cruft: Optional[str]) -> Optional[str]:
    """Return what is too old and how to fix it, or None.

    `python` is a version as numbers, `cruft` the version of the running cruft, or None.
    """
    if python < OLDEST_PYTHON:
        return (
            "this template needs Python 3.10 or newer, and this is {}; "
            "for example: uvx --python 3.13 cookiecutter gh:org/medplum-bots"
        ).format(".".join(str(number) for number in python))
    if cruft and tuple(int(number) for number in cruft.split(".")[:2]) < OLDEST_CRUFT:
        return (
            "this template needs cruft 2.16 or newer, and this is {}; "
            "for example: pip install --upgrade cruft"
        ).format(cruft)
    return None


def running_cruft_version() -> Optional[str]:
    """Return the version of cruft if this process is cruft, else None."""
    if "cruft" not in sys.modules:
        return None
    from importlib.metadata import version

    return version("cruft")
