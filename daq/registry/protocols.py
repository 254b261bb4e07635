"""Released protocols: each version once and for ever, and where it runs.

A version is a file that nobody changes again; one of another text needs another number. What is
read is compared with the hash that it was released with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daq.errors import CommandRefused, DaqError, InputError
from daq.filemodel import NAME_PATTERN, nearest
from daq.protocol.source import ProtocolSource, parse_protocol
from daq.registry import durable
from daq.registry.rollouts import EVERYWHERE, RELEASED, ROLLED_BACK, ROLLED_OUT, Rollouts
from daq.registry.shelf import Who
from daq.registry.versions import next_patch, order

_HISTORY = "history.jsonl"
_FILE_LIKE = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Released:
    """A version that was released.

    Attributes:
        sha256: of its text and of the files that it brings.
        files: their names.
    """

    name: str
    version: str
    sha256: str
    utc: str
    who: str
    files: tuple[str, ...]


class Protocols:
    """The released protocols of a lab.

    Args:
        data: the lab's data folder.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data / "released"

    def names(self) -> list[str]:
        """All of them, in order."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{_HISTORY}"))

    def history(self, name: str) -> list[dict[str, Any]]:
        """What was released, rolled out and rolled back, oldest first; empty for an unknown name.

        Raises:
            DaqError: it cannot be read, or somebody has changed it.
        """
        if not _is_name(name):
            return []
        path = self.folder / name / _HISTORY
        found = durable.lines(path)
        if strange := [entry for entry in found if not _understood(entry)]:
            raise DaqError(f"{path} has an entry that is not understood: {strange[0]}")
        return found

    def versions(self, name: str) -> list[Released]:
        """What was released under a name, by version."""
        found = [
            Released(
                name,
                entry["version"],
                entry["sha256"],
                entry["utc"],
                entry["who"],
                tuple(entry["files"]),
            )
            for entry in self.history(name)
            if entry.get("what") == RELEASED
        ]
        return sorted(found, key=lambda one: order(one.version))

    def rollouts(self, name: str) -> Rollouts:
        """Which version runs where."""
        return Rollouts.replay(self.history(name))

    def knows(self, name: str) -> bool:
        """Whether anything was released under this name."""
        return bool(self.versions(name))

    def release(self, source: ProtocolSource, who: Who) -> bool:
        """Keep a version for ever; False when the same text was released before.

        Raises:
            InputError: the version is there with another text, or it may not be released.
            DaqError: the disk does not take it.
        """
        name, version = source.model.protocol, source.model.version
        if name.endswith(_FILE_LIKE):
            raise InputError(f"{name!r} looks like a file", remedy="choose another `protocol` name")
        order(version)
        # As it will be read again: from its text and its files, and nothing else.
        source = parse_protocol(source.text, source.document.file, source.files)
        with durable.alone(self.folder):
            if self._is_there(source):
                return False
            path = self._path(name, version)
            files = sorted(source.files)
            entry = _entry(RELEASED, who, version=version, sha256=source.sha256, files=files)
            # The texts first: a version that the history names is there.
            for file in files:
                durable.write(self._brought(path, file), source.files[file], durable.READ_ONLY)
            durable.write(path, source.text, durable.READ_ONLY)
            durable.append(path.with_name(_HISTORY), entry)
        return True

    def _is_there(self, source: ProtocolSource) -> bool:
        self.check_label(source)
        return any(
            one.version == source.model.version for one in self.versions(source.model.protocol)
        )

    def check_label(self, source: ProtocolSource) -> None:
        """Refuse a text that calls itself a released version and is another one.

        Raises:
            InputError: it must get a version of its own.
        """
        name, version = source.model.protocol, source.model.version
        for one in self.versions(name):
            if one.version == version and one.sha256 != source.sha256:
                raise InputError(
                    f"{name} {version} was released with another text",
                    place=source.document.place(("version",), value=True),
                    remedy=f"raise the version, e.g. to {next_patch(version)}",
                )

    def load(self, name: str, version: str) -> ProtocolSource:
        """A released version.

        Raises:
            InputError: there is none, or its file is not what was released.
        """
        known = {one.version: one for one in self.versions(name)}
        if version not in known:
            raise self._unknown(name, version)
        path, released = self._path(name, version), known[version]
        files = {file: _text(self._brought(path, file)) for file in released.files}
        source = parse_protocol(_text(path), str(path), files)
        if source.sha256 != released.sha256:
            raise InputError(
                f"the file of {name} {version} is not what was released",
                remedy=f"put the text with sha256 {released.sha256} back",
            )
        return source

    def at(self, name: str, station: str) -> ProtocolSource:
        """The version that a station starts.

        Raises:
            CommandRefused: none was rolled out to it.
            InputError: its file is not what was released.
        """
        version = self.rollouts(name).at(station)
        if version is None:
            newest = self.versions(name)[-1].version
            raise CommandRefused(
                f"no version of {name} was rolled out to {station}",
                remedy=f"daq protocol rollout {name} {newest} --stations {station}",
            )
        return self.load(name, version)

    def roll_out(self, name: str, version: str, stations: Sequence[str], who: Who) -> Rollouts:
        """Let stations start this version from now on; without stations, every one.

        Raises:
            InputError: it was not released, or its file is not what was.
            DaqError: the disk does not take it.
        """
        with durable.alone(self.folder):
            self.load(name, version)
            where = sorted(set(stations)) or [EVERYWHERE]
            self._note(name, _entry(ROLLED_OUT, who, version=version, stations=where))
            return self.rollouts(name)

    def roll_back(self, name: str, stations: Sequence[str], who: Who) -> Rollouts:
        """Let stations start what they started before; without stations, those with the newest.

        Raises:
            InputError: nothing ran there before.
            DaqError: the disk does not take it.
        """
        with durable.alone(self.folder):
            if not self.knows(name):
                raise self._unknown(name)
            rollouts = self.rollouts(name)
            where = rollouts.to_roll_back(sorted(set(stations)))
            rollouts.take_off(where)
            to = {station: rollouts.stacks[station][-1] for station in where}
            self._note(name, _entry(ROLLED_BACK, who, stations=where, to=to))
            return rollouts

    def _note(self, name: str, entry: dict[str, Any]) -> None:
        durable.append(self.folder / name / _HISTORY, entry)

    def _path(self, name: str, version: str) -> Path:
        return self.folder / name / f"{version}.yaml"

    @staticmethod
    def _brought(path: Path, file: str) -> Path:
        """Where a file is kept that a version brings: in a folder beside it.

        Raises:
            InputError: its name leads elsewhere.
        """
        if not all(map(_is_name, file.split("/"))):
            raise InputError(f"{file!r} is not the name of a file of a protocol")
        return path.with_suffix("") / "files" / file

    def _unknown(self, name: str, version: str = "") -> InputError:
        found = [one.version for one in self.versions(name)]
        if found:
            known = f"there are {', '.join(found)}"
            return InputError(f"{name} {version} was not released", remedy=known)
        message = f"there is no released protocol {name[:64]!r}"
        return InputError(message, remedy=nearest(name, self.names()) or "daq protocol add FILE")


def _entry(what: str, who: Who, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"utc": now, "who": who.name, "what": what, "reason": who.reason, **more}


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()  # line ends as they are: they are hashed
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


_NEEDS: Mapping[str, Mapping[str, type]] = {
    RELEASED: {"version": str, "sha256": str, "utc": str, "who": str, "files": list},
    ROLLED_OUT: {"version": str, "stations": list},
    ROLLED_BACK: {"stations": list},
}


def _understood(entry: Mapping[str, Any]) -> bool:
    needs = _NEEDS.get(str(entry.get("what")))
    return needs is not None and all(isinstance(entry.get(key), needs[key]) for key in needs)


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME_PATTERN, name) is not None
