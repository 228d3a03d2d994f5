"""Workspaces whose faces are extracted and whose records are still to be written."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.config import DownloadConfig, ExtractConfig, SplitConfig, ValidateConfig
from deepfake_core.data.extraction_spec import ExtractionSpec, schema_with_spec
from deepfake_core.report import StageReport
from deepfake_core.specs import DetectorSpec, FaceSpec, SamplingSpec
from deepfake_core.workspace import Workspace

FACE_PIXELS = 48
SPLIT_OF_GROUP = {"000": "train", "002": "train", "004": "train", "006": "val", "008": "test"}

FacesMaker = Callable[..., Workspace]


def encode_face(seed: int, *, size: int = FACE_PIXELS) -> bytes:
    """Return a JPEG that no other seed gives: colours that change smoothly, and noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    pixels = cv2.add(pixels, random.integers(0, 12, pixels.shape, dtype=np.uint8))
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def leave_receipt(workspace: Workspace, stage: str, config: Any, outputs: list[Path]) -> None:
    """Finish a stage whose outputs a test wrote by hand."""
    with receipts.open_stage(workspace, stage, config=config) as work:
        if not work.found:
            work.finish(StageReport(stage=stage), outputs=outputs)


@pytest.fixture
def faces_workspace(tmp_path: Path) -> FacesMaker:
    """Return a function that makes a workspace of five pairs of people, extracted and validated.

    Each pair is a group: two originals and one fake of each, with ``frames`` faces a video, and a frame without one.
    """

    def make(
        folder: str = "faces",
        *,
        frames: int = 6,
        size: int = FACE_PIXELS,
        split_of_group: dict[str, str] = SPLIT_OF_GROUP,
        split_of_video: dict[str, str] | None = None,
    ) -> Workspace:
        workspace = Workspace.open(tmp_path / folder)
        videos, splits, extractions = [], [], []
        for pair, (group, split) in enumerate(split_of_group.items()):
            first, second = group, f"{int(group) + 1:03d}"
            for method, name in (
                ("original", first),
                ("original", second),
                ("Deepfakes", f"{first}_{second}"),
                ("Face2Face", f"{second}_{first}"),
            ):
                compression = "c23" if pair % 2 else "c40"
                video_id = f"ff/{method}/{compression}/{name}"
                videos.append(video_row(video_id, method, compression, name))
                where = (split_of_video or {}).get(name, split)
                splits.append({"video_id": video_id, "group": group, "split": where})
                path = workspace.faces_of(video_id)
                tables.write(path, face_rows(video_id, frames=frames, size=size), schema=tables.FACES)
                extractions.append(
                    {
                        "video_id": video_id,
                        "fingerprint": "0" * 64,
                        "faces": frames,
                        "no_face": 1,
                        "status": "ok",
                        "digest": files.sha256_of_file(path),
                    }
                )
        finish_stages(workspace, videos, splits, extractions, size=size)
        return workspace

    return make


def video_row(video_id: str, method: str, compression: str, name: str) -> dict[str, Any]:
    return {
        "video_id": video_id,
        "path": f"videos/{video_id}.mp4",
        "dataset": "ff",
        "method": method,
        "compression": compression,
        "name": name,
        "target": name[:3],
        "source": name[4:] or None,
        "label": int(method != "original"),
        "status": "ok",
    }


def face_rows(video_id: str, *, frames: int, size: int) -> Any:
    """Return faces on every fourth frame, and a frame on which none was found."""
    first = int.from_bytes(files.sha256_of_bytes(video_id.encode())[:6].encode(), "big")
    rows: list[dict[str, Any]] = [
        {"video_id": video_id, "frame": 4 * number, "status": "ok", "jpeg": encode_face(first + number, size=size)}
        for number in range(frames)
    ]
    lost = {"video_id": video_id, "frame": 4 * frames, "status": "no_face", "reason": "no face was found"}
    return tables.from_rows([*rows, lost], tables.FACES)


