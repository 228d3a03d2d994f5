"""``deepfake download`` as people run it: exit codes, a missing file, and a machine that is switched off."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deepfake_core import tables
from deepfake_core.cli import app
from deepfake_core.workspace import Workspace

ORIGINALS = "/v3/original_sequences/youtube/c40/videos"
FAKES = "/v3/manipulated_sequences/Deepfakes/c40/videos"
SETTINGS = {
    "source": '"faceforensics"',
    "datasets": '["original", "Deepfakes"]',
    "compressions": '["c40"]',
    "backoff_seconds": "0.02",
    "attempts": "3",
    "timeout_seconds": "1.0",
}


@pytest.fixture
def arguments(server, tmp_path):
    """Return the arguments of the download from the test server."""
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"download.{key}={value}")]
    return ["download", "--workspace", str(tmp_path / "w"), "--server", server.url, "--json", *overrides]


def deepfake(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def assert_intact(server, workspace: Workspace) -> None:
    for path, body in server.content.items():
        assert (workspace.videos / path.removeprefix("/v3/")).read_bytes() == body
    assert not list(workspace.videos.rglob("*.part*"))


def test_terms_that_were_not_accepted_end_with_2_and_the_link(server, arguments):
    ended = deepfake(*arguments)

    assert ended.exit_code == 2
    assert "FaceForensics_TOS.pdf" in ended.stderr
    assert server.requests == []


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [("datasets", '["original", "original"]', "original"), ("compressions", '["c40", "c23", "c40"]', "c40")],
)
def test_a_set_or_compression_named_twice_ends_with_2(server, arguments, key, value, word):
    ended = deepfake(*arguments, "--accept-terms", "--set", f"download.{key}={value}")

    assert ended.exit_code == 2
    assert f"download.{key}: " in ended.stderr
    assert f"remove the second {word}" in ended.stderr
    assert server.requests == []


@pytest.mark.parametrize("url", ["", "foo", "localhost:8000/", "ftp://host/", "http://", "http://127.0.0.1:9 9/"])
def test_a_server_that_is_no_url_ends_with_2(arguments, url):
    ended = deepfake(*arguments, "--accept-terms", "--server", url)

    assert ended.exit_code == 2
    assert "download.server_url" in ended.stderr
    assert "http" in ended.stderr


@pytest.mark.parametrize("option", ["--accept-terms", "--server"])
def test_an_option_of_the_servers_is_not_silently_unused_where_none_is_asked(tmp_path, option):
    value = ["http://127.0.0.1:9/"] if option == "--server" else []

    ended = deepfake("download", "--workspace", str(tmp_path / "w"), option, *value)

    assert ended.exit_code == 2
    assert option in ended.stderr
    assert "--set download.source=faceforensics" in ended.stderr
    assert not (tmp_path / "w").exists()


def test_without_videos_the_command_says_how_to_fetch_them(tmp_path):
    ended = deepfake("download", "--workspace", str(tmp_path / "w"))

    assert ended.exit_code == 1
    assert "--set download.source=faceforensics" in ended.stderr


def test_a_missing_file_ends_with_4_and_the_next_run_fetches_just_that_one(server, arguments, tmp_path, verified):
    missing = f"{FAKES}/253_183.mp4"
    body = server.content.pop(missing)
    server.connection_limit = 4
    server.faults |= {
        f"{ORIGINALS}/183.mp4": ["drop", "503"],
        f"{ORIGINALS}/253.mp4": ["hang"],
        f"{FAKES}/469_481.mp4": ["garbage"],
    }

    ended = deepfake(*arguments, "--accept-terms")

    assert ended.exit_code == 4
    report = json.loads(ended.stdout)
    assert (report["failed"], report["counts"]["ok"], report["counts"]["missing"]) == (1, 7, 1)
    workspace = Workspace.existing(tmp_path / "w")
    rows = {row["name"]: row for row in tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()}
    assert rows["253_183"]["status"] == "missing"
    assert "404" in rows["253_183"]["reason"]
    assert_intact(server, workspace)

    server.content[missing] = body
    server.requests.clear()
    ended = deepfake(*arguments)

    assert ended.exit_code == 0
    assert [path for path in server.fetched() if path.endswith(".mp4")] == [missing]
    assert_intact(server, workspace)


def test_the_terminal_says_what_is_missing_and_what_to_do(server, arguments, verified):
    del server.content[f"{FAKES}/253_183.mp4"]
    arguments.remove("--json")

    ended = deepfake(*arguments, "--accept-terms")

    assert ended.exit_code == 4
    assert "7 ok, 1 missing" in ended.stderr
    assert "1 video is missing or unreadable, videos.parquet says why: videos/manipulated_sequences/" in ended.stderr
    assert "253_183.mp4 (127.0.0.1: the server has no such file (404 Not Found)). Run the same command" in ended.stderr

    for name in ("183", "253", "469"):
        del server.content[f"{ORIGINALS}/{name}.mp4"]
    for path in (Path(arguments[2]) / "videos/original_sequences").rglob("*.mp4"):
        path.unlink()

    ended = deepfake(*arguments)

    assert "4 videos are missing or unreadable" in ended.stderr
    assert ended.stderr.count("404 Not Found") == 3
    assert ", …. Run the same command" in ended.stderr


def test_a_download_killed_in_the_middle_of_a_file_goes_on_with_its_next_byte(
    server, arguments, tmp_path, verified, wait_until
):
    path = f"{ORIGINALS}/183.mp4"
    server.faults[path] = ["hang"]
    part = tmp_path / "w" / "videos" / Path(path.removeprefix("/v3/")).with_name(".183.mp4.part")
    half = len(server.content[path]) // 2
    command = [sys.executable, "-c", "from deepfake_core.cli import main; main()", *arguments, "--accept-terms"]
    patient = ["--set", "download.timeout_seconds=60"]
    with subprocess.Popen([*command, *patient], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size == half)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL

    server.requests.clear()
    ended = deepfake(*arguments)

    assert ended.exit_code == 0
    assert ("GET", path, f"bytes={half}-") in server.requests
    assert_intact(server, Workspace.existing(tmp_path / "w"))
