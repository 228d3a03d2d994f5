"""Detector weights: fetched once from their official place, verified before anybody opens them, cached.

Loading weights can run code (a ``.pt`` file is a pickle), so nothing is opened whose SHA-256 was not asked for: by the
pinned digest here, or by ``detector.sha256``. A verified copy is kept under the name of its digest in the workspace and
in the user's cache.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from deepfake_core import files
from deepfake_core.config import DetectorConfig
from deepfake_core.errors import WeightsError
from deepfake_core.specs import DetectorSpec

YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx"
)
OFFICIAL = {YUNET_SHA256: YUNET_URL}
"""Where the pinned weights come from, by digest."""

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.25
TIMEOUT_SECONDS = 30.0
LARGEST_BYTES = 64 << 20
"""No pinned weights are larger; a server that sends more is not the right one."""


def resolve_weights(config: DetectorConfig, *, folder: Path) -> tuple[Path | None, str | None]:
    """Find or fetch the weights that the configuration asks for; keep a verified copy in ``folder``.

    Returns:
        Path of the copy (``<folder>/<sha256><suffix>``) and its SHA-256; (None, None) for ``haar``, which needs none.

    Raises:
        WeightsError: they are not to be had, have another digest, or no digest is known.
    """
    if config.name == "haar":
        return None, None
    wanted = config.sha256 or (YUNET_SHA256 if config.name == "yunet" else None)
    if wanted is None:
        message = (
            "detector.sha256 is not set: weights of 'yolo' can run code, so they are opened only when their SHA-256 "
            f"is known. Received: detector.weights={config.weights}. Put the digest of a file you trust there."
        )
        raise WeightsError(message)
    kept = _verified_in(folder, wanted)
    if kept is None:
        source = _source(wanted, [user_cache()], config.weights)
        kept = folder / f"{wanted}{source.suffix}"
        files.write_bytes(kept, source.read_bytes())
        _verify(kept, wanted)
    return kept, wanted


def find_weights(spec: DetectorSpec, *, folders: Sequence[Path], given: Path | None = None) -> Path | None:
    """Find the weights of the detector that a model was trained with.

    Args:
        spec: names their digest.
        folders: where verified copies may lie, besides the user's cache.
        given: a file to take instead; it must have the right digest.

    Returns:
        Their path; None for ``haar``, which needs none.

    Raises:
        WeightsError: they are not to be had.
    """
    if spec.name == "haar":
        return None
    if spec.weights_sha256 is None:
        message = f"the detector '{spec.name}' of this model names no digest of its weights; export the model again."
        raise WeightsError(message)
    return _source(spec.weights_sha256, [*folders, user_cache()], given)


def user_cache() -> Path:
    """Return the folder in which a user's workspaces share verified weights."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deepfake" / "weights"


def _source(wanted: str, folders: Sequence[Path], given: Path | None) -> Path:
    """Return a verified file: the given one, else a kept one, else the official one."""
    if given is not None:
        path = given.expanduser()
        if not path.is_file():
            message = f"the weights {given} do not exist."
            raise WeightsError(message)
        _verify(path, wanted)
        return path
    for folder in folders:
        kept = _verified_in(folder, wanted)
        if kept is not None:
            return kept
    if wanted not in OFFICIAL:
        looked = ", ".join(str(folder) for folder in folders)
        message = (
            f"the weights with SHA-256 {wanted} are nowhere (looked in {looked}). "
            "Give their path as detector.weights (extract) or --weights (score)."
        )
        raise WeightsError(message)
    return _fetch(OFFICIAL[wanted], wanted)


def _verified_in(folder: Path, wanted: str) -> Path | None:
    """Return the copy kept under its digest, unless it is damaged."""
    kept = sorted(folder.glob(f"{wanted}.*"))
    return next((path for path in kept if files.sha256_of_file(path) == wanted), None)


def _verify(path: Path, wanted: str) -> None:
    found = files.sha256_of_file(path)
    if found != wanted:
        message = (
            f"{path} is not the file that was asked for: its SHA-256 is {found}, expected {wanted}. "
            "It was not opened. Give another file, or its own digest as detector.sha256 if you trust it."
        )
        raise WeightsError(message)


def _fetch(url: str, wanted: str) -> Path:
    """Download pinned weights into the user's cache."""
    try:
        data = _download(url)
    except httpx.HTTPError as error:
        message = (
            f"the weights with SHA-256 {wanted} cannot be fetched from {url} ({error}). "
            "Download them elsewhere and give their path as detector.weights (extract) or --weights (score)."
        )
        raise WeightsError(message) from error
    found = files.sha256_of_bytes(data)
    if found != wanted:
        message = f"{url} gave {len(data)} bytes with SHA-256 {found}, expected {wanted}. They were thrown away."
        raise WeightsError(message)
    path = user_cache() / f"{wanted}{Path(url).suffix}"
    files.write_bytes(path, data)
    return path


def _download(url: str) -> bytes:
    """Get a file, again after a growing pause when the network or the server fails."""
    tries = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(FIRST_PAUSE_SECONDS, jitter=FIRST_PAUSE_SECONDS),
        reraise=True,
    )
    return tries(_get, url)


def _may_pass(error: BaseException) -> bool:
    """Say whether it may go better next time: not where the server does not give the file or sends too much."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)


def _get(url: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    with httpx.stream("GET", url, timeout=TIMEOUT_SECONDS, follow_redirects=True) as response:
        response.raise_for_status()
        for part in response.iter_bytes():
            size += len(part)
            if size > LARGEST_BYTES:
                message = f"it sends more than {LARGEST_BYTES} bytes"
                raise httpx.DecodingError(message)
            parts.append(part)
    return b"".join(parts)
