"""Where the files that ship beside the code are: expectation suites, example configurations, report templates.

An installed wheel carries suites and configurations inside the package, a checkout has them in its top-level folders.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_data"


def expectations_folder() -> Path:
    """Return the folder of the Great Expectations suites."""
    return _INSTALLED / "expectations" if _INSTALLED.is_dir() else _PACKAGE.parent / "expectations"


def configs_folder() -> Path:
    """Return the folder of the example configurations (``demo.yaml``, ``production.yaml``, …)."""
    return _INSTALLED / "configs" if _INSTALLED.is_dir() else _PACKAGE.parent / "deploy" / "configs"


def templates_folder() -> Path:
    """Return the folder of the report templates."""
    return _PACKAGE / "templates"
