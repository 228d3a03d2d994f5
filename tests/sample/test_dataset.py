import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from deepfake_core import receipts
from deepfake_core.errors import ConfigError, DeepfakeError, WorkspaceBusy
from deepfake_core.sample import dataset, generate_sample, sample_videos


def contents(directory):
    """Return the bytes of all that a user sees below a folder."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and dataset.RECEIPTS not in path.parts
    }


def made_at(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.rglob("*.mp4")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    """A finished tiny sample, to be copied before it is changed."""
    directory = tmp_path_factory.mktemp("finished")
    generate_sample(directory, config=tiny())
    return directory


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_the_sample_lies_in_the_layout_of_faceforensics(finished):
    names = [f"{number:03d}" for number in range(8)]
    swaps = ["000_001", "001_000", "002_003", "003_002", "004_005", "005_004", "006_007", "007_006"]
    assert sorted(contents(finished)) == sorted(
        [
            *(f"original_sequences/youtube/c40/videos/{name}.mp4" for name in names),
            *(f"manipulated_sequences/Deepfakes/c40/videos/{swap}.mp4" for swap in swaps),
            *(f"splits/{name}.json" for name in ("train", "val", "test", "conversion_dict")),
            "sample.json",
        ]
    )


def test_the_number_of_workers_changes_not_one_byte(finished, tmp_path, tiny):
    report = generate_sample(tmp_path / "two", config=tiny(workers=2))

    assert contents(tmp_path / "two") == contents(finished)
    assert report.counts == {"identities": 8, "pairs": 4, "originals": 8, "fakes": 8}


def test_another_seed_gives_other_videos(copy, tiny):
    before = contents(copy)

    generate_sample(copy, config=tiny(seed=2))

    after = contents(copy)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before if name.endswith(".mp4"))


def test_a_finished_sample_is_not_made_again(copy, tiny):
    before = made_at(copy)

    report = generate_sample(copy, config=tiny())

    assert made_at(copy) == before
    assert report.notes == ("kept 4 of 4 pairs that an earlier run finished",)


def test_a_damaged_video_is_made_again_with_its_pair_alone(copy, tiny):
    before, good = made_at(copy), contents(copy)
    (copy / "original_sequences/youtube/c40/videos/002.mp4").write_bytes(b"damaged")

    generate_sample(copy, config=tiny())

    again = {name for name, at in made_at(copy).items() if at != before[name]}
    assert again == {"002.mp4", "003.mp4", "002_003.mp4", "003_002.mp4"}
    assert contents(copy) == good


def test_a_smaller_sample_leaves_nobody_of_the_larger_one_behind(copy, tiny):
    (copy / "notes.mp4").write_bytes(b"not ours")

    generate_sample(copy, config=tiny(identities=6, methods=("FaceSwap",)))

    names = {path.name for path in copy.rglob("*.mp4")}
    assert "006.mp4" not in names
    assert not list(copy.glob("manipulated_sequences/Deepfakes/**/*.mp4"))
    assert len(names) == 13
    assert "notes.mp4" in names


KILLED = """
import sys
from pathlib import Path
from deepfake_core.config import SampleConfig
from deepfake_core.sample import generate_sample
generate_sample(Path(sys.argv[1]), config=SampleConfig.model_validate_json(sys.argv[2]))
"""


def test_killed_and_called_again_it_keeps_the_finished_pairs(finished, tmp_path, tiny):
    config, directory = tiny(), tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(directory), config.model_dump_json()])
    done = wait_for_a_finished_pair(directory)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = made_at(directory)

    report = generate_sample(directory, config=config)

    after = made_at(directory)
    assert all(after[f"{first}.mp4"] == before[f"{first}.mp4"] for first in done)
    assert report.notes[0].startswith("kept")
    assert not list(directory.rglob(".tmp-*"))
    assert contents(directory) == contents(finished)


def wait_for_a_finished_pair(directory: Path) -> list[str]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        receipts_found = sorted((directory / dataset.RECEIPTS).glob("*_*.json"))
        finished = [path.stem[:3] for path in receipts_found if json.loads(path.read_text())["digest"]]
        if finished:
            return finished
        time.sleep(0.02)
    pytest.fail("no pair was finished within two minutes")


def test_a_folder_with_something_else_is_refused_and_not_touched(tmp_path, tiny):
    real = tmp_path / "original_sequences" / "youtube" / "c40" / "videos" / "000.mp4"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"a real video")

    with pytest.raises(ConfigError, match=r"could overwrite \(found: original_sequences\)"):
        generate_sample(tmp_path, config=tiny())

    assert real.read_bytes() == b"a real video"
    assert not (tmp_path / dataset.RECEIPTS).exists()


def test_a_file_is_no_folder(tmp_path, tiny):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="is a file"):
        generate_sample(tmp_path / "file", config=tiny())


def test_two_at_once_do_not_mix(tmp_path, tiny):
    (tmp_path / dataset.RECEIPTS).mkdir()

    with FileLock(tmp_path / dataset.RECEIPTS / "lock"), pytest.raises(WorkspaceBusy, match="another process"):
        generate_sample(tmp_path, config=tiny())


def test_a_pair_that_cannot_be_made_is_an_error_that_says_whose(copy, tiny):
    in_the_way = copy / "original_sequences" / "youtube" / "c40" / "videos" / "004.mp4"
    in_the_way.unlink()
    in_the_way.mkdir()

    with pytest.raises(DeepfakeError, match="person 004"):
        generate_sample(copy, config=tiny())

    assert not (copy / dataset.INDEX).exists()


def test_the_stage_is_found_the_second_time_and_notices_what_changed(workspace, finished, tiny):
    shutil.copytree(finished, workspace.videos)
    first = sample_videos(workspace, config=tiny())

    assert sample_videos(workspace, config=tiny(workers=2, enabled=True)).outcome == "found"
    changed = sample_videos(workspace, config=tiny(seed=2, identities=6))

    assert (first.outcome, changed.outcome) == ("done", "done")
    assert changed.notes[0] == "made again: its configuration changed: identities 8 → 6, seed 1 → 2"
    (workspace.videos / dataset.INDEX).write_text("{}")
    assert receipts.state_of(workspace, "sample").state == "stale"


def test_the_stage_makes_a_lost_video_again(workspace, finished, tiny):
    shutil.copytree(finished, workspace.videos)
    sample_videos(workspace, config=tiny())
    lost = workspace.videos / "original_sequences/youtube/c40/videos/003.mp4"
    lost.unlink()

    report = sample_videos(workspace, config=tiny())

    assert report.outcome == "done"
    assert contents(workspace.videos) == contents(finished)


def test_the_index_has_the_digest_of_every_video(sample):
    index = json.loads((sample.directory / dataset.INDEX).read_text())

    assert sorted(index["videos"]) == [video.path.relative_to(sample.directory).as_posix() for video in sample.videos()]


def test_generating_loads_none_of_the_heavy_libraries():
    code = (
        "import sys, deepfake_core.sample;"
        "print(sorted({'tensorflow', 'keras', 'torch', 'mlflow', 'prefect', 'sklearn', 'pandas'} & set(sys.modules)))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "[]"
