"""Workspace: a folder is a workspace of this version, or it is left alone."""

from pathlib import Path

import pytest

from deepfake_core import files
from deepfake_core.errors import WorkspaceError
from deepfake_core.workspace import SCHEMA, Workspace


def test_a_new_folder_becomes_a_workspace_and_is_found_again(tmp_path: Path):
    made = Workspace.open(tmp_path / "new" / "ünïcode räum")
    found = Workspace.existing(made.root)

    assert found.root == made.root
    assert files.read_json(made.marker) == {"schema": SCHEMA}


def test_a_workspace_of_another_schema_version_is_refused(tmp_path: Path):
    workspace = Workspace.open(tmp_path / "old")
    files.write_json(workspace.marker, {"schema": SCHEMA + 1})

    with pytest.raises(WorkspaceError, match=f"schema version {SCHEMA + 1}, this program reads version {SCHEMA}"):
        Workspace.open(workspace.root)


def test_a_damaged_marker_is_refused(tmp_path: Path):
    workspace = Workspace.open(tmp_path / "old")
    workspace.marker.write_text("{", encoding="utf-8")

    with pytest.raises(WorkspaceError, match="is damaged"):
        Workspace.existing(workspace.root)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.docx").write_bytes(b"precious")

    with pytest.raises(WorkspaceError, match=r"not empty .*thesis\.docx"):
        Workspace.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_file_is_no_workspace(tmp_path: Path):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    with pytest.raises(WorkspaceError, match="is a file"):
        Workspace.open(tmp_path / "file")


def test_paths_are_stored_relative_inside_and_absolute_outside(workspace: Workspace, tmp_path: Path):
    inside, outside = workspace.videos / "a.mp4", tmp_path / "elsewhere" / "b.mp4"

    assert workspace.relative(inside) == "videos/a.mp4"
    assert workspace.relative(outside) == str(outside)
    assert workspace.resolve(workspace.relative(inside)) == inside
    assert workspace.resolve(workspace.relative(outside)) == outside


@pytest.mark.parametrize("video_id", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_a_video_id_never_leaves_the_folder_of_faces(workspace: Workspace, video_id: str):
    with pytest.raises(WorkspaceError, match="would leave"):
        workspace.faces_of(video_id)
