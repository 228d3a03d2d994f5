"""Groups of people who must never be torn apart.

A fake ``A_B`` shows the head of A and the face of B: A, B and every video made from them form one group. Two
originals cut from one YouTube video most likely show one person; where the table of YouTube ids is at hand, they can
join groups too, or be reported. A person is named ``<dataset>/<name>``, such as ``ffpp/183`` or ``dfd/01``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import pyarrow as pa

from deepfake_core.data.layout import VIDEO_SETS

_SETS = {(video_set.dataset, video_set.method): video_set for video_set in VIDEO_SETS.values()}


@dataclass(frozen=True)
class Groups:
    """Who belongs together.

    Attributes:
        people: group → its people, sorted; a group is named after its first person.
    """

    people: dict[str, tuple[str, ...]]

    @cached_property
    def of(self) -> dict[str, str]:
        """Person → group."""
        return {person: group for group, people in self.people.items() for person in people}


def person(dataset: str, name: str) -> str:
    """Return the name of a person across data sets."""
    return f"{dataset}/{name}"


def people_of_videos(videos: pa.Table) -> dict[str, tuple[str, ...]]:
    """Return the people that each video shows: video id → its target and, for a fake, its source.

    Args:
        videos: a table with the columns ``video_id``, ``dataset``, ``target`` and ``source`` of ``tables.VIDEOS``.
    """
    columns = [videos[name].to_pylist() for name in ("video_id", "dataset", "target", "source")]
    return {
        video_id: tuple(person(dataset, name) for name in (target, source) if name is not None)
        for video_id, dataset, target, source in zip(*columns, strict=True)
    }


def people_of_id(video_id: str) -> tuple[str, ...]:
    """Return the people that a video shows, read from its id alone; none where the id does not follow the rule."""
    dataset, method, _, name = video_id.split("/", 3)
    match = _SETS[dataset, method].pattern.fullmatch(name) if (dataset, method) in _SETS else None
    return tuple(person(dataset, found) for found in match.groups()) if match else ()


def group_people(links: Iterable[Iterable[str]]) -> Groups:
    """Return the connected components of people.

    Args:
        links: people who belong together: those of one video, or of one YouTube id. One alone is a group of one.
    """
    graph = nx.Graph()
    for people in links:
        first, *others = people
        graph.add_node(first)
        graph.add_edges_from((first, other) for other in others)
    components = sorted(tuple(sorted(component)) for component in nx.connected_components(graph))
    return Groups({people[0]: people for people in components})


def sharing_youtube_id(youtube_ids: Mapping[str, str], people: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the YouTube videos from which two or more of these people were cut: YouTube id → people.

    Args:
        youtube_ids: name → YouTube id, such as ``{"605": "nUNnFudF2pA", "606": "nUNnFudF2pA"}``.
        people: those to look among; only FaceForensics++ is cut from YouTube.
    """
    among = set(people)
    by_id: dict[str, list[str]] = {}
    for name, youtube_id in sorted(youtube_ids.items()):
        if person("ffpp", name) in among:
            by_id.setdefault(youtube_id, []).append(person("ffpp", name))
    return {youtube_id: tuple(found) for youtube_id, found in by_id.items() if len(found) > 1}
