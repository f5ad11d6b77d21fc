"""The files of a study: written whole or not at all, found again after a crash.

A folder holds one study: `study.json` says which, `runs/<run>-<identity>.json` one finished run
each. A file is written beside its place, forced to the disk and renamed, so that whatever kills
the process leaves complete files only. A run's identity is a hash of all that decides its
numbers; a run whose identity has changed is simply not found, and is done again.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convscape._version import __version__
from convscape.arithmetic.errors import InputError
from convscape.study.config import Config, Run

MANIFEST = "study.json"
SCHEMA = "convscape.study/1"

# What the numbers of a run come from; the rest of the package only shows or orders them.
_NUMERIC = (
    "arithmetic",
    "kernels",
    "ops",
    "layers",
    "study/data.py",
    "study/experiments",
    "study/model.py",
    "study/probe.py",
    "study/state.py",
    "study/work.py",
)
_LIBRARIES = ("numpy", "numba", "torch", "keras")


class Store:
    """The folder of one study.

    Args:
        folder: Where; made by `open` if it is not there.
        config: The study.

    Raises:
        InputError: The folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self._config = config
        self._code = _code_version()
        self._data = ""
        self._check()

    def _check(self) -> None:
        """Refuse a folder that is not ours to write; changes nothing."""
        manifest = self.folder / MANIFEST
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(
                "the output must be a folder", f"--out {self.folder}, a file", "name another"
            )
        if manifest.is_file():
            held = _read(manifest)
            if held is None or held.get("schema") != SCHEMA:
                raise InputError(
                    "the output folder must hold no study of another version",
                    f"--out {self.folder}",
                    "name another folder with --out",
                )
            self._compare(held["config"])
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputError(
                "the output folder must be empty, or hold this very study",
                f"--out {self.folder}, which holds other files",
                "name another folder with --out",
            )
        present = self.folder
        while not present.exists() and present != present.parent:
            present = present.parent
        if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
            raise InputError(
                "the output folder must be writable",
                f"--out {self.folder} ({present} is not)",
                "name another folder with --out",
            )

    def _compare(self, held: dict[str, Any]) -> None:
        wanted = self._config.as_dict()
        changed = [name for name in wanted if held.get(name) != wanted[name]]
        if changed:
            raise InputError(
                "the output folder holds another study",
                f"--out {self.folder}, where "
                + ", ".join(f"{n} is {held.get(n)} instead of {wanted[n]}" for n in changed),
                "name another folder with --out, or repeat the options of the study that it holds",
            )

    @contextlib.contextmanager
    def open(self, data: str) -> Iterator[None]:
        """Make the folder, and keep other processes out while the context lasts.

        Args:
            data: Fingerprint of the data, part of every run's identity.

        Raises:
            InputError: The folder cannot be written, belongs to the same study of other data, or
                is in use.
        """
        self._data = data
        with contextlib.ExitStack() as held:
            try:
                (self.folder / "runs").mkdir(parents=True, exist_ok=True)
                held.enter_context(_locked(self.folder))
                self._claim()
                for leftover in self.folder.rglob("*.partial"):
                    leftover.unlink()
            except OSError as error:
                raise InputError(
                    "the output folder must be writable", str(error), "name another with --out"
                ) from error
            yield

    def _claim(self) -> None:
        """Write down whose folder this is, or check it."""
        manifest = _read(self.folder / MANIFEST)
        if manifest is None:
            facts = {"schema": SCHEMA, "config": self._config.as_dict(), "data": self._data}
            write(self.folder / MANIFEST, json.dumps(facts, indent=1))
        elif manifest["data"] != self._data:
            raise InputError(
                "the output folder holds a study of other data",
                f"--out {self.folder}, and data that have changed since",
                "name another folder with --out",
            )

    def identity(self, run: Run) -> str:
        """SHA-256 of the configuration, data, code version and seed of a run."""
        # Two studies that differ in their lists of seeds and rates share the runs they both have.
        config = self._config.as_dict()
        del config["seeds"], config["learning_rates"], config["data"]
        facts = [config, self._data, self._code, run.arm, run.learning_rate, run.seed]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def load(self, run: Run) -> dict[str, Any] | None:
        """The record of a finished run, or None."""
        record = _read(self._path(run))
        return record if record is not None and record["identity"] == self.identity(run) else None

    def save(self, run: Run, record: dict[str, Any]) -> None:
        """Keep the record of a finished run."""
        # Infinity and NaN are no JSON; a record that holds one is a mistake of the experiment's.
        text = json.dumps({**record, "identity": self.identity(run)}, allow_nan=False)
        write(self._path(run), text)

    def _path(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.key}-{self.identity(run)[:12]}.json"


def write(path: Path, text: str) -> None:
    """Put a text into a file so that it is there whole or not at all.

    A temporary file in the same folder, forced to the disk, then renamed; the folder's entry is
    forced too.
    """
    handle, name = tempfile.mkstemp(suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp's own mode shuts out everyone else
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None  # not there, or damaged by someone else: the run is done again
    return content if isinstance(content, dict) else None


def _code_version() -> str:
    """This package's numeric sources, and the versions of the libraries below them."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(__version__.encode())
    for name in _NUMERIC:
        root = package / name
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}".encode())
    digest.update(f"python {sys.version_info.major}.{sys.version_info.minor}".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the lock goes with the process, however it ends."""
    if sys.platform == "win32":
        yield  # no advisory locks there; two studies in one folder would only repeat work
        return
    import fcntl

    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "one process at a time may write to an output folder",
                f"--out {folder}, in use by another",
                "wait for it, or name another folder with --out",
            ) from None
        yield