def finish_stages(
    workspace: Workspace,
    videos: list[dict[str, Any]],
    splits: list[dict[str, Any]],
    extractions: list[dict[str, Any]],
    *,
    size: int,
) -> None:
    spec = ExtractionSpec(face=FaceSpec(size=size), detector=DetectorSpec(name="haar"), sampling=SamplingSpec())
    schema = schema_with_spec(spec)
    tables.write(workspace.videos_table, tables.from_rows(videos, tables.VIDEOS), schema=tables.VIDEOS)
    tables.write(workspace.splits_table, tables.from_rows(splits, tables.SPLITS), schema=tables.SPLITS)
    tables.write(workspace.extractions_table, tables.from_rows(extractions, tables.EXTRACTIONS), schema=schema)
    files.write_json(workspace.reports / "quality.json", {"passed": True})
    leave_receipt(workspace, "download", DownloadConfig(), [workspace.videos_table])
    leave_receipt(workspace, "split", SplitConfig(seed=42), [workspace.splits_table])
    leave_receipt(workspace, "extract", ExtractConfig(), [workspace.extractions_table])
    leave_receipt(workspace, "validate", ValidateConfig(), [workspace.reports / "quality.json"])


@pytest.fixture
def finish_again() -> Callable[[Workspace, str, Any, list[Path]], None]:
    """Return the function that finishes a stage whose outputs a test changed by hand."""
    return leave_receipt


# Imports everything once; then every line, the arguments of a command, is a process that runs ``deepfake`` with them.
FORKING = """
import importlib, json, os, sys
from deepfake_core import cli, data, pipeline
for module in sys.argv[1:]:
    importlib.import_module(module)
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for line in sys.stdin:
    child = os.fork()
    if not child:
        sys.argv = ["deepfake", *json.loads(line)]
        try:
            cli.main()
        except SystemExit as ended:
            os._exit(ended.code or 0)
        os._exit(1)
    print(child, file=answers, flush=True)
    print(os.waitpid(child, 0)[1], file=answers, flush=True)
"""


class Commands:
    """Runs ``deepfake`` in processes that may be killed, without the seconds that importing its libraries takes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, *arguments: str | Path) -> int:
        """Start the command with these arguments; return the process id."""
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def finish(self, *arguments: str | Path) -> None:
        """Run the command to its end, which must be a good one."""
        self.start(*arguments)
        assert self.status() == 0

    def kill(self, child: int) -> None:
        """Kill a command that may already have ended, as ``kill -9`` does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        self.status()

    def status(self) -> int:
        """Wait for the end; return the status: 0 or the signal."""
        return int(self._process.stdout.readline())

    def kill_at_twenty_moments(
        self,
        *arguments: str | Path,
        forget: Callable[[], None],
        half_written: Sequence[Callable[[], bool]],
        made: Callable[[], dict[str, str]],
        kept: Callable[[], dict[Any, int]] = dict,
    ) -> list[int]:
        """Kill a command at fifteen moments, uniform over its run, and five times inside a write; run it again.

        Args:
            arguments: of the command.
            forget: brings the workspace back to where nothing was done.
            half_written: each says whether one kind of thing stands there half written.
            made: digests of everything the command makes; after each kill and the same command again they must be
                those of an undisturbed run.
            kept: when each finished piece of work was written; the second run must touch none of them.

        Returns:
            How many kills left each kind of thing half written.
        """
        forget()
        self.start(*arguments)
        began = time.monotonic()  # after the libraries were imported
        assert self.status() == 0
        duration = time.monotonic() - began
        undisturbed = made()
        inside = [0] * len(half_written)
        for kill in range(20):
            forget()
            child = self.start(*arguments)
            if kill < 15:
                time.sleep(duration * (kill + 0.5) / 15)
            else:
                wait_for(half_written[kill % len(half_written)])
            self.kill(child)
            inside = [count + there() for count, there in zip(inside, half_written, strict=True)]
            before = kept()
            self.finish(*arguments)
            assert made() == undisturbed
            assert before.items() <= kept().items()
        return inside


def wait_for(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Return as soon as something holds, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.0002)


@pytest.fixture(scope="module")
def deepfake_commands() -> Iterator[Callable[..., Commands]]:
    """Return a function that starts a program which runs ``deepfake`` again and again, ``modules`` being imported."""
    with contextlib.ExitStack() as programs:

        def begin(*modules: str) -> Commands:
            command = [sys.executable, "-c", FORKING, *modules]
            program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            programs.enter_context(program)
            programs.callback(program.stdin.close)
            return Commands(program)

        yield begin


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Return the function that waits until something holds."""
    return wait_for
