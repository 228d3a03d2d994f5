"""Every video that is given gets a row, a verdict or a reason; what is finished is never lost and never done twice."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepfake_core.config import SampleConfig, ScoreConfig
from deepfake_core.contract import Threshold
from deepfake_core.errors import ConfigError
from deepfake_core.faces import workers
from deepfake_core.sample import generate_sample
from deepfake_core.serving import score
from deepfake_core.serving.score import score_videos

SAMPLE = SampleConfig(
    identities=6, frames=5, width=320, height=240, methods=("Deepfakes",), compressions=("c23",), workers=1
)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Return six short videos that each show a face."""
    folder = tmp_path_factory.mktemp("heads")
    generate_sample(folder, config=SAMPLE)
    return sorted((folder / "original_sequences").rglob("*.mp4"))


@pytest.fixture
def in_process(monkeypatch):
    """Decode in this process: quick, and what is done can be counted."""
    done = []

    def supervise(jobs, *, function, setup, setup_argument, **limits):
        task = workers._Task(function, setup, setup_argument)
        for outcome in workers._serial(jobs, task):
            done.append(outcome.key)
            yield outcome

    monkeypatch.setattr(score, "supervise", supervise)
    return done


@pytest.fixture
def score_here(tmp_path, tiny_model):
    """Return a function that scores paths in this test's folder and returns the report and the rows."""

    def run(*paths, output="scores.parquet", model=tiny_model, progress=score.SILENT, **config):
        report = score_videos(
            paths,
            model=model,
            output=tmp_path / "out" / output,
            config=ScoreConfig(**{"workers": 1, **config}),
            folder=tmp_path / "workspace" / "scores",
            progress=progress,
        )
        return report, pq.read_table(report.outputs["scores"]).to_pylist() if output.endswith("parquet") else None

    return run


def finished_in(tmp_path):
    return sorted((tmp_path / "workspace" / "scores").glob("*/*.parquet"))


