"""Extraction: every sampled frame is a row, finished work is kept, and a bad video costs itself."""

import hashlib
import resource
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.config import Config, DetectorConfig, DownloadConfig, ExtractConfig, SampleConfig
from deepfake_core.data import extract
from deepfake_core.data.extract import (
    collect_extraction,
    export_images,
    extract_faces,
    extract_shard,
    plan_extraction,
)
from deepfake_core.data.extraction import VideoJob, read_extraction, write_failure
from deepfake_core.errors import DeepfakeError, MissingInput, WorkspaceError
from deepfake_core.faces.workers import Outcome, supervise
from deepfake_core.pipeline import run_stage
from deepfake_core.report import StageReport
from deepfake_core.sample import generate_sample
from deepfake_core.specs import DetectorSpec, FaceSpec, SamplingSpec
from deepfake_core.workspace import Workspace

CONFIG = ExtractConfig(
    detector=DetectorConfig(name="haar", input_side=0, min_face=0.3), face=FaceSpec(size=64), workers=1
)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Return a workspace with eight generated videos - two originals and their fakes, c23 and c40 - and their table."""
    workspace = Workspace.open(tmp_path_factory.mktemp("listed") / "workspace")
    folder = tmp_path_factory.mktemp("sample")
    config = SampleConfig(
        identities=6, frames=12, width=224, height=160, methods=("Deepfakes",), compressions=("c23", "c40"), workers=1
    )
    generate_sample(folder, config=config)
    for path in sorted(folder.rglob("*.mp4")):
        if path.stem.split("_")[0] in ("000", "001"):
            target = workspace.videos / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    list_videos(workspace)
    return workspace


@pytest.fixture(scope="module")
def finished(listed, tmp_path_factory):
    """Return that workspace with its faces extracted."""
    copy = shutil.copytree(listed.root, tmp_path_factory.mktemp("finished") / "workspace")
    workspace = Workspace.open(copy)
    extract_faces(workspace, config=CONFIG)
    return workspace


@pytest.fixture
def videos(listed, tmp_path):
    """Return a workspace of one's own with videos that wait for extraction."""
    return Workspace.open(shutil.copytree(listed.root, tmp_path / "workspace"))


@pytest.fixture
def extracted(finished, tmp_path):
    """Return a workspace of one's own whose faces are extracted."""
    return Workspace.open(shutil.copytree(finished.root, tmp_path / "extracted"))


def list_videos(workspace, **changes):
    """Write the videos table and its receipt; ``changes`` are columns of single videos, by name of the video."""
    rows = []
    for path in sorted(workspace.videos.rglob("*.mp4")):
        method, compression = path.parts[-4].replace("youtube", "original"), path.parts[-3]
        video_id = f"sample/{method}/{compression}/{path.stem}"
        rows.append(
            {
                "video_id": video_id,
                "path": workspace.relative(path),
                "dataset": "sample",
                "method": method,
                "compression": compression,
                "name": path.stem,
                "target": path.stem.split("_")[0],
                "label": int("_" in path.stem),
                "sha256": files.sha256_of_file(path),
                "bytes": path.stat().st_size,
                "status": "ok",
                **changes.get(f"{compression}_{path.stem}", {}),
            }
        )
    tables.write(workspace.videos_table, tables.from_rows(rows, tables.VIDEOS), schema=tables.VIDEOS)
    receipt = workspace.receipts / "download.json"
    receipt.unlink(missing_ok=True)
    with receipts.open_stage(workspace, "download", config=DownloadConfig()) as work:
        work.finish(StageReport(stage="download"), outputs=[workspace.videos_table])


def snapshot(workspace):
    """Return the digest of every file that extraction makes."""
    made = [workspace.extractions_table, workspace.faces_index, *sorted(workspace.faces.rglob("*"))]
    return {path.name + path.parent.name: files.sha256_of_file(path) for path in made if path.is_file()}


def times(workspace):
    """Return when each faces file was written, by video id."""
    paths = sorted(workspace.faces.rglob("[!.]*.parquet"))
    return {str(path.relative_to(workspace.faces).with_suffix("")): path.stat().st_mtime_ns for path in paths}


