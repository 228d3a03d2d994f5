"""Records against the notebook's way, and the reader against the decode-only floor: ratios measured in one run.

    DEEPFAKE_REAL_DATA=../shared python benchmarks/records.py [--faces 6000] [--shards 60] [--passes 1]

The notebook's writer is re-implemented from its description: one shuffled pipeline of all JPEG files (read, decode,
flip, rotate, zoom, change contrast and brightness), read again from the start for every shard, of which each reading
keeps every n-th image, encodes it again and writes it. Rotation and zoom are one transform here, which is cheaper than
the notebook's two. Two ratios are printed: against all of it, which is what the notebook does, and against the same
without rotation and zoom, the dearest part and the one that most depends on how it is written. Its cost is images ×
shards, so ``--passes`` of the ``--shards`` readings are really made and the rest is multiplied; a small set goes
through all readings, to count what such shards hold.

Faces are crops of real frames where ``DEEPFAKE_REAL_DATA`` is set, of a drawn scene where it is not. Both ways run in
one process with TensorFlow loaded; CPU seconds count all threads.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import av
import cv2
import numpy as np
import tensorflow as tf

from deepfake_core import files, receipts, tables
from deepfake_core.config import DownloadConfig, ExtractConfig, RecordsConfig, Section, SplitConfig, ValidateConfig
from deepfake_core.data.extraction_spec import ExtractionSpec, schema_with_spec
from deepfake_core.data.reader import BATCHES_AHEAD, decode_jpeg, read_faces, read_index
from deepfake_core.data.records import verify_records, write_records
from deepfake_core.report import StageReport
from deepfake_core.specs import DetectorSpec, FaceSpec, SamplingSpec
from deepfake_core.workspace import Workspace

SIZE = 299
BATCH = 32
FACES_A_VIDEO = 60
SMALL_SET = 120
ROUNDS = 5
SHARDS_READ = 2
"""Few and long: opening one takes about 0.8 ms, which 16,000 faces share in the full data set and 60 would not."""

SHUFFLED_SHARE = 50
"""One part in so many is the buffer to shuffle among. Filling it is the work of one core; the default would hold most
of these faces, and one part in 250 of the full data set, so that it would weigh as it never does in an epoch."""


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    cpu: float
    wall: float

    @classmethod
    def of(cls, work: Callable[[], object]) -> "Cost":
        """Do a piece of work and return what it took."""
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        return cls(time.process_time() - cpu, time.perf_counter() - wall)

    @classmethod
    def median(cls, costs: Sequence["Cost"]) -> "Cost":
        """Return the median of several measurements."""
        return cls(statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs))

    def __truediv__(self, count: float) -> "Cost":
        return Cost(self.cpu / count, self.wall / count)

    def __mul__(self, count: float) -> "Cost":
        return Cost(self.cpu * count, self.wall * count)

    def __str__(self) -> str:
        return f"{self.cpu * 1e3:9.3f} ms CPU  {self.wall * 1e3:9.3f} ms wall"


# Faces


def real_frames(folder: Path, count: int = 24) -> list[np.ndarray]:
    """Return the first frames of some real videos, BGR."""
    frames = []
    for path in sorted(folder.rglob("c23/videos/*.mp4"))[: count // 4]:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number == 4:
                    break
                frames.append(frame.to_ndarray(format="bgr24"))
    return frames


def drawn_frames(count: int = 24) -> list[np.ndarray]:
    """Return smooth scenes with some grain, which compress about as faces do."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        coarse = random.integers(0, 256, (18, 32, 3), dtype=np.uint8)
        scene = cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC)
        frames.append(cv2.add(scene, random.integers(0, 6, scene.shape, dtype=np.uint8)))
    return frames