def test_every_video_gets_a_row_a_verdict_or_a_reason(tmp_path, heads, score_here, write_video):
    videos = tmp_path / "videos"
    write_video(videos / "b_faceless.mp4", [np.full((240, 320, 3), 90 + k, np.uint8) for k in range(9)])
    whole = heads[0].read_bytes()
    (videos / "a_face.mp4").write_bytes(whole)
    (videos / "c_truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "d_empty.mp4").touch()
    (videos / "e_corrupt.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
    text = tmp_path / "notes.txt"
    text.write_text("no video at all")

    report, rows = score_here(videos, text, tmp_path / "missing.mp4", workers=2)

    assert [Path(row["video"]).name for row in rows] == [
        "a_face.mp4",
        "b_faceless.mp4",
        "c_truncated.mp4",
        "d_empty.mp4",
        "e_corrupt.mp4",
        "notes.txt",
        "missing.mp4",
    ]
    assert [row["status"] for row in rows] == ["scored", "no_face", *["unreadable"] * 5]
    assert rows[0]["verdict"] == "manipulated"  # the tiny model takes rosy skin for a manipulation
    assert 0.5 < rows[0]["score"] < 1
    assert (rows[0]["frames_sampled"], rows[0]["frames_scored"], rows[0]["reason"]) == (2, 2, None)
    for row in rows[1:]:
        assert (row["score"], row["verdict"]) == (None, "undecidable")
        assert row["reason"].endswith(".")
    assert report.failed == 6
    assert {name: report.counts[name] for name in ("videos", "scored", "no_face", "unreadable", "undecidable")} == {
        "videos": 7,
        "scored": 1,
        "no_face": 1,
        "unreadable": 5,
        "undecidable": 6,
    }
    assert any("missing.mp4: there is no such file." in note for note in report.notes)


def test_the_same_command_again_computes_nothing_and_writes_the_same_bytes(heads, score_here, in_process):
    report, _ = score_here(*heads[:2])
    tables = [Path(report.outputs[name]) for name in ("scores", "frame scores")]
    before = [path.read_bytes() for path in tables]
    assert len(in_process) == 2

    score_here(*heads[:2])

    assert len(in_process) == 2
    assert [path.read_bytes() for path in tables] == before


def test_one_content_under_two_names_is_two_rows_and_one_computation(tmp_path, heads, score_here, in_process):
    twin = tmp_path / "twin.mp4"
    twin.write_bytes(heads[0].read_bytes())

    report, rows = score_here(heads[0], twin)

    assert [row["video"] for row in rows] == [str(heads[0]), str(twin)]
    assert rows[0]["score"] == rows[1]["score"]
    assert len(in_process) == 1
    frames = pq.read_table(report.outputs["frame scores"]).to_pylist()
    assert [row["video"] for row in frames] == [str(heads[0])] * 2 + [str(twin)] * 2


def test_another_model_scores_anew(tmp_path, heads, score_here, in_process, write_tiny_model):
    contrary = write_tiny_model(tmp_path / "contrary.onnx", gain=-0.1)

    _, first = score_here(heads[0])
    _, second = score_here(heads[0], model=contrary)

    assert (first[0]["verdict"], second[0]["verdict"]) == ("manipulated", "original")
    assert first[0]["onnx_sha256"] != second[0]["onnx_sha256"]
    assert len(in_process) == 2


def test_step_and_threshold_come_from_the_model(tmp_path, heads, score_here, in_process, write_tiny_model):
    strict = write_tiny_model(
        tmp_path / "strict.onnx", frame_step=1, video_threshold=Threshold(value=0.999999, chosen_by="a test")
    )

    _, rows = score_here(heads[0], model=strict)

    assert (rows[0]["frames_sampled"], rows[0]["threshold"], rows[0]["verdict"]) == (5, 0.999999, "original")


def test_a_damaged_memory_is_not_believed(tmp_path, heads, score_here, in_process):
    _, before = score_here(heads[0])
    (kept,) = finished_in(tmp_path)
    kept.write_bytes(kept.read_bytes()[:-20])

    _, after = score_here(heads[0])

    assert after == before
    assert len(in_process) == 2


def test_ctrl_c_keeps_what_is_finished(tmp_path, heads, score_here, in_process):
    class Interrupting:
        """A progress whose bar is interrupted, as by Ctrl-C, when the third video is done."""

        def bar(self, title, *, total, unit=""):
            bar = score.SILENT.bar(title, total=total, unit=unit)
            done = []

            def advance(steps=1.0):
                done.append(steps)
                if title == "Score" and len(done) == 3:
                    raise KeyboardInterrupt

            bar.advance = advance
            return bar

    with pytest.raises(KeyboardInterrupt):
        score_here(*heads, progress=Interrupting())
    finished = {path: path.stat().st_mtime_ns for path in finished_in(tmp_path)}
    assert len(finished) == 3
    assert not any(path.is_dir() for path in finished_in(tmp_path)[0].parent.iterdir())  # no scratch folder is left
    assert not (tmp_path / "out").exists()

    report, _ = score_here(*heads)

    assert report.counts["scored"] == len(heads)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_killed_and_run_again_loses_nothing_and_does_nothing_twice(tmp_path, heads, score_here, tiny_model):
    command = (
        "import sys\n"
        "from pathlib import Path\n"
        "from deepfake_core.config import ScoreConfig\n"
        "from deepfake_core.serving.score import score_videos\n"
        "model, output, folder, *paths = map(Path, sys.argv[1:])\n"
        "score_videos(paths, model=model, output=output, config=ScoreConfig(workers=1), folder=folder)\n"
    )
    arguments = [tiny_model, tmp_path / "out" / "scores.parquet", tmp_path / "workspace" / "scores", *heads]
    run = subprocess.Popen([sys.executable, "-c", command, *map(str, arguments)])
    try:
        deadline = time.monotonic() + 120
        while not finished_in(tmp_path) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    finished = {path: path.stat().st_mtime_ns for path in finished_in(tmp_path)}
    assert finished

    resumed, rows = score_here(*heads)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(rows) == len(heads) == len(finished_in(tmp_path))

    fresh = score_videos(
        heads, model=tiny_model, output=tmp_path / "fresh.parquet", config=ScoreConfig(workers=2), folder=tmp_path / "f"
    )
    for name in ("scores", "frame scores"):
        assert Path(resumed.outputs[name]).read_bytes() == Path(fresh.outputs[name]).read_bytes()


def test_a_video_that_takes_too_long_is_a_row_and_is_tried_again(tmp_path, score_here, write_tiny_model, write_video):
    random = np.random.default_rng(7)
    slow = write_video(tmp_path / "slow.mp4", list(random.integers(0, 256, (30, 240, 320, 3), dtype=np.uint8)))
    every_frame = write_tiny_model(tmp_path / "every.onnx", frame_step=1)

    report, (row,) = score_here(slow, model=every_frame, seconds_per_video=0.05)

    assert (row["status"], row["verdict"], row["score"]) == ("timeout", "undecidable", None)
    assert "0.05 seconds" in row["reason"]
    assert (report.failed, report.counts["timeout"]) == (1, 1)

    _, (row,) = score_here(slow, model=every_frame)
    assert row["frames_sampled"] == 30


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_tables_are_written_in_the_format_of_the_suffix(heads, score_here, in_process, suffix):
    report, _ = score_here(heads[0], output=f"scores.{suffix}")

    with Path(report.outputs["scores"]).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream)) if suffix == "csv" else [json.loads(line) for line in stream]
    assert rows[0]["video"] == str(heads[0])
    assert rows[0]["verdict"] == "manipulated"
    assert Path(report.outputs["frame scores"]).name == f"scores.frames.{suffix}"


def test_the_page_shows_faces_and_reasons_and_loads_nothing_from_elsewhere(tmp_path, heads, score_here, in_process):
    odd = tmp_path / "<script>.mp4"
    odd.write_bytes(b"not a video")

    report, _ = score_here(heads[0], odd)

    page = Path(report.outputs["report"]).read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "&lt;script&gt;.mp4" in page
    assert "is not a video" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_wrong_output_and_empty_folders_are_refused_before_any_work(tmp_path, heads, score_here, in_process):
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError, match=r"scores\.xlsx"):
        score_here(heads[0], output="scores.xlsx")
    with pytest.raises(ConfigError, match="holds no videos"):
        score_here(heads[0], tmp_path / "empty")
    assert in_process == []


def test_scoring_needs_neither_tensorflow_nor_mlflow():
    command = "import sys, deepfake_core.serving.score; print(*sys.modules)"
    names = subprocess.run(
        [sys.executable, "-c", command], check=True, capture_output=True, text=True, env=os.environ
    ).stdout.split()

    assert not {"tensorflow", "keras", "mlflow", "sklearn", "prefect", "great_expectations"} & set(names)