def test_every_sampled_frame_is_a_row(extracted):
    report = extract_faces(extracted, config=CONFIG)

    extractions = tables.read(extracted.extractions_table, schema=tables.EXTRACTIONS)
    index = tables.read(extracted.faces_index, schema=tables.FACES_INDEX)
    assert report.counts["videos"] == extractions.num_rows == 8
    assert report.counts["frames_sampled"] == index.num_rows == 8 * 3
    assert report.counts["faces"] + report.counts["no_face"] == 8 * 3
    assert report.counts["faces"] >= 20
    assert report.failed == 0
    assert [row["videos"] for row in report.table] == [2, 2, 2, 2]
    for row in extractions.to_pylist():
        path = extracted.faces_of(row["video_id"])
        faces = tables.read(path, schema=tables.FACES)
        assert faces["frame"].to_pylist() == ([2, 6, 10] if "/c40/" in row["video_id"] else [0, 4, 8])
        assert row["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert row["faces"] == pc.sum(pc.equal(faces["status"], "ok")).as_py()
        for face in faces.to_pylist():
            assert (face["width"], face["height"]) == (224, 160)
            assert (face["jpeg"] is not None) == (face["status"] == "ok") == (face["sharpness"] is not None)
            assert (face["reason"] is None) == (face["status"] == "ok")


def test_workers_and_shards_change_no_byte(videos, finished):
    undisturbed = snapshot(finished)
    config = CONFIG.model_copy(update={"shard_videos": 3, "workers": 2})

    shards = plan_extraction(videos, config=config)
    assert [len(shard) for shard in shards] == [3, 3, 2]
    reports = [extract_shard(videos, config=config, video_ids=shard) for shard in shards]
    report = collect_extraction(videos, config=config)

    assert snapshot(videos) == undisturbed
    assert sum(part.counts["faces"] for part in reports) == report.counts["faces"]
    assert plan_extraction(videos, config=config) == ()
    assert extract_faces(videos, config=config).outcome == "found"


def test_shards_that_were_not_done_are_missed(videos):
    shards = plan_extraction(videos, config=CONFIG.model_copy(update={"shard_videos": 4}))
    extract_shard(videos, config=CONFIG, video_ids=shards[0])

    with pytest.raises(MissingInput, match="4 videos were not extracted yet"):
        collect_extraction(videos, config=CONFIG)
    with pytest.raises(MissingInput, match="no readable video 'nobody'"):
        extract_shard(videos, config=CONFIG, video_ids=["nobody"])


def half_written(workspace) -> list[Path]:
    return list(workspace.root.rglob(f"{files.TEMPORARY_PREFIX}*.parquet"))


def forget_faces(workspace) -> None:
    """Bring a workspace back to where nothing was extracted."""
    shutil.rmtree(workspace.faces, ignore_errors=True)
    for path in (workspace.extractions_table, workspace.faces_index, *workspace.receipts.glob("extract.*")):
        path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_twenty_moments_five_inside_writes_it_ends_with_the_same_bytes(
    videos, finished, deepfake_commands, tmp_path
):
    config = tmp_path / "config.yaml"
    config.write_text(Config(extract=CONFIG).to_yaml())

    inside = deepfake_commands().kill_at_twenty_moments(
        *("extract", "--workspace", videos.root, "--config", config),
        forget=lambda: forget_faces(videos),
        half_written=[lambda: bool(half_written(videos))],
        made=lambda: snapshot(videos),
        kept=lambda: times(videos),
    )

    assert inside[0] >= 5
    assert snapshot(videos) == snapshot(finished)


@pytest.mark.parametrize(
    "change",
    [
        {"face": {"size": 80}},
        {"face": {"margin": 1.5}},
        {"face": {"square": False}},
        {"face": {"interpolation": "linear"}},
        {"face": {"jpeg_quality": 90}},
        {"face": {"convert": "planes"}},
        {"detector": {"name": "yunet"}},
        {"detector": {"input_side": 160}},
        {"detector": {"min_confidence": 0.7}},
        {"detector": {"min_face": 0.2}},
        {"detector": {"class_id": 1}},
        {"detector": {"main_face": "largest"}},
        {"detector": {"detect_every": 2}},
        {"sampling": {"step": 5}},
        {"sampling": {"offsets": {"c23": 1, "c40": 1}}},
        {"sampling": {"max_frames": 2}},
    ],
    ids=str,
)
def test_whatever_decides_how_faces_look_makes_all_of_them_again(extracted, tmp_path, change):
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(b"nobody opens them for a plan")
    values = CONFIG.model_dump()
    values["detector"] |= {"weights": weights, "sha256": files.sha256_of_file(weights)}
    for section, changed in change.items():
        values[section] |= changed

    plan = plan_extraction(extracted, config=ExtractConfig.model_validate(values))

    assert sum(map(len, plan)) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"workers": 2},
        {"memory_mb": 1024},
        {"seconds_per_video": 60.0},
        {"shard_videos": 3},
        {"detector": {"batch": 2}},
        {"detector": {"device": "cpu"}},
        {"sampling": {"offsets": {"c23": 0, "c40": 2}}},
        {"sampling": {"offsets": {"c40": 2, "raw": 1}}},
    ],
    ids=str,
)
def test_whatever_decides_nothing_makes_none_of_them_again(extracted, change):
    before = snapshot(extracted)
    values = CONFIG.model_dump()
    for name, changed in change.items():
        values[name] = {**values[name], **changed} if isinstance(changed, dict) else changed
    config = ExtractConfig.model_validate(values)

    assert plan_extraction(extracted, config=config) == ()
    extract_faces(extracted, config=config)
    assert snapshot(extracted) == before  # so that no later stage is stale


