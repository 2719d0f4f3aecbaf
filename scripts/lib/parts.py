# SPDX-License-Identifier: Apache-2.0
"""The parts of the cache: what each is made from, and how."""

import json
import os
import shutil
import subprocess

from cache import Part, cache_root, digest
from guest_images import IMAGES, build_image, image_stamp
from private_apt import BACKPORTS, RELEASE, PrivateApt
from report import Failure, Progress

# A change of how trees are unpacked makes them anew; raise this with it.
TREE_LAYOUT = 1

QEMU_PACKAGES = ["qemu-system-x86"]

GUEST_PACKAGES = [
    "linux-image-amd64", "weston", "libdrm-tests", "kmod", "udev", "busybox-static",
    "fonts-dejavu-core", "xkb-data",
]
# Only weston's remote back ends, GL and installed systems use these; they would double the download.
# A library that is wanted after all is missed when an image is made, by name.
GUEST_PRETENDED = [
    "libfreerdp3-3", "libfreerdp-server3-3", "libwinpr3-3", "libgstreamer1.0-0",
    "libgstreamer-plugins-base1.0-0", "libneatvnc0", "libaml0t64", "libpipewire-0.3-0t64",
    "libllvm19", "initramfs-tools", "systemd", "dbus-daemon", "adduser",
]

VULKAN_PACKAGES = ["libvulkan-dev"]
VULKAN_REGISTRY = "usr/share/vulkan/registry/vk.xml"
VULKAN_REGISTRY_SHA256 = "1adbeb17c00be04771aac41bbb33850ff83c3503b42dcb2a25a96b4fd79c7e07"


def _tree_stamp(release, packages, pretended=()):
    return digest(TREE_LAYOUT, release, packages, list(pretended))


def guest_tree_part():
    return Part("guest", _tree_stamp(RELEASE, GUEST_PACKAGES, GUEST_PRETENDED))


def qemu_part():
    return Part("qemu", _tree_stamp(BACKPORTS, QEMU_PACKAGES))


def vulkan_part():
    return Part("vulkan", digest(_tree_stamp(RELEASE, VULKAN_PACKAGES, ["libc6"]),
                                 VULKAN_REGISTRY_SHA256))


def _unpack(part, release, packages, pretended=(), check=None):
    apt = PrivateApt(part.name, release, pretended)
    with part.rebuilt() as folder:
        apt.unpack_into(folder / "tree", f"setup: {part.name}", packages)
        if check:
            check(folder / "tree")
    apt.forget_downloads()


def _check_registry(tree):
    found = digest_of_file(tree / VULKAN_REGISTRY)
    if found != VULKAN_REGISTRY_SHA256:
        raise Failure(f"the Vulkan registry that was downloaded has the SHA-256 {found}, "
                      f"expected is {VULKAN_REGISTRY_SHA256}")


def digest_of_file(path):
    answer = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return answer.stdout.split()[0]


# --- QEMU ---------------------------------------------------------------------------------------

def system_qemu():
    """Path of the system's QEMU if it has the door we need, else None; the answer is remembered."""
    path = shutil.which("qemu-system-x86_64")
    if path is None:
        return None
    status = os.stat(path)
    identity = [path, status.st_size, status.st_mtime_ns]
    memory = cache_root() / "system-qemu.json"
    try:
        known = json.loads(memory.read_text())
        if known["identity"] == identity:
            return path if known["vfio_user"] else None
    except (OSError, ValueError, KeyError):
        pass
    answer = subprocess.run([path, "-device", "help"], capture_output=True, text=True, check=False)
    offers = '"vfio-user-pci"' in answer.stdout
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps({"identity": identity, "vfio_user": offers}))
    return path if offers else None


def qemu_wrapper():
    return cache_root() / "bin" / "qemu-system-x86_64"


def _wrapper_text():
    own = system_qemu()
    if own:
        return f'#!/bin/sh\nexec {own} "$@"\n'
    # Debian 13's QEMU on whatever system this is: its own loader and libraries, its own modules
    # (another QEMU's would abort it) and its own firmware.
    tree = qemu_part().path / "tree"
    libraries = f"{tree}/usr/lib/x86_64-linux-gnu"
    return f'''#!/bin/sh
export QEMU_MODULE_DIR={libraries}/qemu
exec {libraries}/ld-linux-x86-64.so.2 --argv0 "$0" \\
    --library-path {libraries}:{libraries}/pulseaudio \\
    {tree}/usr/bin/qemu-system-x86_64 -L {tree}/usr/share/qemu -L {tree}/usr/share/seabios "$@"
'''


def _wrapper_is_current():
    try:
        return qemu_wrapper().read_text() == _wrapper_text()
    except OSError:
        return False


def _write_wrapper():
    path = qemu_wrapper()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".partial")
    draft.write_text(_wrapper_text())
    draft.chmod(0o755)
    draft.rename(path)


# --- all of them --------------------------------------------------------------------------------

def image_part(name):
    return Part(f"image-{name}", image_stamp(name, guest_tree_part().stamp))


def _build_image(name):
    progress = Progress(f"setup: image '{name}'")
    with image_part(name).rebuilt() as folder:
        size = build_image(name, guest_tree_part().path / "tree", folder / "initramfs")
    progress.done(f"{size / 1e6:.1f} MB")


def kernel():
    found = sorted((guest_tree_part().path / "tree" / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise Failure(f"one kernel is expected in the guest tree, found: {found}")
    return found[0]


def steps():
    """(is it current, make it) for each part, in the order in which they are needed."""
    if not system_qemu():
        yield qemu_part().is_current, lambda: _unpack(qemu_part(), BACKPORTS, QEMU_PACKAGES)
    yield _wrapper_is_current, _write_wrapper
    yield guest_tree_part().is_current, lambda: _unpack(
        guest_tree_part(), RELEASE, GUEST_PACKAGES, GUEST_PRETENDED)
    for name in IMAGES:
        yield image_part(name).is_current, lambda name=name: _build_image(name)
    yield vulkan_part().is_current, lambda: _unpack(
        vulkan_part(), RELEASE, VULKAN_PACKAGES, ["libc6"], _check_registry)


def paths():
    """What other programs may ask for by name."""
    return {
        "cache": cache_root(),
        "qemu": qemu_wrapper(),
        "guest-tree": guest_tree_part().path / "tree",
        "vulkan-registry": vulkan_part().path / "tree" / VULKAN_REGISTRY,
        "vulkan-headers": vulkan_part().path / "tree" / "usr/include",
        **{f"initramfs-{name}": image_part(name).path / "initramfs" for name in IMAGES},
    }
