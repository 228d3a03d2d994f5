"""Make every video of two people: each as original, and each with the other's face, mouth and expression."""

from pathlib import Path

from deepfake_core import files
from deepfake_core.config import SampleConfig
from deepfake_core.sample import layout
from deepfake_core.sample.encoding import write_videos
from deepfake_core.sample.layout import Pair
from deepfake_core.sample.manipulations import Shot, manipulate
from deepfake_core.sample.motion import moments
from deepfake_core.sample.people import person
from deepfake_core.sample.render import Frame, make_actor, render_frames


def videos_of(pair: Pair, *, config: SampleConfig) -> tuple[Path, ...]:
    """Return the paths of a pair's videos below the data set's folder."""
    both = (pair, pair[::-1])
    return tuple(
        path
        for compression in config.compressions
        for target, source in both
        for path in (
            layout.original_path(target, compression),
            *(layout.fake_path(method, target, source, compression) for method in config.methods),
        )
    )


def generate_pair(directory: Path, pair: Pair, *, config: SampleConfig) -> dict[str, str]:
    """Make the videos of ``pair`` below ``directory``; return the SHA-256 of each by its path below ``directory``.

    A target's frames are rendered once: the original and every fake, at every compression, come from the same pixels.
    """
    people = [person(number, seed=config.seed) for number in pair]
    actors = [make_actor(one, width=config.width, height=config.height) for one in people]
    motions = [
        moments(one, frames=config.frames, fps=config.fps, width=config.width, height=config.height) for one in people
    ]
    videos: dict[str, str] = {}
    for target, source in ((0, 1), (1, 0)):
        frames, surfaces = render_frames(actors[target], motions[target], width=config.width, height=config.height)
        paths: dict[str, Path] = {name: layout.original_path(pair[target], name) for name in config.compressions}
        videos |= _write(directory, paths, frames, fps=config.fps)
        shots = [
            Shot(actors[target], actors[source], *parts)
            for parts in zip(frames, motions[target], motions[source], surfaces, strict=True)
        ]
        for method in config.methods:
            paths = {name: layout.fake_path(method, pair[target], pair[source], name) for name in config.compressions}
            videos |= _write(directory, paths, manipulate(shots, method, seed=config.seed), fps=config.fps)
    return videos


def _write(directory: Path, paths: dict[str, Path], frames: list[Frame], *, fps: int) -> dict[str, str]:
    write_videos({compression: directory / path for compression, path in paths.items()}, frames, fps=fps)
    return {path.as_posix(): files.sha256_of_file(directory / path) for path in paths.values()}
