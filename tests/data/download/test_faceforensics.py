"""Downloading from a server of FaceForensics++ that misbehaves in every way the real ones do."""

import json
import threading
import time
from collections import defaultdict

import pytest

from deepfake_core import tables
from deepfake_core.config import DownloadConfig
from deepfake_core.data import faceforensics, servers, verify
from deepfake_core.data.download import accept_terms, download_videos
from deepfake_core.errors import DownloadError, TermsNotAccepted

ORIGINALS = "/v3/original_sequences/youtube/c40/videos"
FAKES = "/v3/manipulated_sequences/Deepfakes/c40/videos"


@pytest.fixture
def space(workspace, verified):
    """Return a workspace whose user accepted the terms; videos are verified in this process, which is quick."""
    accept_terms(workspace)
    return workspace


class Bars:
    """Progress that remembers which bars were opened."""

    def __init__(self):
        self.titles = []

    def bar(self, title, **_):
        self.titles.append(title)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def advance(self):
        """Count nothing."""

    def say(self, _):
        """Show nothing."""


@pytest.fixture
def bars():
    return Bars()


def rows_by_name(workspace):
    rows = tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()
    return {row["name"]: row for row in rows}


def assert_intact(workspace, server, *, but=()):
    """Every file of the server lies in the workspace with the server's bytes, and nothing half done beside it."""
    for path, body in server.content.items():
        mine = workspace.videos / path.removeprefix("/v3/")
        if path in but:
            assert not mine.exists()
        else:
            assert mine.read_bytes() == body
    assert not list(workspace.videos.rglob("*.part*"))


def test_the_terms_of_use_come_first(workspace, server, config_of, verified):
    with pytest.raises(TermsNotAccepted, match=r"FaceForensics_TOS\.pdf.*--accept-terms"):
        download_videos(workspace, config=config_of(server))
    assert server.requests == []

    accept_terms(workspace)
    assert download_videos(workspace, config=config_of(server)).failed == 0


def test_a_whole_download_is_verified_and_found_by_the_next_run(space, server, config_of):
    report = download_videos(space, config=config_of(server))

    assert_intact(space, server)
    assert (report.counts["videos"], report.counts["ok"], report.failed) == (8, 8, 0)
    row = rows_by_name(space)["183_253"]
    assert row["video_id"] == "ffpp/Deepfakes/c40/183_253"
    assert (row["target"], row["source"], row["label"], row["width"], row["frames"]) == ("183", "253", 1, 96, 5)
    assert row["path"] == "videos/manipulated_sequences/Deepfakes/c40/videos/183_253.mp4"

    assert sorted(server.fetched()) == sorted(server.content)
    asked = len(server.requests)
    assert download_videos(space, config=config_of(server)).outcome == "found"
    assert len(server.requests) == asked


def test_a_misbehaving_server_still_gives_every_file_but_the_missing_one(workspace, server, config_of):
    accept_terms(workspace)
    server.connection_limit = 4
    server.faults |= {
        f"{ORIGINALS}/183.mp4": ["drop", "drop", "503", "drop"],
        f"{ORIGINALS}/253.mp4": ["hang"],
        f"{ORIGINALS}/469.mp4": ["drop", "always ignore range"],
        f"{ORIGINALS}/481.mp4": ["redirect"],
        f"{FAKES}/183_253.mp4": ["truncate"],
        f"{FAKES}/253_183.mp4": ["always 404"],
        f"{FAKES}/469_481.mp4": ["garbage"],
        f"{FAKES}/481_469.mp4": ["503", "500"],
    }

    report = download_videos(workspace, config=config_of(server))

    missing = f"{FAKES}/253_183.mp4"
    assert_intact(workspace, server, but=[missing])
    assert report.failed == 1
    row = rows_by_name(workspace)["253_183"]
    assert row["status"] == "missing"
    assert "404" in row["reason"]
    assert {row["status"] for name, row in rows_by_name(workspace).items() if name != "253_183"} == {"ok"}

    server.faults.clear()
    server.requests.clear()
    report = download_videos(workspace, config=config_of(server))

    assert [path for path in server.fetched() if path.endswith(".mp4")] == [missing]
    assert report.failed == 0
    assert_intact(workspace, server)
    assert download_videos(workspace, config=config_of(server)).outcome == "found"


