"""Each face is written exactly once, in the same place for the same seed, whoever writes and whoever is killed."""

import shutil
import tracemalloc
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf

from deepfake_core import files, tables
from deepfake_core.config import Config, ExtractConfig, RecordsConfig, SplitConfig, ValidateConfig
from deepfake_core.data import records, shards
from deepfake_core.data.records import verify_records, write_records
from deepfake_core.data.records_index import RecordsIndex, read_index
from deepfake_core.data.tfrecord import place_of
from deepfake_core.errors import (
    DataQualityError,
    MissingInput,
    SplitError,
    StaleInput,
    TornGroupError,
    WorkspaceError,
)

CONFIG = RecordsConfig(shards=(5, 2, 2), seed=42, workers=2)

NOTEBOOK = {"images": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.FixedLenFeature([], tf.int64)}
"""The description with which the notebook parses its records."""


def faces_in(workspace) -> dict[tuple[str, int], tuple[bytes, int]]:
    """Return all extracted faces: (video, frame) → (JPEG, label)."""
    faces = {}
    for path in workspace.faces.rglob("*.parquet"):
        for row in tables.read(path, schema=tables.FACES).to_pylist():
            if row["status"] == "ok":
                label = int("/original/" not in row["video_id"])
                faces[row["video_id"], row["frame"]] = (row["jpeg"], label)
    return faces


def examples_in(workspace, pattern: str = "*/*.tfrecord") -> list[tuple[str, dict]]:
    """Return all records as TensorFlow reads them, with the shard they stand in."""
    found = []
    for path in sorted(workspace.records.glob(pattern)):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            values = {name: getattr(value, value.WhichOneof("kind")).value[0] for name, value in features.items()}
            found.append((path.relative_to(workspace.records).as_posix(), values))
    return found


def bytes_in(workspace) -> dict[str, str]:
    """Return digests of everything below ``records/``, temporaries included."""
    return {
        path.relative_to(workspace.records).as_posix(): files.sha256_of_file(path)
        for path in sorted(workspace.records.rglob("*"))
        if path.is_file()
    }


def test_every_face_is_written_exactly_once_with_what_is_known_of_it(faces_workspace):
    workspace = faces_workspace()

    report = write_records(workspace, config=CONFIG)

    examples = [values for _, values in examples_in(workspace)]
    written = {
        (values["video_id"].decode(), values["frame"]): (values["images"], values["labels"]) for values in examples
    }
    assert len(examples) == report.counts["faces"] == 120
    assert written == faces_in(workspace)
    fake = next(v for v in examples if v["video_id"] == b"ff/Deepfakes/c40/000_001")
    assert (fake["method"], fake["compression"], fake["group"]) == (b"Deepfakes", b"c40", b"000")


def test_frames_without_a_face_are_not_written(faces_workspace):
    workspace = faces_workspace(frames=2)

    write_records(workspace, config=CONFIG)

    assert {values["frame"] for _, values in examples_in(workspace)} == {0, 4}


def test_each_face_stands_in_the_shard_and_in_the_order_of_its_hash(faces_workspace):
    workspace = faces_workspace()

    write_records(workspace, config=CONFIG)

    for split, count in (("train", 5), ("val", 2), ("test", 2)):
        for number in range(count):
            here = examples_in(workspace, f"{split}/{number:05d}-of-{count:05d}.tfrecord")
            places = [place_of(v["video_id"].decode(), v["frame"], seed=42, shards=count) for _, v in here]
            assert {place.shard for place in places} <= {number}
            assert [place.order for place in places] == sorted(place.order for place in places)


def test_splits_keep_their_groups_apart(faces_workspace):
    workspace = faces_workspace()

    write_records(workspace, config=CONFIG)

    groups = {}
    for shard, values in examples_in(workspace):
        groups.setdefault(shard.split("/")[0], set()).add(values["group"].decode())
    assert groups == {"train": {"000", "002", "004"}, "val": {"006"}, "test": {"008"}}


