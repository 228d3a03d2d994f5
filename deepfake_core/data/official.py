"""Give groups of people to the splits that the official lists name.

The lists of FaceForensics++ hold whole pairs, so they tear no group of its own fakes apart. Lists that do, that name a
person twice, or that leave a split without a video of this workspace, are refused before any work. People whom they do
not name, such as the actors of DeepFakeDetection, stand in no split.
"""

from collections.abc import Sequence

from deepfake_core.data.groups import Groups, person
from deepfake_core.data.lists import SplitLists
from deepfake_core.errors import SplitError
from deepfake_core.workspace import SPLITS


def split_by_lists(groups: Groups, *, originals: set[str], lists: SplitLists) -> dict[str, str]:
    """Return group → split; groups of people whom the lists do not name are left out.

    Args:
        groups: of the people in this workspace.
        originals: people whose original is here, for the message.
        lists: the official lists.

    Raises:
        SplitError: the lists name a person twice, name only some people of a group or tear it apart, or leave a split
            empty.
    """
    listed = people_of_lists(lists)
    by_group: dict[str, str] = {}
    for group, people in groups.people.items():
        sides = {listed.get(name) for name in people}
        if len(sides) > 1:
            where = ", ".join(f"{name} in {listed.get(name, 'no list')}" for name in people)
            message = (
                f"the official lists ({lists.where}) tear a group apart: fakes join {where}. "
                "Use split.mode=ratio, or take those fakes out."
            )
            raise SplitError(message)
        if side := sides.pop():
            by_group[group] = side
    for split in SPLITS:
        if split not in by_group.values():
            names = sorted(name.split("/", 1)[1] for name in originals)
            message = (
                f"the official lists put no video of this workspace into {split!r} (found {len(names)} originals: "
                f"{_some(names)}). Use mode 'ratio', or download an identity of {split}.json."
            )
            raise SplitError(message)
    return by_group


def people_of_lists(lists: SplitLists) -> dict[str, str]:
    """Return person → split; the lists speak of FaceForensics++ alone.

    Raises:
        SplitError: the lists name a person twice.
    """
    listed: dict[str, str] = {}
    for split, pairs in (lists.pairs or {}).items():
        for name in (name for pair in pairs for name in pair):
            known = listed.setdefault(person("ffpp", name), split)
            if known != split:
                message = f"the official lists ({lists.where}) name {name} in {known}.json and in {split}.json."
                raise SplitError(message)
    return listed


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