def test_there_are_never_more_than_four_connections(space, server, config_of):
    server.seconds_per_request = 0.05
    server.connection_limit = 4
    server.faults |= {path: ["drop"] for path in server.content if path.endswith(".mp4")}

    download_videos(space, config=config_of(server))

    assert server.most_connections == 4
    assert_intact(space, server)


def test_a_server_that_refuses_some_of_the_connections_still_gives_every_file(space, server, config_of, video_bytes):
    server.connection_limit = 2
    server.seconds_per_block = 0.02
    pairs = [[f"{2 * number:03}", f"{2 * number + 1:03}"] for number in range(8)]
    server.content = {"/v3/misc/filelist.json": json.dumps(pairs).encode()}
    server.content |= {f"{ORIGINALS}/{name}.mp4": video_bytes(name) for pair in pairs for name in pair}

    report = download_videos(space, config=config_of(server, datasets=("original",), backoff_seconds=0.05))

    assert (report.counts["ok"], report.failed) == (16, 0)
    assert_intact(space, server)


def test_a_missing_file_leaves_the_table_as_it_is_while_it_stays_missing(space, server, config_of):
    del server.content[f"{ORIGINALS}/183.mp4"]
    first = download_videos(space, config=config_of(server))
    before = space.videos_table.read_bytes()

    again = download_videos(space, config=config_of(server))

    assert (first.failed, again.failed, again.outcome) == (1, 1, "done")
    assert space.videos_table.read_bytes() == before


def test_the_file_lists_of_an_earlier_run_serve_while_the_server_is_down(space, server, config_of):
    server.faults[f"{ORIGINALS}/183.mp4"] = ["always 404"]
    download_videos(space, config=config_of(server))
    server.faults["/v3/misc/filelist.json"] = ["always 503"]
    server.faults[f"{ORIGINALS}/183.mp4"] = []

    report = download_videos(space, config=config_of(server))

    assert report.failed == 0
    assert any("filelist.json" in note and "earlier run" in note for note in report.notes)


def test_a_page_in_place_of_the_list_is_refused_and_costs_no_list_of_an_earlier_run(space, server, config_of):
    server.faults[f"{ORIGINALS}/183.mp4"] = ["always 404"]
    download_videos(space, config=config_of(server))
    server.faults = defaultdict(list, {"/v3/misc/filelist.json": ["garbage", "always 503"]})
    with pytest.raises(DownloadError, match="no JSON"):
        download_videos(space, config=config_of(server))

    report = download_videos(space, config=config_of(server))

    assert report.failed == 0
    assert any("earlier run" in note for note in report.notes)


@pytest.mark.parametrize("page", [b'{"error": "maintenance"}', b"[]", b'[["183", "../253"]]'])
def test_a_list_that_is_none_costs_no_list_of_an_earlier_run(space, server, config_of, page):
    server.faults[f"{ORIGINALS}/183.mp4"] = ["always 404"]
    download_videos(space, config=config_of(server))
    server.faults.clear()
    server.content["/v3/misc/filelist.json"] = page
    with pytest.raises(DownloadError, match=r"filelist\.json of the server"):
        download_videos(space, config=config_of(server))
    server.faults["/v3/misc/filelist.json"] = ["always 503"]

    report = download_videos(space, config=config_of(server))

    assert report.counts == {"videos": 8, "originals": 4, "manipulated": 4, "ok": 8}
    assert [path.name for path in (space.videos / "misc").iterdir()] == ["filelist.json"]


def test_a_damaged_list_of_an_earlier_run_is_named_while_the_server_is_down(space, server, config_of):
    kept = space.videos / "misc" / "filelist.json"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b'[["183", "25')
    server.faults["/v3/misc/filelist.json"] = ["always 503"]

    with pytest.raises(DownloadError, match=r"filelist\.json, of an earlier run, is no JSON.*Remove it"):
        download_videos(space, config=config_of(server))


