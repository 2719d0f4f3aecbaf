# SPDX-License-Identifier: Apache-2.0
"""Makes initramfs archives out of an unpacked Debian tree, and small overlays to put behind them.

Nothing of the tree is run: libraries are found by their ELF NEEDED entries, module dependencies in
the modules' own .modinfo. Linux unpacks concatenated archives one after the other, so a test adds
its files by appending an overlay and never rebuilds an image.
"""

import lzma
import os
import pathlib
import posixpath
import stat
import subprocess

from elf import Elf
from report import Failure

LIBRARY_FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib64"]


class CpioWriter:
    """Collects files of one archive and writes them in the `newc` format, parents first."""

    def __init__(self):
        self._entries = {}  # path without leading slash -> (mode, content)

    def __contains__(self, path):
        return path.strip("/") in self._entries

    def _add(self, path, mode, content):
        path = path.strip("/")
        parent = posixpath.dirname(path)
        if parent and parent not in self._entries:
            self._add(parent, stat.S_IFDIR | 0o755, b"")
        self._entries[path] = (mode, content)

    def folder(self, path):
        if path not in self:
            self._add(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path, content, mode=0o644):
        self._add(path, stat.S_IFREG | mode, content)

    def link(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def host_file(self, path, source):
        source = pathlib.Path(source)
        self.file(path, source.read_bytes(), stat.S_IMODE(source.stat().st_mode))

    def to_bytes(self):
        chunks = []

        entries = [*self._entries.items(), ("TRAILER!!!", (0, b""))]
        for number, (path, (mode, content)) in enumerate(entries, 1):
            name = path.encode() + b"\0"
            fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
            header = b"070701" + b"".join(b"%08X" % field for field in fields)
            header += name
            chunks.append(header + b"\0" * (-len(header) % 4))
            chunks.append(content + b"\0" * (-len(content) % 4))
        data = b"".join(chunks)
        return data + b"\0" * (-len(data) % 512)


def overlay(files=None, scripts=None):
    """Archive bytes: `files` maps guest paths to files of this machine, `scripts` to texts."""
    archive = CpioWriter()
    for path, source in (files or {}).items():
        archive.host_file(path, source)
    for path, text in (scripts or {}).items():
        archive.file(path, text.encode() if isinstance(text, str) else text, 0o755)
    return archive.to_bytes()


class TreePacker:
    """Copies files, with all that they need, from an unpacked tree into an archive. What the tree
    lacks is taken from the trees `behind` it."""

    def __init__(self, tree, archive, behind=()):
        self.tree = pathlib.Path(tree)
        self.trees = [self.tree, *map(pathlib.Path, behind)]
        self.archive = archive
        for folder in ("bin", "sbin", "lib", "lib64"):
            archive.folder(f"usr/{folder}")
            archive.link(folder, f"usr/{folder}")

    def _source(self, path):
        """The file behind a path of the guest: that of the first tree which has one."""
        found = [tree / path[1:] for tree in self.trees if os.path.lexists(tree / path[1:])]
        return found[0] if found else self.tree / path[1:]

    def _resolve(self, path):
        """Place of `path` in the guest with the links of its folders followed inside the trees."""
        parts, resolved = pathlib.PurePosixPath(path).parts[1:], "/"
        for part in parts[:-1]:
            resolved = posixpath.join(resolved, part)
            target = self._source(resolved)
            if target.is_symlink():
                resolved = self._resolve(posixpath.normpath(
                    posixpath.join(posixpath.dirname(resolved), os.readlink(target))))
        return posixpath.join(resolved, parts[-1]) if parts else resolved

    def add(self, path):
        """A file, a link and what it points to, or a whole folder; ELF files with their libraries."""
        path = self._resolve(path)
        if path in self.archive:
            return
        source = self._source(path)
        if source.is_symlink():
            target = os.readlink(source)
            self.archive.link(path, target)
            self.add(posixpath.normpath(posixpath.join(posixpath.dirname(path), target)))
        elif source.is_dir():
            self.archive.folder(path)
            for child in sorted(os.listdir(source)):
                self.add(f"{path}/{child}")
        elif source.is_file():
            self.archive.host_file(path, source)
            with open(source, "rb") as file:
                is_elf = file.read(4) == b"\x7fELF"
            if is_elf:
                self._add_libraries(path, source)
        else:
            raise Failure(f"the guest tree has no {path} ({self._names()})")

    def _add_libraries(self, path, source):
        elf = Elf(source.read_bytes())
        if elf.interpreter():
            self.add(elf.interpreter())
        own = [entry.replace("$ORIGIN", posixpath.dirname(path)) for entry in elf.run_paths()]
        for soname in elf.needed():
            for folder in own + LIBRARY_FOLDERS:
                candidate = self._resolve(posixpath.normpath(f"{folder}/{soname}"))
                if os.path.lexists(self._source(candidate)):
                    self.add(candidate)
                    break
            else:
                raise Failure(f"library {soname}, needed by {path}, is not in {self._names()}")

    def _names(self):
        return ", ".join(str(tree) for tree in self.trees)

    def add_busybox(self):
        """The static busybox, and a link for each command that the archive does not have by now."""
        source = self.tree / "usr/bin/busybox"
        self.archive.host_file("/usr/bin/busybox", source)
        listing = subprocess.run([source, "--list"], capture_output=True, text=True, check=True)
        for name in listing.stdout.split():
            if f"usr/bin/{name}" not in self.archive and f"usr/sbin/{name}" not in self.archive:
                self.archive.link(f"usr/bin/{name}", "busybox")

    def kernel_release(self):
        releases = sorted(path.name for path in (self.tree / "usr/lib/modules").iterdir())
        if len(releases) != 1:
            raise Failure(f"one kernel is expected in {self.tree}, found: {releases}")
        return releases[0]

    def add_modules(self, names):
        """Kernel modules with their dependencies, unpacked, and the modules.dep that modprobe reads."""
        folder = f"/usr/lib/modules/{self.kernel_release()}"
        root = self.tree / folder[1:]
        files = {path.name.split(".ko")[0].replace("-", "_"): path
                 for path in root.rglob("*.ko*")}
        builtin = {pathlib.PurePosixPath(line).stem.replace("-", "_")
                   for line in (root / "modules.builtin").read_text().split()}
        dependencies = {}

        def visit(name):
            name = name.replace("-", "_")
            if name in dependencies or name in builtin:
                return
            if name not in files:
                raise Failure(f"kernel module {name} is not in {root}")
            data = files[name].read_bytes()
            if files[name].suffix == ".xz":
                data = lzma.decompress(data)
            wanted = [entry for line in Elf(data).module_facts("depends")
                      for entry in line.split(",") if entry]
            dependencies[name] = wanted
            for entry in wanted:
                visit(entry)
            self.archive.file(f"{folder}/{self._module_path(root, files[name])}", data)

        for name in names:
            visit(name)

        def load_order(name):
            result = []
            for entry in dependencies[name]:
                entry = entry.replace("-", "_")
                if entry in dependencies:
                    result += load_order(entry) + [entry]
            return list(dict.fromkeys(result))

        lines = []
        for name in dependencies:
            order = load_order(name) + [name]
            paths = [self._module_path(root, files[entry]) for entry in order]
            # modprobe loads a line from its end to its beginning
            lines.append(f"{paths[-1]}: {' '.join(reversed(paths[:-1]))}")
        self.archive.file(f"{folder}/modules.dep", ("\n".join(lines) + "\n").encode())

    @staticmethod
    def _module_path(root, path):
        return str(path.relative_to(root)).removesuffix(".xz")


def write_compressed(archive, path, level):
    """zstd, which Debian's kernel unpacks several times faster than xz or gzip."""
    with open(path, "wb") as output:
        subprocess.run(["zstd", "-q", f"-{level}", "-T0"], input=archive.to_bytes(), stdout=output,
                       check=True)