def make_faces(frames: Sequence[np.ndarray], count: int) -> list[bytes]:
    """Return JPEGs of random square crops, as extraction would write them."""
    random = np.random.default_rng(1)
    jpegs = []
    for number in range(count):
        frame = frames[number % len(frames)]
        side = int(random.integers(200, min(frame.shape[:2])))
        top, left = (int(random.integers(0, length - side)) for length in frame.shape[:2])
        crop = cv2.resize(frame[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        jpegs.append(bytes(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]))
    return jpegs


def make_workspace(root: Path, jpegs: Sequence[bytes]) -> Workspace:
    """Return a workspace in which these faces are extracted: eight tenths to train, one to val, one to test."""
    workspace = Workspace.open(root)
    videos, splits, extractions = [], [], []
    parts = [jpegs[start : start + FACES_A_VIDEO] for start in range(0, len(jpegs), FACES_A_VIDEO)]
    for number, part in enumerate(parts):
        name, method = f"{number:04d}", "original" if number % 2 else "Deepfakes"
        video_id = f"benchmark/{method}/c23/{name}"
        split = ("val", "test")[number - len(parts)] if number >= len(parts) - 2 else "train"
        rows = [
            {"video_id": video_id, "frame": 4 * frame, "status": "ok", "jpeg": jpeg} for frame, jpeg in enumerate(part)
        ]
        path = workspace.faces_of(video_id)
        tables.write(path, tables.from_rows(rows, tables.FACES), schema=tables.FACES)
        known = {"video_id": video_id, "status": "ok"}
        about = {"path": name, "dataset": "benchmark", "method": method, "compression": "c23", "name": name}
        videos.append({**known, **about, "target": name, "label": int(method != "original")})
        splits.append({"video_id": video_id, "group": name, "split": split})
        digest = files.sha256_of_file(path)
        extractions.append({**known, "fingerprint": "", "faces": len(part), "digest": digest})
    spec = ExtractionSpec(face=FaceSpec(size=SIZE), detector=DetectorSpec(name="haar"), sampling=SamplingSpec())
    tables.write(workspace.videos_table, tables.from_rows(videos, tables.VIDEOS), schema=tables.VIDEOS)
    tables.write(workspace.splits_table, tables.from_rows(splits, tables.SPLITS), schema=tables.SPLITS)
    table = tables.from_rows(extractions, tables.EXTRACTIONS)
    tables.write(workspace.extractions_table, table, schema=schema_with_spec(spec))
    finish(workspace, "download", DownloadConfig(), workspace.videos_table)
    finish(workspace, "split", SplitConfig(), workspace.splits_table)
    finish(workspace, "extract", ExtractConfig(), workspace.extractions_table)
    finish(workspace, "validate", ValidateConfig(), workspace.videos_table)
    return workspace


def finish(workspace: Workspace, stage: str, config: Section, output: Path) -> None:
    """Leave the receipt of a stage whose output stands already."""
    with receipts.open_stage(workspace, stage, config=config) as work:
        work.finish(StageReport(stage=stage), outputs=[output])


# The notebook's way


class Notebook:
    """One shuffled, augmented pipeline, read again for every shard."""

    def __init__(self, folder: Path, jpegs: Sequence[bytes]) -> None:
        folder.mkdir()
        self.paths = []
        for number, jpeg in enumerate(jpegs):
            path = folder / f"{number:06d}.jpg"
            path.write_bytes(jpeg)
            self.paths.append(str(path))
        self.folder = folder

    def decoded(self) -> tf.data.Dataset:
        """Return the pipeline as far as the pixels: (number of the image, uint8 RGB)."""
        numbers = np.arange(len(self.paths))
        faces = tf.data.Dataset.from_tensor_slices((numbers, self.paths)).shuffle(len(self.paths))

        def load(number: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
            return number, tf.ensure_shape(image, (SIZE, SIZE, 3))

        return faces.map(load, num_parallel_calls=tf.data.AUTOTUNE)

    def pipeline(self, *, turn: bool = True) -> tf.data.Dataset:
        """Return the whole pipeline, or all of it but rotation and zoom."""

        def augment(number: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.image.random_flip_left_right(image)
            image = tf.image.random_brightness(tf.cast(image, tf.float32), 25.0)
            image = tf.image.random_contrast(image, 0.9, 1.1)
            return number, turn_and_zoom(image) if turn else image

        return self.decoded().map(augment, num_parallel_calls=tf.data.AUTOTUNE)

    def write(self, shards: int, *, passes: int, turn: bool = True) -> Counter[int]:
        """Write the first ``passes`` shards; return how often each image was written."""
        written = Counter[int]()
        faces = self.pipeline(turn=turn)
        for shard in range(passes):
            with tf.io.TFRecordWriter(str(self.folder / f"{shard:05d}.tfrecord")) as writer:
                for number, image in faces.shard(shards, shard):
                    jpeg = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)).numpy()
                    example = tf.train.Example()
                    example.features.feature["images"].bytes_list.value.append(jpeg)
                    example.features.feature["labels"].int64_list.value.append(int(number) % 2)
                    writer.write(example.SerializeToString())
                    written[int(number)] += 1
        return written


def turn_and_zoom(image: tf.Tensor) -> tf.Tensor:
    """Rotate and zoom an image about its centre in one transform."""
    angle, zoom = tf.random.uniform([], -0.2, 0.2), tf.random.uniform([], 0.9, 1.1)
    cosine, sine, centre = tf.cos(angle) * zoom, tf.sin(angle) * zoom, (SIZE - 1) / 2
    shift_x = centre - centre * cosine + centre * sine
    shift_y = centre - centre * sine - centre * cosine
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([cosine, -sine, shift_x, sine, cosine, shift_y, 0.0, 0.0])[None],
        output_shape=[SIZE, SIZE],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]