def test_lists_without_a_single_name_are_an_error_in_words(space, empty_server, config_of):
    empty_server.content |= {
        "/v3/misc/filelist.json": b"[]",
        "/v3/misc/deepfake_detection_filenames.json": b'{"actors": []}',
    }

    with pytest.raises(DownloadError, match=r"filelist\.json of the server lists no video of original"):
        download_videos(space, config=config_of(empty_server, datasets=("original",)))
    with pytest.raises(DownloadError, match=r"deepfake_detection_filenames\.json of the server lists no video"):
        download_videos(space, config=config_of(empty_server, datasets=("DeepFakeDetection_original",)))


@pytest.mark.parametrize("name", ["a" * 300, "a" * 120])
def test_a_name_too_long_for_a_file_is_refused_before_anything_is_fetched(space, server, config_of, name):
    server.content["/v3/misc/filelist.json"] = json.dumps([["183", "253"], [name, name]]).encode()

    with pytest.raises(DownloadError, match="at most 200") as error:
        download_videos(space, config=config_of(server))

    assert len(str(error.value)) < 500
    assert not [path for path in server.fetched() if path.endswith(".mp4")]


def test_a_file_damaged_on_disk_is_fetched_again(space, server, config_of):
    download_videos(space, config=config_of(server))
    path = space.videos / "original_sequences/youtube/c40/videos/469.mp4"
    path.write_bytes(path.read_bytes()[:1000])

    report = download_videos(space, config=config_of(server))

    assert report.failed == 0
    assert_intact(space, server)


def test_a_file_that_is_no_video_on_the_server_is_an_unreadable_row_and_asked_for_again(
    space, server, config_of, video_bytes
):
    server.content[f"{ORIGINALS}/183.mp4"] = b"<html>not today</html>"

    report = download_videos(space, config=config_of(server))

    row = rows_by_name(space)["183"]
    assert report.failed == 1
    assert row["status"] == "unreadable"
    assert "183.mp4" in row["reason"]

    server.content[f"{ORIGINALS}/183.mp4"] = video_bytes("183")
    assert download_videos(space, config=config_of(server)).failed == 0


def test_a_verifier_that_dies_costs_no_file_that_came(space, server, config_of, monkeypatch):
    honest, doomed = verify.supervise, ["ffpp/original/c40/183"]

    def dying_once(jobs, **given):
        for outcome in honest(jobs, **given):
            died = outcome.key in doomed
            yield verify.Outcome(doomed.pop(), "crashed", reason="its process died (SIGKILL)") if died else outcome

    monkeypatch.setattr(verify, "supervise", dying_once)

    report = download_videos(space, config=config_of(server))

    assert doomed == []
    assert report.failed == 0
    assert server.fetched().count(f"{ORIGINALS}/183.mp4") == 1
    assert_intact(space, server)


def test_a_folder_in_the_place_of_a_video_is_a_row_with_a_reason(space, server, config_of):
    (space.videos / "original_sequences/youtube/c40/videos/183.mp4").mkdir(parents=True)

    report = download_videos(space, config=config_of(server))

    assert (report.failed, report.counts["ok"]) == (1, 7)
    assert "directory" in rows_by_name(space)["183"]["reason"]


def test_a_killed_download_goes_on_where_it_stopped(space, server, config_of, wait_until):
    path = f"{ORIGINALS}/183.mp4"
    body = server.content[path]
    part = space.videos / "original_sequences/youtube/c40/videos/.183.mp4.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(body[:5000])
    note = {"validator": None, "total": len(body)}
    part.with_name(".183.mp4.part.json").write_text(json.dumps(note))

    download_videos(space, config=config_of(server))

    assert ("GET", path, "bytes=5000-") in server.requests
    assert_intact(space, server)


def test_num_videos_takes_the_first_of_each_set(space, server, config_of):
    download_videos(space, config=config_of(server, num_videos=2))

    assert sorted(rows_by_name(space)) == ["183", "183_253", "253", "253_183"]


