"""One transfer over a connection that breaks."""

from threading import Event

import httpx
import pytest

from deepfake_core.data import pace
from deepfake_core.data.fetch import NotOnServer, Patience, Stopped, TransferBroken, fetch_once, part_of
from deepfake_core.data.pace import Pace, in_bytes, in_time
from deepfake_core.data.servers import Fetcher, Servers

BODY = bytes(range(256)) * 400


@pytest.fixture
def client():
    with httpx.Client(timeout=0.5, follow_redirects=True) as client:
        yield client


@pytest.fixture
def server(empty_server):
    empty_server.content["/183.mp4"] = BODY
    return empty_server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "videos" / "183.mp4"


def try_once(client, server, target):
    fetch_once(client, f"{server.url}183.mp4", target, stop=Event())


def test_a_broken_transfer_goes_on_where_it_stopped(client, server, target):
    server.faults["/183.mp4"] = ["drop"]
    with pytest.raises(TransferBroken):
        try_once(client, server, target)
    assert not target.exists()
    came = part_of(target).stat().st_size
    assert 0 < came < len(BODY)

    try_once(client, server, target)

    assert target.read_bytes() == BODY
    assert server.requests[-1][2] == f"bytes={came}-"
    assert list(target.parent.iterdir()) == [target]


def test_bytes_of_two_versions_are_never_mixed(client, server, target):
    server.faults["/183.mp4"] = ["drop"]
    with pytest.raises(TransferBroken):
        try_once(client, server, target)
    server.content["/183.mp4"] = changed = BODY[::-1]

    try_once(client, server, target)

    assert target.read_bytes() == changed


def test_bytes_of_two_versions_are_not_mixed_where_only_their_length_tells(client, server, target):
    server.etags = False
    server.faults["/183.mp4"] = ["drop"]
    with pytest.raises(TransferBroken):
        try_once(client, server, target)
    server.content["/183.mp4"] = longer = bytes(len(BODY) + 1000)

    with pytest.raises(TransferBroken, match=r"went on at byte .* of 103400 instead of .* of 102400"):
        try_once(client, server, target)
    try_once(client, server, target)

    assert target.read_bytes() == longer


def test_an_answer_that_ends_early_is_not_the_whole_file(client, server, target):
    server.faults["/183.mp4"] = ["drop", "short range"]
    with pytest.raises(TransferBroken):
        try_once(client, server, target)
    came = part_of(target).stat().st_size

    with pytest.raises(TransferBroken, match=f"{came + 1000:,} of {len(BODY):,} bytes"):
        try_once(client, server, target)
    assert not target.exists()
    try_once(client, server, target)

    assert target.read_bytes() == BODY
    assert server.requests[-1][2] == f"bytes={came + 1000}-"


def test_a_server_that_ignores_range_starts_the_file_over(client, server, target):
    server.faults["/183.mp4"] = ["drop", "always ignore range"]
    with pytest.raises(TransferBroken):
        try_once(client, server, target)

    try_once(client, server, target)

    assert target.read_bytes() == BODY


def test_a_part_that_is_already_whole_is_taken(client, server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(BODY)

    try_once(client, server, target)

    assert target.read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(client, server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(BODY + b"more")

    with pytest.raises(TransferBroken, match="shorter"):
        try_once(client, server, target)
    try_once(client, server, target)

    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("404", NotOnServer, "no such file"),
        ("403", NotOnServer, "403"),
        ("503", TransferBroken, "503"),
        ("hang", TransferBroken, "fell silent"),
    ],
)
def test_what_went_wrong_is_said_in_words(client, server, target, fault, error, words):
    server.faults["/183.mp4"] = [fault]

    with pytest.raises(error, match=words):
        try_once(client, server, target)


def test_patience_counts_only_tries_that_bring_nothing(client, server, target):
    server.faults["/183.mp4"] = ["drop"] * 7
    fetcher = Fetcher(client, Servers([server.url]), Patience(2, 0.001))

    fetcher.fetch("183.mp4", target)

    assert target.read_bytes() == BODY
    assert len(server.requests) == 8


def test_patience_ends(client, server, target):
    server.faults["/183.mp4"] = ["always 503"]
    fetcher = Fetcher(client, Servers([server.url]), Patience(3, 0.001))

    with pytest.raises(TransferBroken, match="503"):
        fetcher.fetch("183.mp4", target)

    assert len(server.requests) == 3


