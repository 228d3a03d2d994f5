"""A finished video is kept whole or not at all, whenever the process is killed."""

import pytest

from deepfake_core import tables
from deepfake_core.serving import remember
from deepfake_core.serving.remember import Memory
from deepfake_core.serving.scratch import scratch_folder

DIGEST = "ab" * 32
FACES = tables.from_rows(
    [{"frame": 0, "logit": 1.5, "decoded": True, "jpeg": b"face"}, {"frame": 4, "decoded": True}], tables.SCORED_FACES
)


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path, onnx_sha256="cd" * 32)


def test_what_is_kept_is_found_again_with_its_most_suspicious_face(memory):
    assert not memory.holds(DIGEST)

    with scratch_folder(memory.folder) as scratch:
        memory.keep(DIGEST, FACES, scratch=scratch)

    assert memory.holds(DIGEST)
    assert memory.faces_of(DIGEST)["logit"].to_pylist() == [1.5, None]
    assert memory.suspect_of(DIGEST) == b"face"


def test_what_a_kill_leaves_half_written_is_swept_by_the_next_run(memory, monkeypatch):
    """A kill lets no ``finally`` run: the half-written file stays where it was being written."""

    def killed(path, table, *, schema):
        (path.parent / ".tmp-half.parquet").write_bytes(b"half")
        raise SystemExit

    monkeypatch.setattr(remember.tables, "write", killed)
    scratch = memory.folder / ".scratch-killed"
    scratch.mkdir(parents=True)
    with pytest.raises(SystemExit):
        memory.keep(DIGEST, FACES, scratch=scratch)

    with scratch_folder(memory.folder):
        pass

    assert not memory.holds(DIGEST)
    assert [path.name for path in memory.folder.rglob("*") if path.name != ".scratch-lock"] == []