def test_the_notebooks_own_description_reads_the_records(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)

    labels = Counter()
    for path in workspace.records.glob("train/*.tfrecord"):
        for record in tf.data.TFRecordDataset(str(path)):
            parsed = tf.io.parse_single_example(record, NOTEBOOK)
            assert tf.io.decode_jpeg(parsed["images"]).shape == (48, 48, 3)
            labels[int(parsed["labels"])] += 1

    assert labels == {0: 36, 1: 36}


def test_the_index_says_what_the_shards_hold_and_how_the_faces_were_made(faces_workspace):
    workspace = faces_workspace()

    write_records(workspace, config=CONFIG)

    index = files.read_json(workspace.records_index)
    assert index["schema"] == 1
    assert index["seed"] == 42
    assert index["spec"]["face"]["size"] == 48
    assert index["spec"]["detector"]["name"] == "haar"
    assert index["spec"]["sampling"]["step"] == 4
    assert index["splits"]["train"]["classes"] == {"0": 36, "1": 36}
    assert index["splits"]["test"]["groups"] == ["008"]
    for name, part in index["splits"].items():
        assert sum(shard["faces"] for shard in part["shards"]) == part["faces"]
        for shard in part["shards"]:
            path = workspace.resolve(shard["path"])
            assert path.parent.name == name
            assert shard["bytes"] == path.stat().st_size
            assert shard["sha256"] == files.sha256_of_file(path)
            assert shard["faces"] == sum(1 for _ in tf.data.TFRecordDataset(str(path)))


def test_the_report_counts_faces_by_split_and_class(faces_workspace):
    report = write_records(faces_workspace(), config=CONFIG)

    rows = {row["split"]: row for row in report.table}
    assert (rows["train"]["original"], rows["train"]["manipulated"], rows["train"]["shards"]) == (36, 36, 5)
    assert (rows["val"]["faces"], rows["val"]["videos"], rows["val"]["groups"]) == (24, 4, 1)
    assert report.counts == {"faces": 120, "videos": 20, "shards": 9}


def test_workers_change_no_byte_and_a_seed_changes_the_order(faces_workspace):
    one, four, other = faces_workspace("one"), faces_workspace("four"), faces_workspace("other")

    write_records(one, config=CONFIG.model_copy(update={"workers": 1}))
    write_records(four, config=CONFIG.model_copy(update={"workers": 4}))
    write_records(other, config=CONFIG.model_copy(update={"seed": 43}))

    assert bytes_in(one) == bytes_in(four)
    assert read_index(one).digest == read_index(four).digest != read_index(other).digest
    assert {v["video_id"] for _, v in examples_in(other)} == {v["video_id"] for _, v in examples_in(one)}


def test_finished_records_are_found_and_not_written_again(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)
    before = {path: path.stat().st_mtime_ns for path in workspace.records.rglob("*.tfrecord")}

    report = write_records(workspace, config=CONFIG)

    assert report.outcome == "found"
    assert {path: path.stat().st_mtime_ns for path in workspace.records.rglob("*.tfrecord")} == before


def test_other_shards_replace_the_old_ones_and_leave_nothing_behind(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)

    report = write_records(workspace, config=CONFIG.model_copy(update={"shards": (3, 1, 1)}))

    assert "shards" in report.notes[0]
    assert sorted(path.name for path in workspace.records.glob("train/*")) == [
        "00000-of-00003.tfrecord",
        "00001-of-00003.tfrecord",
        "00002-of-00003.tfrecord",
    ]
    assert len(examples_in(workspace)) == 120


def test_more_shards_than_faces_are_all_written_and_noted(faces_workspace):
    workspace = faces_workspace(frames=1)

    report = write_records(workspace, config=RecordsConfig(shards=(40, 2, 2), seed=1))

    assert len(list(workspace.records.glob("train/*.tfrecord"))) == 40
    assert len(examples_in(workspace)) == 20
    assert any("train shards are empty" in note for note in report.notes)
    assert verify_records(workspace).counts["faces"] == 20