def drain(dataset: tf.data.Dataset) -> None:
    """Read a data set to its end inside TensorFlow."""
    dataset.reduce(np.int64(0), lambda count, *_: count + 1)


# Memory


def peak_megabytes(work: Callable[[], object]) -> float:
    """Return by how much ``work`` raised the resident memory at its highest."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes(status, "VmHWM")
    work()
    return (_kilobytes(status, "VmHWM") - before) / 1024


def _kilobytes(status: Path, key: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


# The figures


def measure_writing(folder: Path, jpegs: Sequence[bytes], *, shards: int, passes: int) -> float:
    """Print the writer's cost against the notebook's; return the ratio of CPU seconds."""
    count = len(jpegs)
    config = RecordsConfig(shards=(shards, 1, 1), seed=42)
    workspace = make_workspace(folder / "workspace", jpegs)
    notebook = Notebook(folder / "notebook", jpegs)
    decode = Cost.of(lambda: drain(notebook.decoded())) / count
    least = Cost.of(lambda: notebook.write(shards, passes=passes, turn=False)) / (count * passes)
    one_pass = Cost.of(lambda: notebook.write(shards, passes=passes)) / (count * passes)
    ours = []
    for _ in range(ROUNDS):
        shutil.rmtree(workspace.records, ignore_errors=True)
        ours.append(Cost.of(lambda: write_records(workspace, config=config)) / count)
    writer = Cost.median(ours)
    proof = Cost.of(lambda: verify_records(workspace)) / count
    print(f"\nWriting {count} faces of {sum(map(len, jpegs)) / count / 1e3:.1f} KB into {shards} shards, per face")
    print(f"  notebook, one of {shards} readings, all five augmentations  {one_pass}   ({passes} made)")
    print(f"    without rotation and zoom                           {least}")
    print(f"    read and decode alone                               {decode}")
    print(f"  notebook, all {shards} readings (multiplied)               {one_pass * shards}")
    print(f"  deepfake records                                      {writer}")
    print(f"  deepfake records --verify                             {proof}")
    print(f"  against all the notebook does:     {_ratio(one_pass * shards, writer)} (goal: 500)")
    print(f"  against it without rotation, zoom: {_ratio(least * shards, writer)}")
    return one_pass.cpu * shards / writer.cpu


def _ratio(theirs: Cost, ours: Cost) -> str:
    return f"{theirs.cpu / ours.cpu:.0f} x less CPU, {theirs.wall / ours.wall:.0f} x less wall time"


def measure_partition(folder: Path, jpegs: Sequence[bytes], *, shards: int) -> None:
    """Print what the shards hold after all readings of a small set."""
    written = Notebook(folder / "small", jpegs).write(shards, passes=shards)
    lost = len(jpegs) - len(written)
    print(f"\nAll {shards} readings of {len(jpegs)} faces, the notebook's way")
    print(f"  never written {lost} ({lost / len(jpegs):.0%}), most often written {max(written.values())} times")
    print("  deepfake records: each exactly once (proved by --verify above)")


def measure_memory(folder: Path) -> None:
    """Print how the writer's peak memory stands to its largest shard."""
    workspace = Workspace.existing(folder / "workspace")
    print("\nPeak memory of the writer above what the process held before, two threads")
    for shards in (60, 4, 1):
        shutil.rmtree(workspace.records, ignore_errors=True)
        config = RecordsConfig(shards=(shards, 1, 1), seed=42, workers=2)
        peak = peak_megabytes(lambda config=config: write_records(workspace, config=config))
        largest = max(shard.bytes for shard in read_index(workspace).splits["train"].shards) / 2**20
        print(f"  {shards:3d} shards, the largest of {largest:6.1f} MiB: {peak:6.1f} MiB")


