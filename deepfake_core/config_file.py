"""Read a configuration from YAML, and refuse what is not understood in a way that teaches.

``load_config(path, overrides)`` reads a file, expands ``${VARIABLES}`` from the environment, applies
``section.key=value`` overrides and validates; an unknown key is refused with the nearest known one.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deepfake_core.config import Config
from deepfake_core.errors import ConfigError
from deepfake_core.specs import Spec


def load_config(path: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration.

    Args:
        path: YAML file; None: the defaults.
        overrides: ``section.key=value`` strings, values in YAML, such as ``train.epochs=3``; later ones win.

    Raises:
        ConfigError: the file is missing or no YAML mapping, a variable is unset, a key is unknown (the message names
            the nearest known one) or a value is not allowed.
    """
    values = _read_yaml(path) if path else {}
    values = _expand(values, where=str(path))
    for override in overrides:
        _apply(values, override)
    return parse_config(values)


def parse_config(values: Mapping[str, Any]) -> Config:
    """Validate configuration values that were read elsewhere, such as a flow's parameters."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read the configuration {path}: {error.strerror or error}."
        raise ConfigError(message) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"the configuration {path} is not valid YAML: {error}"
        raise ConfigError(message) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        message = f"the configuration {path} must be a mapping of sections. Received: {type(values).__name__}"
        raise ConfigError(message)
    return values


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _expand(value: Any, *, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(inner, where=where) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, where=where) for inner in value]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in os.environ:
            message = f"{where} uses ${{{name}}}, which is not set. Set it: export {name}=…"
            raise ConfigError(message)
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], value)


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        message = f"an override reads section.key=value, such as train.epochs=3. Received: {override!r}"
        raise ConfigError(message)
    try:
        value = _expand(yaml.safe_load(text), where=f"the override {override!r}")
    except yaml.YAMLError:
        message = f"the value of the override {override!r} is not valid YAML."
        raise ConfigError(message) from None
    *folders, last = dotted.strip().split(".")
    here = values
    for folder in folders:
        inner = here.setdefault(folder, {})
        if not isinstance(inner, dict):
            message = f"the override {override!r} goes below {folder!r}, which is a value, not a section."
            raise ConfigError(message)
        here = inner
    here[last] = value


def _explain(error: ValidationError) -> str:
    lines = [_explain_one(problem) for problem in error.errors()]
    return "\n".join(lines)


def _explain_one(problem: Any) -> str:
    place = [str(part) for part in problem["loc"]]
    dotted = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = known_keys(place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        hint = f"Did you mean {'.'.join([*place[:-1], near[0]])!r}?" if near else f"Known here: {', '.join(known)}."
        return f"unknown configuration key {dotted!r}. {hint}"
    received = problem.get("input")
    return f"{dotted or 'configuration'}: {problem['msg']}. Received: {received!r}"


def known_keys(place: Iterable[str]) -> list[str]:
    """Return the keys that the configuration knows at a dotted place, such as ``["extract", "face"]``."""
    model: type[Spec] = Config
    for part in place:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = fields[part].annotation if part in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Spec)):
            return []
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]