def test_every_value_of_a_spec_decides_something():
    for spec in (FaceSpec(), DetectorSpec(), SamplingSpec()):
        assert set(spec.fingerprint_values()) == set(type(spec).model_fields)


def test_a_change_makes_again_exactly_what_it_touches(extracted):
    before = times(extracted)

    shifted = CONFIG.model_copy(update={"sampling": SamplingSpec(offsets={"c40": 1})})
    report = extract_faces(extracted, config=shifted)

    remade = {video_id for video_id, moment in times(extracted).items() if moment != before[video_id]}
    assert remade == {video_id for video_id in before if "/c40/" in video_id}
    assert "4 videos were already done, 4 were made now" in report.notes
    assert any("offsets" in note for note in report.notes)

    before = times(extracted)
    extract_faces(extracted, config=shifted.model_copy(update={"face": FaceSpec(size=64, jpeg_quality=80)}))
    assert all(moment != before[video_id] for video_id, moment in times(extracted).items())


def test_speed_settings_make_nothing_again(extracted):
    faster = CONFIG.model_copy(update={"workers": 2, "memory_mb": 1024, "seconds_per_video": 60.0})

    assert extract_faces(extracted, config=faster).outcome == "found"


def test_a_video_with_other_bytes_is_made_again_alone(extracted):
    before = times(extracted)
    originals = sorted((extracted.videos / "original_sequences/youtube/c23/videos").iterdir())
    shutil.copy(originals[0], originals[1])
    list_videos(extracted)

    extract_faces(extracted, config=CONFIG)

    remade = {video_id for video_id, moment in times(extracted).items() if moment != before[video_id]}
    assert remade == {f"sample/original/c23/{originals[1].stem}"}


def test_a_lost_faces_file_is_made_again_by_the_same_command(extracted):
    before = snapshot(extracted)
    next(extracted.faces.rglob("*.parquet")).unlink()

    report = run_stage("extract", extracted, Config(extract=CONFIG))

    assert report.outcome == "done"
    assert snapshot(extracted) == before
    assert run_stage("extract", extracted, Config(extract=CONFIG)).outcome == "found"


@pytest.mark.parametrize("damage", ["a flipped bit", "a lost half"])
def test_a_damaged_faces_file_is_made_again_by_the_same_command(extracted, damage):
    before = snapshot(extracted)
    path = next(extracted.faces.rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    if damage == "a lost half":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 3] ^= 1
    path.write_bytes(data)

    report = run_stage("extract", extracted, Config(extract=CONFIG))

    assert report.notes[0] == "7 videos were already done, 1 were made now"
    assert snapshot(extracted) == before


def test_faces_that_were_copied_are_found_and_not_made_again(extracted):
    for path in extracted.faces.rglob("*.parquet"):
        path.touch()

    assert extract_faces(extracted, config=CONFIG).outcome == "found"