def measure_reading(folder: Path, jpegs: Sequence[bytes]) -> float:
    """Print the reader's rate against decoding alone; return the ratio of CPU seconds."""
    workspace = make_workspace(folder / "reading", jpegs)
    write_records(workspace, config=RecordsConfig(shards=(SHARDS_READ, 1, 1), seed=42))
    count = read_index(workspace).splits["train"].faces
    in_memory = tf.constant(list(jpegs[:count]))

    def floor() -> tf.data.Dataset:
        faces = tf.data.Dataset.from_tensor_slices(in_memory)
        faces = faces.map(
            lambda jpeg: tf.ensure_shape(decode_jpeg(jpeg), (SIZE, SIZE, 3)), num_parallel_calls=os.cpu_count()
        )
        options = tf.data.Options()
        options.autotune.enabled = False  # the reader has none either, and without it this floor is lower
        return faces.batch(BATCH).prefetch(BATCHES_AHEAD).with_options(options)

    contestants = {
        "decode only, bytes in memory": floor,
        "reader, fixed order": lambda: read_faces(workspace, "train", batch=BATCH),
        "reader, shuffled": lambda: read_faces(
            workspace, "train", batch=BATCH, shuffle_seed=1, shuffle_buffer=count // SHUFFLED_SHARE
        ),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, make in contestants.items():
            costs[name].append(Cost.of(lambda make=make: drain(make())) / count)
    medians = {name: Cost.median(found) for name, found in costs.items()}
    base = medians["decode only, bytes in memory"]
    print(f"\nReading {count} faces in batches of {BATCH} on {os.cpu_count()} cores, per face")
    for name, cost in medians.items():
        print(f"  {name:30s}{cost}   CPU rate {base.cpu / cost.cpu:.2f}, wall rate {base.wall / cost.wall:.2f} of it")
    print("  (goal: 0.9 of the decode-only rate)")
    return base.cpu / medians["reader, shuffled"].cpu


def main() -> int:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=6000, help="faces to write")
    parser.add_argument("--shards", type=int, default=60, help="train shards")
    parser.add_argument("--passes", type=int, default=1, help="of the notebook's readings that are really made")
    options = parser.parse_args()
    data = os.environ.get("DEEPFAKE_REAL_DATA")
    frames = real_frames(Path(data) / "data" / "ffpp") if data else drawn_frames()
    print(f"faces from {'real videos' if data else 'drawn scenes'}, {SIZE} pixels, JPEG quality 95")
    jpegs = make_faces(frames, options.faces)
    folder = Path(tempfile.mkdtemp(prefix="deepfake-benchmark-"))
    try:
        measure_writing(folder, jpegs, shards=options.shards, passes=options.passes)
        measure_partition(folder, jpegs[:SMALL_SET], shards=options.shards)
        measure_memory(folder)
        measure_reading(folder, jpegs)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