def test_actors_and_masks_have_their_own_lists_and_places(space, empty_server, video_bytes, config_of):
    names = {"actors": ["01__kitchen_pan"], "DeepFakesDetection": ["01_02__kitchen_pan__ABCDEFGH"]}
    empty_server.content = {
        "/v3/misc/deepfake_detection_filenames.json": json.dumps(names).encode(),
        "/v3/original_sequences/actors/c40/videos/01__kitchen_pan.mp4": video_bytes("actor"),
        **{
            f"/v3/manipulated_sequences/DeepFakeDetection/{kind}/videos/01_02__kitchen_pan__ABCDEFGH.mp4": video_bytes(
                kind
            )
            for kind in ("c40", "masks")
        },
    }
    sets = ("DeepFakeDetection_original", "DeepFakeDetection")

    report = download_videos(space, config=config_of(empty_server, datasets=sets, masks=True))

    rows = rows_by_name(space)
    assert_intact(space, empty_server)
    assert report.counts["videos"] == 2
    assert rows["01__kitchen_pan"]["video_id"] == "dfd/original/c40/01__kitchen_pan"
    fake = rows["01_02__kitchen_pan__ABCDEFGH"]
    assert (fake["dataset"], fake["target"], fake["source"]) == ("dfd", "01", "02")
    (mask,) = tables.read(space.masks_table, schema=tables.VIDEOS).to_pylist()
    assert mask["video_id"] == "dfd/DeepFakeDetection/masks/01_02__kitchen_pan__ABCDEFGH"
    assert (mask["status"], mask["frames"], len(mask["sha256"])) == ("ok", 5, 64)


def test_masks_are_verified_and_one_that_is_missing_or_damaged_is_a_row(space, server, config_of, video_bytes):
    masks = [f"/v3/manipulated_sequences/Deepfakes/masks/videos/{name}.mp4" for name in ("183_253", "253_183")]
    server.content |= {masks[0]: video_bytes("mask"), masks[1]: b"<html>"}

    report = download_videos(space, config=config_of(server, masks=True))

    assert (report.failed, report.counts["masks"], report.counts["videos"]) == (3, 4, 8)
    assert any("3 masks" in note and "253_183.mp4" in note for note in report.notes)
    rows = tables.read(space.masks_table, schema=tables.VIDEOS).to_pylist()
    status = {row["name"]: row["status"] for row in rows}
    assert status == {"183_253": "ok", "253_183": "unreadable", "469_481": "missing", "481_469": "missing"}

    fakes = {path: body for path, body in server.content.items() if path.startswith(FAKES)}
    server.content |= {path.replace("c40", "masks"): body for path, body in fakes.items()}
    server.requests.clear()
    assert download_videos(space, config=config_of(server, masks=True)).failed == 0
    fetched = [path for path in server.fetched() if path.endswith(".mp4")]
    assert len(fetched) == 3
    assert masks[0] not in fetched


def test_masks_that_are_no_longer_asked_for_leave_no_table(space, server, config_of, video_bytes):
    fakes = [path for path in server.content if path.startswith(FAKES)]
    server.content |= {path.replace("c40", "masks"): video_bytes("mask") for path in fakes}
    download_videos(space, config=config_of(server, masks=True))
    assert space.masks_table.exists()

    download_videos(space, config=config_of(server))

    assert not space.masks_table.exists()


def test_what_a_killed_run_left_half_written_is_swept_away(space, server, config_of):
    left = space.videos / "original_sequences/youtube/c40/videos/.tmp-x1.json"
    left.parent.mkdir(parents=True)
    left.write_text("{")

    download_videos(space, config=config_of(server))

    assert not left.exists()


def test_a_reason_ends_with_one_full_stop(space, server, config_of):
    server.faults[f"{ORIGINALS}/183.mp4"] = ["always redirect"]  # without end

    download_videos(space, config=config_of(server))

    reason = rows_by_name(space)["183"]["reason"]
    assert reason.endswith(".")
    assert not reason.endswith("..")


@pytest.mark.parametrize("name", ["../../../escape", "/etc/passwd", "..", "a/b", "C:\\evil", "", ".hidden", "x\ny"])
def test_a_name_that_would_leave_the_folder_is_refused_before_anything_is_fetched(space, server, config_of, name):
    server.content["/v3/misc/filelist.json"] = json.dumps([["183", name]]).encode()

    with pytest.raises(DownloadError, match="no file leaves its folder"):
        download_videos(space, config=config_of(server))

    assert not [path for path in server.fetched() if path.endswith(".mp4")]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1, 2]", b'[["183"]]', b'[["183", 7]]'])
