"""Runs in a data lake: Parquet in hive partitions, and for each run a manifest of its files.

    LAKE/records/lab=L/batch=B/cell=C/RUN.parquet     also spectra, cycles, events, sensors
    LAKE/_manifests/lab=L/RUN.json                    written last: without it a run is not there

Readers take the partitions from the paths, and pass over folders that begin with an underscore.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from daq.errors import InputError
from daq.recorder import metadata, writers
from daq.recorder.atomic import write, write_text
from daq.recorder.fields import constant, needed
from daq.recorder.hashes import GOOD, digested, hash_file, judged
from daq.recorder.laketables import TABLES
from daq.recorder.source import FileSource

SCHEMA_VERSION = 1
"""Of the tables and the manifest: grows when a column changes its meaning or goes."""
PARTITIONS = ("lab", "batch", "cell")
_NOTHING = "__HIVE_DEFAULT_PARTITION__"  # hive's word for a value that is not known
_MANIFESTS = "_manifests"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a run. `path` is relative to the lake."""

    table: str
    path: str
    rows: int
    bytes: int
    sha256: str


def add(file: Path, lake: Path) -> list[Path]:
    """Put a closed run into a lake, or again if its file or the schema is another than before.

    Args:
        file: the run's closed file; compared with the hash beside it, where there is one.
        lake: a folder; made when it is not there.

    Returns:
        The files that were written; none when the lake has the run.

    Raises:
        InputError: it is not a closed run, it is not what was written, or pyarrow is missing.
        OSError: the disk is full, or failed.
    """
    writers.need_arrow("a data lake")
    source = FileSource(file)
    place = lake / _MANIFESTS / _partition("lab", _lab(source)) / f"{_run(source)}.json"
    digest = _digest(file)
    earlier = _manifest(place)
    if _is_there(earlier, digest, lake):
        return []
    parts = [_write(source, lake, name) for name, table in TABLES.items() if table.rows(source)]
    about = _about(source) | {
        "source": {"file": file.name, "bytes": file.stat().st_size, "sha256": digest},
        "files": [asdict(part) for part in parts],
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, json.dumps(about, indent=1) + "\n")
    _remove(lake, {Path(part["path"]) for part in _files(earlier)}, parts)
    return [*(lake / part.path for part in parts), place]


def verify(lake: Path) -> dict[str, str]:
    """What is in a lake -> "good", or in words what is wrong with it. Paths are relative to it.

    Raises:
        InputError: it is not a lake.
    """
    manifests = sorted((lake / _MANIFESTS).glob("lab=*/*.json"))
    if not manifests:
        raise InputError(f"{lake} is not a data lake of battery-daq: it has no {_MANIFESTS}")
    verdicts: dict[str, str] = {}
    for place in manifests:
        listed = _files(_manifest(place))
        if not listed:
            verdicts[str(place.relative_to(lake))] = "it cannot be read, or names no files"
        for part in listed:
            verdicts[part["path"]] = _verdict(lake / part["path"], part)
    for path in sorted(lake.glob("*/lab=*/**/*.parquet")):
        verdicts.setdefault(str(path.relative_to(lake)), "it belongs to no run: remove it")
    return verdicts


def _verdict(path: Path, part: dict[str, Any]) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return "it is missing"
    if size != part["bytes"] or _sha256(path) != part["sha256"]:
        return "it is not what was written: its hash differs"
    return GOOD


def _is_there(manifest: dict[str, Any], digest: str, lake: Path) -> bool:
    same = manifest.get("schema_version") == SCHEMA_VERSION
    same = same and manifest.get("source", {}).get("sha256") == digest
    return same and all(
        (lake / part["path"]).is_file() and (lake / part["path"]).stat().st_size == part["bytes"]
        for part in _files(manifest)
    )


def _manifest(place: Path) -> dict[str, Any]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", manifest.get("files", []))


def _digest(file: Path) -> str:
    """The hash of a closed file, which must be that beside it."""
    if hash_file(file).exists() and (verdict := judged(file)) != GOOD:
        raise InputError(f"{file}: {verdict}", remedy="it does not go into the lake")
    return _sha256(file)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for _ in digested(path, digest):
        pass
    return digest.hexdigest()


# What a run is called.


def _lab(source: FileSource) -> str:
    return str(metadata.section(source.facts, "lab").get("name") or "")


def _run(source: FileSource) -> str:
    return quote(str(source.facts["run"]), safe="") or "run"


def _about(source: FileSource) -> dict[str, Any]:
    facts, protocol = source.facts, metadata.section(source.facts, "protocol")
    return {
        "schema_version": SCHEMA_VERSION,
        "run": facts["run"],
        **_partitions(source),
        "station": metadata.section(facts, "station").get("name"),
        "protocol": {key: protocol.get(key) for key in ("name", "version", "sha256")},
        "started_utc_s": facts.get("started_utc_s"),
        "ended_utc_s": facts.get("ended_utc_s"),
        "outcome": facts.get("outcome"),
        "software": facts.get("software"),
    }


def _partitions(source: FileSource) -> dict[str, str]:
    cell = metadata.section(source.facts, "cell")
    values = {"lab": _lab(source), "batch": cell.get("batch"), "cell": cell.get("id")}
    return {name: str(values[name] or "") for name in PARTITIONS}


def _partition(name: str, value: str) -> str:
    return f"{name}={quote(value, safe='') or _NOTHING}"


def _write(source: FileSource, lake: Path, name: str) -> Part:
    table = TABLES[name]
    partitions = [_partition(*one) for one in _partitions(source).items()]
    path = Path(name, *partitions, f"{_run(source)}.parquet")
    (lake / path).parent.mkdir(parents=True, exist_ok=True)
    listed = [constant("run", source.facts["run"]), *table.fields(source)]
    counted: list[int] = []

    def fill(file: Path) -> None:
        batches = table.batches(source, needed(listed))
        counted.append(writers.write_parquet(file, listed, batches, source.facts))

    write(lake / path, fill)
    size = (lake / path).stat().st_size
    return Part(name, path.as_posix(), counted[0], size, _sha256(lake / path))


def _remove(lake: Path, earlier: set[Path], parts: list[Part]) -> None:
    """Remove what the run had in the lake before, under another name: its cell was renamed."""
    for path in earlier - {Path(part.path) for part in parts}:
        if not path.is_absolute() and ".." not in path.parts:
            (lake / path).unlink(missing_ok=True)
