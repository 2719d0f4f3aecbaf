# SPDX-License-Identifier: Apache-2.0
"""The cache folder: where it is, who may change it, and when a part of it is complete.

A part is a folder. It is built beside its place and renamed into it, so that a part that exists is
whole; its stamp is a hash of what it was made from, so that a changed recipe makes it anew.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil

from report import say


def cache_root():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base).absolute() / "swede"


def digest(*inputs):
    """Hash of anything JSON can say; paths stand for the content of their files."""
    state = hashlib.sha256()
    for item in inputs:
        if isinstance(item, pathlib.Path):
            state.update(item.read_bytes())
        else:
            state.update(json.dumps(item, sort_keys=True).encode())
        state.update(b"\0")
    return state.hexdigest()


class Part:
    """One complete-or-absent folder of the cache."""

    def __init__(self, name, stamp):
        self.name = name
        self.path = cache_root() / name
        self.stamp = stamp

    def is_current(self):
        try:
            return (self.path / "stamp").read_text() == self.stamp
        except OSError:
            return False

    @contextlib.contextmanager
    def rebuilt(self):
        """Yields an empty folder to fill; it becomes the part if the body ends without an error."""
        work = self.path.with_name(self.path.name + ".partial")
        old = self.path.with_name(self.path.name + ".old")
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
        (work / "stamp").write_text(self.stamp)
        if self.path.exists():
            self.path.rename(old)
        work.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(purpose):
    """Holds the cache for this process; tells which process is in the way and what it does."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            say(f"setup: waiting for the cache ({root}), held by {holder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()}: {purpose}")
        lock.flush()
        try:
            yield
        finally:
            lock.seek(0)
            lock.truncate()