def test_videos_that_are_in_no_split_are_left_out_and_counted(faces_workspace, finish_again):
    workspace = faces_workspace()
    splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
    tables.write(workspace.splits_table, splits.slice(4), schema=tables.SPLITS)
    finish_again(workspace, "split", SplitConfig(mode="ratio", counts=(2, 1, 1)), [workspace.splits_table])
    revalidate(workspace, finish_again)

    report = write_records(workspace, config=CONFIG)

    assert report.counts["faces"] == 96
    assert "24 faces of 4 videos are in no split and were left out" in report.notes


def revalidate(workspace, finish_again):
    finish_again(workspace, "validate", ValidateConfig(), [workspace.reports / "quality.json"])


# Gates


def test_a_torn_group_is_refused_and_nothing_is_written(faces_workspace):
    workspace = faces_workspace(split_of_video={"000_001": "test"})

    with pytest.raises(TornGroupError, match="000") as caught:
        write_records(workspace, config=CONFIG)

    assert caught.value.exit_code == 3
    assert not workspace.records_index.exists()


def test_a_split_without_a_face_is_refused(faces_workspace):
    workspace = faces_workspace(split_of_group={"000": "train", "002": "train", "004": "test"})

    with pytest.raises(SplitError, match="no face is in 'val'"):
        write_records(workspace, config=CONFIG)


def test_a_faces_file_that_extraction_did_not_write_is_refused(faces_workspace):
    workspace = faces_workspace()
    path = workspace.faces_of("ff/original/c40/000")
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(StaleInput, match="extract again"):
        write_records(workspace, config=CONFIG)

    assert not workspace.records_index.exists()


def test_a_faces_file_that_is_gone_is_missed_by_name(faces_workspace):
    workspace = faces_workspace()
    workspace.faces_of("ff/original/c40/000").unlink()

    with pytest.raises(StaleInput, match=r"original/c40/000.parquet .* it is gone. .*extract again"):
        write_records(workspace, config=CONFIG)


def test_faces_of_which_nobody_knows_how_they_were_made_are_refused(faces_workspace, finish_again):
    workspace = faces_workspace()
    table = tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS)
    tables.write(workspace.extractions_table, table, schema=tables.EXTRACTIONS)
    (workspace.receipts / "extract.json").unlink()
    finish_again(workspace, "extract", ExtractConfig(), [workspace.extractions_table])
    revalidate(workspace, finish_again)

    with pytest.raises(StaleInput, match="does not say how its faces were made"):
        write_records(workspace, config=CONFIG)


def test_records_need_the_stages_before_them(workspace):
    with pytest.raises(MissingInput, match="stage 'split' is needed first"):
        write_records(workspace, config=CONFIG)


def test_a_disk_too_small_is_refused_before_anything_is_written(faces_workspace, monkeypatch):
    workspace = faces_workspace()
    monkeypatch.setattr(records.shutil, "disk_usage", lambda _: Disk(free=1000))

    with pytest.raises(WorkspaceError, match="Free space"):
        write_records(workspace, config=CONFIG)

    assert not list(workspace.records.rglob("*.tfrecord"))


class Disk:
    def __init__(self, free):
        self.free = free


def test_a_disk_that_fills_up_ends_with_advice_and_the_next_run_succeeds(faces_workspace, monkeypatch):
    workspace, undisturbed = faces_workspace(), faces_workspace("undisturbed")
    write_records(undisturbed, config=CONFIG)
    whole = shards.files.replacing

    def full_at_the_third_shard(path, **how):
        if path.name == "00002-of-00005.tfrecord":
            raise OSError(28, "No space left on device")
        return whole(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(shards.files, "replacing", full_at_the_third_shard)
        with pytest.raises(WorkspaceError, match="No space left on device"):
            write_records(workspace, config=CONFIG)

    assert not workspace.records_index.exists()
    write_records(workspace, config=CONFIG)
    assert bytes_in(workspace) == bytes_in(undisturbed)


# Proof


def test_verification_proves_what_was_written(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)

    report = verify_records(workspace)

    assert report.counts == {"faces": 120, "shards": 9, "videos": 20}


def test_verification_finds_one_flipped_bit_and_names_the_shard(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)
    shard = workspace.records / "train" / "00003-of-00005.tfrecord"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))

    with pytest.raises(DataQualityError, match="00003-of-00005"):
        verify_records(workspace)