def test_a_list_that_is_no_list_of_pairs_is_refused(space, server, config_of, body):
    server.content["/v3/misc/filelist.json"] = body

    with pytest.raises(DownloadError, match=r"filelist\.json"):
        download_videos(space, config=config_of(server))


def test_no_server_at_all_is_an_error_that_names_it(space, server, config_of):
    server.faults["/v3/misc/filelist.json"] = ["always 503"]

    with pytest.raises(DownloadError, match=r"no server gives misc/filelist\.json.*127\.0\.0\.1"):
        download_videos(space, config=config_of(server))


def test_a_server_that_gives_no_video_at_all_is_an_error(space, server, config_of):
    server.content = {"/v3/misc/filelist.json": server.content["/v3/misc/filelist.json"]}

    with pytest.raises(DownloadError, match=r"none of the 8 videos.*404"):
        download_videos(space, config=config_of(server))


def test_a_dead_first_server_is_passed_over(space, server, config_of, monkeypatch):
    monkeypatch.setattr(
        faceforensics, "SERVERS", {"EU2": "http://127.0.0.1:9/", "EU": server.url, "CA": "http://127.0.0.1:9/"}
    )

    report = download_videos(space, config=config_of(server, server_url=None, attempts=4))

    assert report.failed == 0
    assert_intact(space, server)


@pytest.fixture
def behind_eu2(server, monkeypatch):
    """Return the server, which now is EU; EU2, which is asked before it, is whatever lies below ``/eu2``."""
    published = {"EU2": f"{server.url}eu2/", "EU": server.url, "CA": "http://127.0.0.1:9/"}
    monkeypatch.setattr(faceforensics, "SERVERS", published)
    return server


@pytest.mark.parametrize("fault", ["503", "silence", "404"])
def test_a_first_server_that_never_gives_anything_is_passed_over(space, behind_eu2, config_of, fault):
    behind_eu2.faults |= {f"/eu2{path}": [f"always {fault}"] for path in behind_eu2.content}
    attempts = DownloadConfig().attempts

    report = download_videos(
        space, config=config_of(behind_eu2, server_url=None, attempts=attempts, timeout_seconds=0.5)
    )

    assert report.failed == 0
    assert_intact(space, behind_eu2)


@pytest.mark.parametrize(("fault", "asked"), [("503", 2), ("silence", 2), ("garbage", 1)])
def test_a_file_that_the_first_server_cannot_give_comes_from_the_next(space, behind_eu2, config_of, fault, asked):
    bad, good = f"/eu2{ORIGINALS}/183.mp4", f"{ORIGINALS}/183.mp4"
    body = behind_eu2.content[good]
    behind_eu2.content |= {f"/eu2{path}": body for path, body in behind_eu2.content.items()}
    behind_eu2.faults[bad] = [f"always {fault}"]

    report = download_videos(space, config=config_of(behind_eu2, server_url=None, attempts=6))

    assert report.failed == 0
    assert (space.videos / "original_sequences/youtube/c40/videos/183.mp4").read_bytes() == body
    assert (behind_eu2.fetched().count(bad), behind_eu2.fetched().count(good)) == (asked, 1)
    assert [path for path in behind_eu2.fetched() if not path.startswith("/eu2")] == [good]


def test_an_error_names_only_the_servers_that_were_asked(space, behind_eu2, config_of):
    behind_eu2.faults["/eu2/v3/misc/filelist.json"] = ["always 503"]

    with pytest.raises(DownloadError) as error:
        download_videos(space, config=config_of(behind_eu2, server_url=None, attempts=1))

    assert f"(asked: {behind_eu2.url}eu2/v3/)" in str(error.value)