def test_bad_videos_are_rows_with_a_reason(videos):
    folder = videos.videos / "original_sequences/youtube/c23/videos"
    broken, gone, changed, listed = (folder / f"{name}.mp4" for name in ("broken", "gone", "changed", "listed"))
    good = next(folder.iterdir()).read_bytes()
    broken.write_bytes(good[:600])
    for path in (gone, changed, listed):
        path.write_bytes(good)
    list_videos(videos, c23_listed={"status": "unreadable", "reason": "listed.mp4: holds no frame", "sha256": None})
    gone.unlink()
    changed.write_bytes(good + b"!")

    report = extract_faces(videos, config=CONFIG)

    rows = tables.read(videos.extractions_table, schema=tables.EXTRACTIONS).to_pylist()
    reasons = {row["video_id"].rsplit("/", 1)[1]: row["reason"] for row in rows if row["reason"]}
    statuses = {row["video_id"].rsplit("/", 1)[1]: row["status"] for row in rows if row["reason"]}
    assert report.failed == len(reasons) == 4
    assert statuses == {"broken": "unreadable", "gone": "missing", "changed": "missing", "listed": "unreadable"}
    changed.unlink()
    assert extract_faces(videos, config=CONFIG).failed == 4  # only missing ones are left to do: no reason to refuse
    assert report.counts["videos"] == 12
    assert "not a video that can be opened" in reasons["broken"]
    assert "No such file" in reasons["gone"]
    assert "the videos table says" in reasons["changed"]
    assert reasons["listed"] == "listed.mp4: holds no frame"
    assert report.notes[0].startswith("2 unreadable, such as sample/original/c23/")
    assert report.notes[1].startswith("2 missing, such as sample/original/c23/")
    gone.write_bytes(good)
    changed.write_bytes(good)
    again = extract_faces(videos, config=CONFIG)
    assert again.failed == 2
    assert "9 videos were already done, 2 were made now" in again.notes
    assert extract_faces(videos, config=CONFIG).outcome == "found"


def test_a_disk_that_is_not_mounted_is_no_reason_to_give_up_its_videos(videos, finished):
    away = videos.videos.rename(videos.root / "elsewhere")

    with pytest.raises(MissingInput, match=r"none of the 8 videos .* Is their disk mounted\?"):
        extract_faces(videos, config=CONFIG)

    away.rename(videos.videos)
    extract_faces(videos, config=CONFIG)
    assert snapshot(videos) == snapshot(finished)


@pytest.mark.parametrize(
    ("ended", "status"),
    [("timeout", "timeout"), ("memory", "crashed"), ("crashed", "crashed"), ("failed", "unreadable")],
)
def test_a_video_at_its_limit_is_a_row_and_all_others_are_extracted(videos, finished, monkeypatch, ended, status):
    def one_ends_badly(jobs, **how):
        (key, _), *others = jobs
        yield Outcome(key, ended, reason="a test says so")
        yield from supervise(others, **how)

    with monkeypatch.context() as patch:
        patch.setattr(extract, "supervise", one_ends_badly)
        report = extract_faces(videos, config=CONFIG)

    rows = tables.read(videos.extractions_table, schema=tables.EXTRACTIONS).to_pylist()
    assert report.failed == 1
    assert [(row["status"], row["reason"]) for row in rows if row["reason"]] == [(status, "a test says so")]
    assert sum(row["faces"] > 0 for row in rows) == 7
    if status != "unreadable":
        extract_faces(videos, config=CONFIG)
        assert snapshot(videos) == snapshot(finished)


def test_colours_that_cannot_be_converted_cost_one_video(videos):
    folder = videos.videos / "original_sequences/youtube/c23/videos"
    strange = folder / "strange.mp4"
    with av.open(str(strange), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "colormatrix=YCgCo"})
        stream.width, stream.height, stream.pix_fmt = 224, 160, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.full((240, 224), 99, np.uint8), format="yuv420p")
        for packet in [*stream.encode(picture), *stream.encode()]:
            container.mux(packet)
    list_videos(videos)

    report = extract_faces(videos, config=CONFIG)

    assert report.failed == 1
    assert report.notes[0].startswith("1 unreadable, such as sample/original/c23/strange: ")
    assert report.counts["faces"] >= 20


