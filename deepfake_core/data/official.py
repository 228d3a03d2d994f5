"""Give groups of people to the splits that the official lists name.

The lists of FaceForensics++ hold whole pairs, so they tear no group of its own fakes apart. Lists that do, that name a
person twice, or that leave a split without a video of this workspace, are refused before any work.
"""

from collections.abc import Sequence

from deepfake_core.data.groups import Groups
from deepfake_core.data.lists import SplitLists
from deepfake_core.errors import SplitError
from deepfake_core.workspace import SPLITS


def split_by_lists(groups: Groups, *, originals: set[str], lists: SplitLists) -> dict[str, str]:
    """Return group → split.

    Args:
        groups: of the people in this workspace.
        originals: people whose original is here, for the message.
        lists: the official lists.

    Raises:
        SplitError: the lists name a person of this workspace not at all or twice, tear a group apart, or leave a split
            empty.
    """
    listed = _listed(lists)
    by_person = {name: listed.get(name.split("/", 1)[1]) for name in groups.of}
    unlisted = sorted(name for name, split in by_person.items() if split is None)
    if unlisted:
        message = (
            f"the official lists ({lists.where}) do not name {len(unlisted)} people of this workspace "
            f"({_some(unlisted)}). Use split.mode=ratio, or leave their videos out of download.datasets."
        )
        raise SplitError(message)
    by_group: dict[str, str] = {}
    for group, people in groups.people.items():
        sides = {split for name in people if (split := by_person[name])}
        if len(sides) > 1:
            where = ", ".join(f"{name} in {by_person[name]}" for name in people)
            message = (
                f"the official lists ({lists.where}) tear a group apart: fakes join {where}. "
                "Use split.mode=ratio, or take those fakes out."
            )
            raise SplitError(message)
        by_group[group] = sides.pop()
    for split in SPLITS:
        if split not in by_group.values():
            names = sorted(name.split("/", 1)[1] for name in originals)
            message = (
                f"the official lists put no video of this workspace into {split!r} (found {len(names)} originals: "
                f"{_some(names)}). Use mode 'ratio', or download an identity of {split}.json."
            )
            raise SplitError(message)
    return by_group


def _listed(lists: SplitLists) -> dict[str, str]:
    listed: dict[str, str] = {}
    for split, pairs in (lists.pairs or {}).items():
        for name in (name for pair in pairs for name in pair):
            if listed.setdefault(name, split) != split:
                message = f"the official lists ({lists.where}) name {name} in {listed[name]}.json and in {split}.json."
                raise SplitError(message)
    return listed


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
