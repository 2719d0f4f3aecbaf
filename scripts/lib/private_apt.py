# SPDX-License-Identifier: Apache-2.0
"""Debian packages without root and without touching the system: apt with a state folder of its own.

The mirror is the one that the system's apt sources name. Packages are resolved by apt against an
empty (or partly pretended) dpkg status, downloaded and verified by apt, and unpacked by dpkg-deb; no
maintainer script runs.
"""

import os
import pathlib
import re
import subprocess

from cache import cache_root
from report import Failure, Progress, say

RELEASE = "trixie"
BACKPORTS = "trixie-backports"
# Where a host's own release has the drivers that are tested: Debian 12 in its backports only.
DRIVERS_RELEASES = {"bookworm": "bookworm-backports"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PLAIN_SUITES = {"bookworm", "trixie", "oldstable", "stable"}
ATTEMPTS = 3


def drivers_release(os_release=pathlib.Path("/etc/os-release")):
    """The release whose Vulkan drivers run with this host's C library."""
    name = re.search(r"^VERSION_CODENAME=(\w+)$", os_release.read_text(), re.M)
    return DRIVERS_RELEASES.get(name[1] if name else None, RELEASE)


def _sources(folder):
    """(uri, suites, components) of all that apt's own files name, one-line and deb822 alike."""
    one_line = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    for path in one_line:
        if path.is_file():
            for line in path.read_text(errors="replace").splitlines():
                match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line.strip())
                if match:
                    yield match[1], [match[2]], match[3].split()
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text(errors="replace")):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = dict(re.findall(r"^(\S+):[ \t]*(.*(?:\n[ \t].*)*)", "\n".join(lines), re.M))
            fields = {name.lower(): value.split() for name, value in fields.items()}
            if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
                for uri in fields.get("uris", []):
                    yield uri, fields.get("suites", []), fields.get("components", [])


def mirror(folder=pathlib.Path("/etc/apt")):
    """The mirror of Debian's main archive: security and updates have other suites, and other
    people's repositories for Debian other components."""
    for uri, suites, components in _sources(folder):
        if PLAIN_SUITES & set(suites) and "main" in components:
            return uri
    raise Failure(f"apt's sources in {folder} name no Debian mirror (suites "
                  f"{', '.join(sorted(PLAIN_SUITES))}, component main); add one")


class PrivateApt:
    """One resolver state. `pretended` packages count as installed: nothing fetches them."""

    def __init__(self, name, release, pretended=()):
        self.root = cache_root() / "apt" / name
        self.release = release
        self.pretended = pretended

    def _write_configuration(self):
        for folder in ("lists/partial", "archives/partial", "nothing/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        source = mirror()
        suites = dict.fromkeys([self.release.removesuffix("-backports"), self.release])
        (self.root / "sources.list").write_text("".join(
            f"deb [signed-by={KEYRING}] {source} {suite} main\n" for suite in suites))
        (self.root / "status").write_text("".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: 9:9\nArchitecture: amd64\n"
            f"Multi-Arch: allowed\nMaintainer: none\nDescription: pretended\n\n"
            for name in self.pretended))
        (self.root / "apt.conf").write_text(f'''
Dir::State "{self.root}";
Dir::State::status "{self.root}/status";
Dir::State::lists "{self.root}/lists";
Dir::Cache "{self.root}";
Dir::Cache::archives "{self.root}/archives";
Dir::Etc::sourcelist "{self.root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Default-Release "{self.release}";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
''')

    def _apt(self, *arguments, **options):
        return subprocess.Popen(["apt-get", "-c", str(self.root / "apt.conf"), *arguments],
                                text=True, **options)

    def _output(self, *arguments):
        with self._apt(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as apt:
            output, errors = apt.communicate()
        if apt.returncode != 0:
            raise Failure(f"apt-get {' '.join(arguments)} failed ({apt.returncode}): "
                          f"{(output + errors).strip()[-600:]}")
        return output

    def resolve(self, packages):
        """File names and sizes in bytes of the packages and all that they depend on."""
        # apt leaves out what is downloaded already: show it an empty folder
        output = self._output("-o", f"Dir::Cache::archives={self.root}/nothing", "--print-uris",
                              "-qq", "install", *packages)
        return {name: int(size) for name, size in re.findall(r"^'\S+' (\S+) (\d+)", output, re.M)}

    def _download(self, title, packages, total):
        status_read, status_write = os.pipe()
        progress = Progress(title)
        log = self.root / "download.log"
        with open(log, "w", encoding="utf-8") as output, \
                self._apt("-q", "-o", f"APT::Status-Fd={status_write}", "--download-only", "install",
                          *packages, stdout=output, stderr=output, pass_fds=[status_write]) as apt:
            os.close(status_write)
            with os.fdopen(status_read, encoding="utf-8", errors="replace") as status:
                for line in status:  # "dlstatus:NUMBER:PERCENT:TEXT"
                    fields = line.split(":")
                    if fields[0] == "dlstatus" and len(fields) > 2:
                        percent = min(float(fields[2]), 100.0)
                        progress.update(f"{percent:.0f} % of {total / 1e6:.0f} MB")
        if apt.returncode != 0:
            raise Failure(f"download failed: {log.read_text(errors='replace').strip()[-600:]}")
        progress.done(f"{total / 1e6:.0f} MB")

    def unpack_into(self, tree, title, packages, without=()):
        """Downloads the closure of `packages` and unpacks it, but for files of the patterns `without`;
        a vanished file means: look again."""
        for attempt in range(ATTEMPTS):
            try:
                self._write_configuration()
                self._output("update", "-q")
                wanted = self.resolve(packages)
                self._download(f"{title}: downloading {len(wanted)} packages", packages,
                               sum(wanted.values()))
                break
            except Failure as failure:
                if attempt + 1 == ATTEMPTS:
                    raise
                say(f"{title}: {failure}\n{title}: trying again with fresh lists")
        progress = Progress(f"{title}: unpacking")
        tree.mkdir(parents=True, exist_ok=True)
        for folder in ("bin", "sbin", "lib", "lib64"):  # Debian is merged; packages rely on it
            (tree / "usr" / folder).mkdir(parents=True, exist_ok=True)
            if not (tree / folder).is_symlink():
                (tree / folder).symlink_to(f"usr/{folder}")
        for index, name in enumerate(sorted(wanted)):
            progress.update(f"{index} of {len(wanted)}")
            # Through tar, which keeps the merged-/usr links where a package still has /lib.
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", self.root / "archives" / name],
                                  stdout=subprocess.PIPE) as package:
                tar = subprocess.run(
                    ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", tree,
                     "--exclude=./usr/share/doc/*", "--exclude=./usr/share/man/*",
                     "--exclude=./usr/share/locale/*",
                     *[f"--exclude={pattern}" for pattern in without]], stdin=package.stdout, check=False)
            if tar.returncode != 0 or package.wait() != 0:
                raise Failure(f"package {name} could not be unpacked into {tree}")
        progress.done(f"{len(wanted)} packages")

    def forget_downloads(self):
        for path in (self.root / "archives").glob("*.deb"):
            path.unlink()
