"""What people see: tables that fit their terminal without breaking a word."""

import io

import pytest
from rich.console import Console

from deepfake_core import console

ROWS = ({"version": "1", "aliases": "challenger, production", "video_auc": 0.98765, "reason": "passed the gate"},)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch):
    """Return a function that prints rows on a terminal of a width."""

    def show(width: int) -> str:
        terminal = Console(file=io.StringIO(), width=width, highlight=False)
        monkeypatch.setattr(console, "out", terminal)
        console.show_rows(ROWS)
        return terminal.file.getvalue()

    return show


@pytest.mark.parametrize("width", [200, 80, 60, 50, 40])
def test_a_table_fits_its_terminal_and_breaks_no_word(shown, width: int):
    text = shown(width)

    assert max(len(line) for line in text.splitlines()) <= width
    for word in ("version", "challenger,", "production", "0.9877", "passed", "gate"):
        assert word in text


def test_a_narrow_terminal_gets_one_line_a_value(shown):
    assert any("aliases" in line and "challenger" in line for line in shown(40).splitlines())
    assert not any("aliases" in line and "challenger" in line for line in shown(200).splitlines())


def test_metrics_of_frames_and_videos_stand_side_by_side(monkeypatch: pytest.MonkeyPatch):
    terminal = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(console, "out", terminal)

    terminal.print(console._metrics_table({"test_frame_auc": 0.91, "test_video_auc": 0.95}))

    assert any("0.91" in line and "0.95" in line for line in terminal.file.getvalue().splitlines())


def test_a_log_hears_of_a_step_that_takes_long(monkeypatch: pytest.MonkeyPatch):
    log, now = Console(file=io.StringIO(), width=80), 0.0
    monkeypatch.setattr(console, "err", log)
    monkeypatch.setattr(console.time, "monotonic", lambda: now)

    with console.progress_bars() as progress, progress.bar("download", total=8, unit="files") as bar:
        for second in range(26):
            now = float(second)
            bar.say(f"{second} MB/s")

    assert log.file.getvalue().splitlines() == [
        "download: 0/8 files (10 MB/s)",
        "download: 0/8 files (20 MB/s)",
    ]