class Clock(Event):
    """Remembers how long it was waited for, and lets nobody wait."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return False


def waits_of(client, server, target, *, attempts):
    clock = Clock()
    with pytest.raises(TransferBroken):
        Fetcher(client, Servers([server.url]), Patience(attempts, 1.0, clock)).fetch("183.mp4", target)
    return clock.waits


def test_every_pause_doubles_with_jitter_and_none_is_longer_than_a_minute(client, server, target):
    server.faults["/183.mp4"] = ["always 503"]

    waits = waits_of(client, server, target, attempts=10)

    assert len(waits) == 9
    for number, wait in enumerate(waits):
        longest = min(2.0**number, 60.0)
        assert longest / 2 <= wait <= longest
    assert waits != waits_of(client, server, target, attempts=10)


def test_a_server_that_asks_for_a_pause_gets_it(client, server, target):
    server.faults["/183.mp4"] = ["always 429"]

    waits = waits_of(client, server, target, attempts=6)

    assert waits[:3] == [7.0, 7.0, 7.0]
    assert 8.0 <= waits[4] <= 16.0


def test_waiting_ends_when_the_run_is_ended(client, server, target):
    server.faults["/183.mp4"] = ["always 503"]
    stop = Event()
    stop.set()

    with pytest.raises(Stopped):
        Fetcher(client, Servers([server.url]), Patience(3, 60.0, stop)).fetch("183.mp4", target)


def test_a_file_that_one_server_lacks_comes_from_another(client, server, target):
    server.content |= {"/one/469.mp4": BODY, "/two/183.mp4": BODY}
    servers = Servers([f"{server.url}one", f"{server.url}two/"])

    Fetcher(client, servers, Patience(2, 0.001)).fetch("183.mp4", target)

    assert target.read_bytes() == BODY
    assert servers.best(but=set()) == f"{server.url}one/"


def test_a_file_that_no_server_has_is_not_asked_for_again_and_again(client, server, target):
    servers = Servers([server.url, "http://127.0.0.1:9/"])

    with pytest.raises(NotOnServer, match=r"404.*no connection"):
        Fetcher(client, servers, Patience(5, 0.001)).fetch("none.mp4", target)

    assert len(server.requests) == 1


def test_a_file_that_one_server_lacks_does_not_wait_for_those_that_are_silent(client, server, target):
    silent = f"{server.url}silent/"
    server.faults["/silent/none.mp4"] = ["always silence"]
    servers = Servers([server.url, silent])
    for _ in range(8):
        servers.failed(silent, unreachable=False)

    with pytest.raises(NotOnServer, match=r"404.*not asked, it does not answer"):
        Fetcher(client, servers, Patience(5, 0.001)).fetch("none.mp4", target)

    assert server.fetched() == ["/none.mp4"]


def test_a_transfer_goes_on_from_the_server_that_still_sends(client, server, target):
    server.content |= {"/one/183.mp4": BODY, "/two/183.mp4": BODY}
    server.faults |= {"/one/183.mp4": ["drop", "always 503"], "/two/183.mp4": ["drop", "drop"]}
    servers = Servers([f"{server.url}one/", f"{server.url}two/"])

    Fetcher(client, servers, Patience(4, 0.001)).fetch("183.mp4", target)

    assert target.read_bytes() == BODY
    assert server.fetched() == ["/one/183.mp4"] * 3 + ["/two/183.mp4"] * 3


def test_a_server_that_fails_moves_behind_the_others_and_back():
    servers = Servers(["http://one/", "http://two/"])

    for _ in range(8):
        servers.failed("http://one/", unreachable=False)
    assert servers.best(but=set()) == "http://two/"
    servers.worked("http://one/")
    assert servers.best(but=set()) == "http://one/"
    assert servers.best(but={"http://one/", "http://two/"}) is None


def test_a_redirect_to_another_protocol_is_not_followed(client, server, target, monkeypatch):
    server.faults["/183.mp4"] = ["redirect"]
    server.url = "ftp://127.0.0.1/"

    with pytest.raises(NotOnServer, match="leads nowhere"):
        fetch_once(client, f"http://127.0.0.1:{server.server_address[1]}/183.mp4", target, stop=Event())


def test_a_disk_that_cannot_be_written_ends_the_run_in_words(client, server, target):
    from deepfake_core.errors import DownloadError

    target.parent.mkdir()
    part_of(target).mkdir()

    with pytest.raises(DownloadError, match="cannot write") as error:
        try_once(client, server, target)
    assert not isinstance(error.value, TransferBroken)


def test_the_rate_is_that_of_what_came_and_the_time_left_follows(monkeypatch):
    now = 100.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    counted = Pace(expected_bytes=3e6)

    now = 110.0
    counted.add(1_000_000)

    assert counted.remark() == "100.0 kB/s, 20 s left"


def test_the_rate_forgets_what_was_more_than_half_a_minute_ago(monkeypatch):
    now = 0.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    counted = Pace(expected_bytes=1e9)

    for second in range(1, 121):
        now = float(second)
        counted.add(1_000_000 if second <= 60 else 1000)

    assert counted.rate() == pytest.approx(1000, rel=0.05)


def test_rate_and_time_left_are_told_in_words():
    counted = Pace(expected_bytes=1e9)
    counted.add(1000)

    assert counted.remark().endswith(" left")
    assert [in_bytes(count) for count in (999, 1500, 12.34e9, 5e13)] == ["999 B", "1.5 kB", "12.3 GB", "50.0 TB"]
    assert [in_time(seconds) for seconds in (None, 7, 75, 7500)] == ["unknown time", "7 s", "1 min 15 s", "2 h 05 min"]