def test_two_runs_at_once_do_not_sweep_each_others_work_away(videos):
    with files.replacing(videos.faces_of("sample/original/c23/somebody")) as being_written:
        plan_extraction(videos, config=CONFIG)

        assert being_written.exists()


def test_unicode_and_very_long_names_are_extracted(videos):
    folder = videos.videos / "original_sequences/youtube/c23/videos"
    original = next(folder.iterdir())
    names = ["深層偽造 😀", "n" * 251, "n" * 250 + "m", "ü" * 125]
    for name in names:
        shutil.copy(original, folder / f"{name}.mp4")
    list_videos(videos)

    report = extract_faces(videos, config=CONFIG)

    rows = tables.read(videos.faces_index, schema=tables.FACES_INDEX)
    assert report.failed == 0
    assert {f"sample/original/c23/{name}" for name in names} <= set(rows["video_id"].to_pylist())
    assert len({videos.faces_of(f"sample/original/c23/{name}") for name in names}) == 4


def test_a_video_that_was_stopped_is_tried_again_and_an_unreadable_one_is_not(extracted):
    undisturbed = snapshot(extracted)
    first, second, *_ = sorted(times(extracted))
    for video_id, status in ((first, "timeout"), (second, "unreadable")):
        path = extracted.faces_of(video_id)
        job = VideoJob(video_id, path, None, 0, read_extraction(path)["fingerprint"], path)
        write_failure(job, status=status, reason="a test says so")
    extracted.extractions_table.unlink()

    report = extract_faces(extracted, config=CONFIG)

    assert report.failed == 1
    assert report.notes[-1] == f"1 unreadable, such as {second}: a test says so"
    changed = {name for name, digest in snapshot(extracted).items() if undisturbed[name] != digest}
    assert len(changed) == 3  # the second video's file, the table and the index


def test_a_faces_file_of_an_older_version_is_made_again(extracted):
    undisturbed = snapshot(extracted)
    path = next(extracted.faces.rglob("*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"deepfake.version": b"0"}), path)
    extracted.extractions_table.unlink()

    extract_faces(extracted, config=CONFIG)

    assert snapshot(extracted) == undisturbed


def test_a_videos_table_of_an_older_version_is_refused(videos):
    table = pq.read_table(videos.videos_table)
    older = table.replace_schema_metadata({**table.schema.metadata, b"deepfake.version": b"0"})
    pq.write_table(older, videos.videos_table)
    (videos.receipts / "download.json").unlink()
    with receipts.open_stage(videos, "download", config=DownloadConfig()) as work:
        work.finish(StageReport(stage="download"), outputs=[videos.videos_table])

    with pytest.raises(WorkspaceError, match="expected version '1', found '0'"):
        extract_faces(videos, config=CONFIG)


def test_a_folder_that_cannot_be_written_ends_the_run(videos):
    videos.faces.write_text("a file where the folder should be")

    with pytest.raises(DeepfakeError, match=r"cannot write .* finished videos are kept"):
        extract_faces(videos, config=CONFIG)


def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(videos):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))  # workers inherit it; a faces file is larger
    try:
        with pytest.raises(DeepfakeError, match="File too large"):
            extract_faces(videos, config=CONFIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(videos.faces.rglob("*.parquet"))

    assert extract_faces(videos, config=CONFIG).failed == 0


def test_exported_images_are_the_bytes_that_training_sees(extracted, tmp_path):

    report = export_images(extracted, tmp_path / "images")

    images = sorted((tmp_path / "images").rglob("*.jpg"))
    faces = pa.concat_tables(tables.read(path, schema=tables.FACES) for path in extracted.faces.rglob("*.parquet"))
    jpegs = {row["jpeg"] for row in faces.to_pylist() if row["status"] == "ok"}
    assert report.counts == {"videos": 8, "images": len(images)}
    assert {path.read_bytes() for path in images} == jpegs
    older = images[0].with_name("000099.jpg")
    older.write_bytes(b"of another sampling")
    export_images(extracted, tmp_path / "images")
    assert not older.exists()
    assert images[0].relative_to(tmp_path / "images").parts[:2] == ("Deepfakes", "c23")
