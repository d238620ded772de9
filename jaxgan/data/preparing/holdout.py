"""Which samples are trained on and which are held out: whole subjects, slides or files, never parts of them."""

from __future__ import annotations

import collections
import dataclasses
import re
from typing import Any

import numpy as np

from jaxgan.data.listing.collection import Collection, Entry
from jaxgan.errors import InputError

HOLDOUT = "holdout"


def divide(
    collection: Collection, split: str | None, holdout: str, group: str, seed: int
) -> tuple[Collection, dict[str, Any] | None]:
    """The collection with the splits that are asked for.

    Args:
      collection: as listed.
      split: None keeps the source's own splits; names with commas keep only those; a share in (0, 1) holds out that
        much of "train" as "test".
      holdout: "" for nothing; a share in (0, 1) of "train", which becomes the split "holdout"; or the name of a split
        of the source. It is never trained on and is what evaluation compares with.
      group: regular expression that finds the subject in a sample's name, below the source's folder: its first group,
        or all that it matches; or what the collection is grouped by already; "" goes by slide or file.
      seed: of what is chosen.

    Returns:
      The divided collection, and what the record says of the holdout: `{split, asked, by, group, groups}`, or None.

    Raises:
      InputError: a split that is not there, a share that leaves nothing on one side, a name without a subject, or a
        subject on both sides of the source's own holdout.
    """
    if group and group != collection.grouped_by:
        collection = _with_subjects(collection, group)
    if split is not None and _is_number(split):
        collection = _hold_out(collection, "split", split, "test", seed)
    elif split is not None:
        names = [part.strip() for part in split.split(",")]
        for name in names:
            _check_name(collection, "split", split, name)
        collection = dataclasses.replace(collection, splits={name: collection.splits[name] for name in names})
    if group or collection.grouped_by:
        _check_apart(collection)
    if not holdout:
        return collection, None
    name = holdout
    if _is_number(holdout):
        name = HOLDOUT
        collection = _hold_out(collection, "holdout", holdout, HOLDOUT, seed)
    else:
        _check_name(collection, "holdout", holdout, holdout)
        if holdout == "train":
            raise InputError("holdout='train': is what is trained on; name another split or give a share")
    held = {_unit(entry) for entry in collection.splits[name]}
    trained = {_unit(entry) for entry in collection.splits.get("train", [])}
    if both := sorted(held & trained):
        raise InputError(f"holdout={holdout!r}: {both[0]!r} is in {name!r} and in 'train'; move all of it to one side")
    if group or collection.grouped_by:
        by = "subject"
    else:
        by = "slide" if any(entry.group for entry in collection.splits[name]) else "file"
    return collection, {"split": name, "asked": holdout, "by": by, "group": group, "groups": len(held)}


def _check_apart(collection: Collection) -> None:
    """Raises `InputError` for a subject in two splits."""
    splits: dict[str, str] = {}
    for split, entries in collection.splits.items():
        for unit in sorted({_unit(entry) for entry in entries}):
            if splits.setdefault(unit, split) != split:
                raise InputError(
                    f"{collection.root}: subject {unit!r} is in {splits[unit]!r} and in {split!r}; move all of it to"
                    " one side, or prepare one of them (--split)"
                )


def _is_number(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return False


def _check_name(collection: Collection, field: str, value: str, name: str) -> None:
    if name not in collection.splits:
        available = ", ".join(collection.splits)
        raise InputError(f"{field}={value!r}: the source has no {name!r}, only {available}")


def _with_subjects(collection: Collection, group: str) -> Collection:
    """The collection with the subject of each sample as its group."""
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise InputError(f"group={group!r}: is not a regular expression ({error})") from None

    def subject(entry: Entry) -> Entry:
        name = entry.name.removeprefix(str(collection.root)).lstrip("/")
        match = pattern.search(name)
        found = match and match.group(1 if pattern.groups else 0)
        if not found:
            raise InputError(f"group={group!r}: finds no subject in {name!r}; make it match every sample's name")
        return dataclasses.replace(entry, group=found)

    splits = {split: [subject(entry) for entry in entries] for split, entries in collection.splits.items()}
    return dataclasses.replace(collection, splits=splits)


def _unit(entry: Entry) -> str:
    """What must not be torn apart: patches of one slide and scans of one patient resemble each other."""
    return entry.group or entry.name


def _hold_out(collection: Collection, field: str, text: str, name: str, seed: int) -> Collection:
    """Moves a share of the units of "train" to a new split, of each class alike as far as whole units allow."""
    entries, share = collection.splits.get("train", []), float(text)
    classes: dict[int | None, list[str]] = collections.defaultdict(list)
    # A unit with samples of several classes counts as one of its first.
    for unit, label in sorted({_unit(entry): entry.label for entry in reversed(entries)}.items()):
        classes[label].append(unit)
    total = sum(map(len, classes.values()))
    wanted = round(share * total) if 0 < share < 1 else 0
    if name in collection.splits:
        raise InputError(f"{field}={text!r}: the source has a split {name!r} already; give its name instead of a share")
    if not 0 < wanted < total:
        whole = "slides or subjects, which stay whole" if any(entry.group for entry in entries) else "files"
        raise InputError(
            f"{field}={text!r}: must be a share that leaves something on both sides, and there are {total} {whole}: "
            f"choose another, add data, or leave {field} out"
        )
    rng = np.random.default_rng(seed)
    if field == "split":
        # As in the first version, so that prepared sets keep their test split.
        units = sorted(unit for found in classes.values() for unit in found)
        chosen = {units[i] for i in rng.permutation(total)[:wanted]}
    else:
        # In turns: a random order within each class, its places spread evenly over [0, 1); the first are held out.
        places = []
        for units in classes.values():
            order = rng.permutation(len(units))
            places += [((place + rng.random()) / len(units), units[i]) for place, i in enumerate(order)]
        chosen = {unit for _, unit in sorted(places)[:wanted]}
    splits = {
        **collection.splits,
        "train": [entry for entry in entries if _unit(entry) not in chosen],
        name: [entry for entry in entries if _unit(entry) in chosen],
    }
    return dataclasses.replace(collection, splits=splits)