def test_verification_finds_a_shard_that_no_index_knows_and_another_run_removes_it(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)
    whole = bytes_in(workspace)
    shutil.copy(
        workspace.records / "train/00000-of-00005.tfrecord", workspace.records / "train/00000-of-00003.tfrecord"
    )

    with pytest.raises(DataQualityError, match=r"00000-of-00003\.tfrecord is in no index"):
        verify_records(workspace)

    assert write_records(workspace, config=CONFIG).outcome == "done"
    assert bytes_in(workspace) == whole


@pytest.mark.parametrize(
    ("forge", "complaint"),
    [
        (lambda part: part["classes"].update({"0": 35, "1": 37}), "other classes"),
        (lambda part: part.update(groups=["000"]), "other groups"),
        (lambda part: part.update(faces=71), "other faces"),
    ],
    ids=["classes", "groups", "faces"],
)
def test_verification_finds_an_index_that_counts_wrong(faces_workspace, finish_again, forge, complaint):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)
    index = files.read_json(workspace.records_index)
    forge(index["splits"]["train"])
    files.write_json(workspace.records_index, index)
    (workspace.receipts / "records.json").unlink()
    finish_again(workspace, "records", CONFIG, [workspace.records_index])

    with pytest.raises(DataQualityError, match=f"gives train {complaint}"):
        verify_records(workspace)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda records: records[1:], "lacks ff/"),
        (lambda records: [*records, records[0]], "a second time"),
        (lambda records: records[::-1], "another order"),
        (lambda records: [*records[:-1], b"no face"], "no face makes"),
    ],
    ids=["lost", "twice", "misplaced", "stranger"],
)
def test_verification_finds_a_face_that_is_not_where_it_belongs(faces_workspace, finish_again, change, complaint):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)
    index = read_index(workspace)
    shard = index.splits["train"].shards[0]
    rewrite(workspace, index, change)

    with pytest.raises(DataQualityError, match=complaint):
        verify_records(workspace)

    assert shard.faces > 2