def test_the_servers_are_asked_in_the_published_order():
    hosts = [url.split("/")[2] for url in faceforensics.server_urls(DownloadConfig())]

    assert hosts == ["kaldir.vc.in.tum.de", "canis.vc.in.tum.de:8100", "falas.cmpt.sfu.ca:8100"]
    assert faceforensics.server_urls(DownloadConfig(server="CA"))[0].endswith("sfu.ca:8100/")
    assert faceforensics.terms_url(DownloadConfig()) == (
        "http://kaldir.vc.in.tum.de/faceforensics/webpage/FaceForensics_TOS.pdf"
    )


def test_a_download_that_does_not_fit_on_the_disk_does_not_start(space, server, config_of, monkeypatch):
    monkeypatch.setattr(faceforensics.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))

    with pytest.raises(DownloadError, match=r"needs about .* kB, and 1\.0 kB are free"):
        download_videos(space, config=config_of(server))

    assert not [path for path in server.fetched() if path.endswith(".mp4")]


def test_a_server_that_lets_the_question_for_a_length_wait_is_asked_it_once(space, server, config_of, bars):
    server.heads = "silence"

    report = download_videos(space, config=config_of(server, timeout_seconds=0.5), progress=bars)

    assert report.failed == 0
    assert [method for method, _, _ in server.requests].count("HEAD") == 1
    assert bars.titles[0] == "ask for lengths"


def test_the_question_for_a_length_waits_no_longer_than_it_is_worth(server, config_of, monkeypatch):
    monkeypatch.setattr(servers, "HEAD_SECONDS", 0.5)
    server.heads = "silence"
    with faceforensics.open_fetcher(config_of(server, timeout_seconds=60.0)) as fetcher:
        began = time.monotonic()

        assert fetcher.length("misc/filelist.json") is None

    assert time.monotonic() - began < 5


def test_ctrl_c_ends_at_once_and_keeps_what_came(space, server, config_of):
    server.faults[f"{ORIGINALS}/253.mp4"] = ["always hang"]
    part = space.videos / "original_sequences/youtube/c40/videos/.253.mp4.part"
    half = len(server.content[f"{ORIGINALS}/253.mp4"]) // 2
    interrupted = []

    class Interrupting(Bars):
        def say(self, _):
            if part.exists() and part.stat().st_size == half:
                interrupted.append(time.monotonic())
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_videos(space, config=config_of(server, timeout_seconds=20.0), progress=Interrupting())

    assert time.monotonic() - interrupted[0] < 3
    assert part.stat().st_size == half
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("download") and thread.is_alive()]
    server.faults.clear()
    assert download_videos(space, config=config_of(server)).failed == 0
    assert_intact(space, server)


@pytest.mark.real_data
def test_real_videos_come_intact_from_a_misbehaving_server(real_data, workspace, empty_server, config_of):
    tree = real_data / "data" / "ffpp"
    for folder in ("original_sequences/youtube/c40", "manipulated_sequences/Deepfakes/c40"):
        for path in (tree / folder / "videos").iterdir():
            empty_server.content[f"/v3/{folder}/videos/{path.name}"] = path.read_bytes()
    pairs = [["183", "253"], ["469", "481"], ["585", "599"], ["672", "720"], ["866", "878"]]
    empty_server.content["/v3/misc/filelist.json"] = json.dumps(pairs).encode()
    faults = ["drop", "truncate", "503", "hang", "redirect", "ignore range", "garbage"]
    for number, path in enumerate(sorted(empty_server.content)):
        empty_server.faults[path] = [faults[number % len(faults)], "drop"] if path.endswith(".mp4") else []
    missing = f"{FAKES}/866_878.mp4"
    empty_server.faults[missing] = ["always 404"]
    empty_server.connection_limit = 4
    accept_terms(workspace)

    report = download_videos(workspace, config=config_of(empty_server, attempts=4))

    assert (report.counts["ok"], report.counts["missing"], report.failed) == (19, 1, 1)
    assert_intact(workspace, empty_server, but=[missing])
    rows = rows_by_name(workspace)
    assert (rows["183"]["width"], rows["183"]["height"], rows["183"]["frames"]) == (1280, 720, 390)
    empty_server.faults.clear()
    empty_server.requests.clear()
    assert download_videos(workspace, config=config_of(empty_server)).failed == 0
    assert [path for path in empty_server.fetched() if path.endswith(".mp4")] == [missing]