def rewrite(workspace, index, change):
    """Change the records of the first train shard behind an index that agrees with it."""
    part = index.splits["train"]
    path = workspace.resolve(part.shards[0].path)
    changed = change(list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in changed:
            writer.write(record)
    shard = part.shards[0].model_copy(
        update={"sha256": files.sha256_of_file(path), "bytes": path.stat().st_size, "faces": len(changed)}
    )
    part = part.model_copy(update={"shards": (shard, *part.shards[1:])})
    forged = RecordsIndex.of(seed=index.seed, spec=index.spec, splits={**index.splits, "train": part})
    files.write_json(workspace.records_index, forged.model_dump(mode="json", by_alias=True))
    receipt = files.read_json(workspace.receipts / "records.json")
    receipt["outputs"] = {"records/index.json": files.sha256_of_file(workspace.records_index)}
    files.write_json(workspace.receipts / "records.json", receipt)


def test_a_lost_shard_is_written_again_by_the_same_command(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=CONFIG)
    before = bytes_in(workspace)
    (workspace.records / "train" / "00003-of-00005.tfrecord").unlink()

    report = write_records(workspace, config=CONFIG)

    assert report.outcome == "done"
    assert bytes_in(workspace) == before


# Kills


@pytest.fixture(scope="module")
def commands(deepfake_commands):
    return deepfake_commands("deepfake_core.data.records")


@pytest.fixture
def command(tmp_path):
    """Return the function that gives the arguments which write the records of a workspace."""
    config = tmp_path / "config.yaml"
    config.write_text(Config(records=CONFIG).to_yaml())
    return lambda workspace: ("records", "--workspace", workspace.root, "--config", config)


def test_a_writer_killed_at_twenty_moments_ends_with_the_same_bytes(faces_workspace, commands, command):
    workspace, undisturbed = faces_workspace(frames=30), faces_workspace("undisturbed", frames=30)
    write_records(undisturbed, config=CONFIG)

    inside = commands.kill_at_twenty_moments(
        *command(workspace),
        forget=lambda: forget(workspace),
        half_written=[lambda: is_spilling(workspace), lambda: is_writing_shards(workspace)],
        made=lambda: bytes_in(workspace),
        kept=lambda: finished_shards(workspace),
    )

    assert sum(inside) >= 5
    assert min(inside) >= 1
    assert bytes_in(workspace) == bytes_in(undisturbed)


def is_spilling(workspace) -> bool:
    """Say whether some faces, and not all, are in the buckets of their shards."""
    buckets = list(workspace.records.glob(".spill-*/*.bucket"))
    return any(bucket.stat().st_size for bucket in buckets) and not list(workspace.records.glob(".spill-*/layout.npz"))


def is_writing_shards(workspace) -> bool:
    """Say whether some shards are finished, and not all."""
    return bool(list(workspace.records.glob(".spill-*/*.json"))) and not workspace.records_index.exists()


def finished_shards(workspace) -> dict[Path, int]:
    """Return when each shard was written that another run need not write again."""
    known = {path.stem for path in workspace.records.glob(".spill-*/*.json")}
    return {
        path: path.stat().st_mtime_ns
        for path in workspace.records.glob("*/[0-9]*.tfrecord")
        if workspace.records_index.exists() or f"{path.parent.name}-{path.name[:5]}" in known
    }


def forget(workspace) -> None:
    """Bring a workspace back to where no records were begun."""
    shutil.rmtree(workspace.records, ignore_errors=True)
    for name in ("records.json", "records.started"):
        (workspace.receipts / name).unlink(missing_ok=True)


def test_a_run_killed_after_the_spill_is_no_start_for_another_seed(faces_workspace, monkeypatch):
    workspace, undisturbed = faces_workspace(), faces_workspace("undisturbed")
    other = CONFIG.model_copy(update={"seed": 43})
    write_records(undisturbed, config=other)
    write_records(workspace, config=CONFIG.model_copy(update={"seed": 1}))

    with monkeypatch.context() as patch:
        patch.setattr(shards.Spill, "write_shard", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_records(workspace, config=CONFIG)
    assert not workspace.records_index.exists()
    write_records(workspace, config=other)

    assert bytes_in(workspace) == bytes_in(undisturbed)


def test_the_room_of_a_killed_run_is_not_missed_by_the_next(faces_workspace, monkeypatch):
    workspace = faces_workspace()
    faces = sum(path.stat().st_size for path in workspace.faces.rglob("*.parquet"))
    room = 2 * faces + records.SPARE_BYTES

    def disk_usage(folder):
        return Disk(free=room - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))

    monkeypatch.setattr(records.shutil, "disk_usage", disk_usage)
    with monkeypatch.context() as patch:
        patch.setattr(shards.np, "savez", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_records(workspace, config=CONFIG)

    assert write_records(workspace, config=CONFIG).counts["faces"] == 120


def stopped(*_, **__):
    """Stand in for a function during which somebody stops the run."""
    raise KeyboardInterrupt


def test_the_writer_holds_less_than_a_shard_in_memory(faces_workspace):
    workspace = faces_workspace(frames=100, size=160)
    arrow, usual = pa.proxy_memory_pool(pa.system_memory_pool()), pa.default_memory_pool()

    pa.set_memory_pool(arrow)
    tracemalloc.start()
    write_records(workspace, config=RecordsConfig(shards=(1, 1, 1), seed=1, workers=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pa.set_memory_pool(usual)

    shard = read_index(workspace).splits["train"].shards[0]
    assert shard.bytes > 10_000_000
    assert peak + arrow.max_memory() < shard.bytes / 2
