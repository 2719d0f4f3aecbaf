# SPDX-License-Identifier: Apache-2.0
"""The parts of the cache: what each is made from, and how."""

import json
import os
import pathlib
import shutil
import subprocess

from cache import Part, cache_root, digest
from guest_images import EXTRA_IMAGES, IMAGES, build_image, image_stamp, trees_of
from private_apt import BACKPORTS, RELEASE, PrivateApt, drivers_release
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
# What the guests of some images have besides, in trees of their own: a change of one leaves the
# other images alone, and LLVM is fetched only for the image that has it.
GUEST_VULKAN_PACKAGES = ["mesa-vulkan-drivers", "vulkan-tools"]
GUEST_VULKAN_PRETENDED = [  # the guest tree has them, but for LLVM
    "libc6", "libdrm-amdgpu1", "libdrm2", "libelf1t64", "libexpat1", "libgcc-s1", "libllvm19",
    "libstdc++6", "libwayland-client0", "libx11-6", "libx11-xcb1", "libxcb-dri3-0",
    "libxcb-present0", "libxcb-randr0", "libxcb-shm0", "libxcb-sync1", "libxcb-xfixes0", "libxcb1",
    "libxshmfence1", "libzstd1", "zlib1g",
]
GUEST_LLVM_PACKAGES = ["libllvm19"]
GUEST_LLVM_PRETENDED = ["libc6", "libffi8", "libgcc-s1", "libstdc++6", "libzstd1", "zlib1g"]

VULKAN_PACKAGES = ["libvulkan-dev"]
VULKAN_REGISTRY = "usr/share/vulkan/registry/vk.xml"
VULKAN_REGISTRY_SHA256 = "1adbeb17c00be04771aac41bbb33850ff83c3503b42dcb2a25a96b4fd79c7e07"

# Vulkan drivers for programs of this host: the host's C library serves them, all else is beside them.
DRIVERS_PACKAGES = ["mesa-vulkan-drivers"]
DRIVERS_PRETENDED = ["libc6", "libgcc-s1", "libstdc++6"]
DRIVERS = {"gfxstream": "gfxstream_vk", "lavapipe": "lvp"}  # our name -> Mesa's
LIBRARIES = "usr/lib/x86_64-linux-gnu"

# OpenGL for programs of this host, by Zink on a driver of the part above; and some that draw with it.
GL_PACKAGES = ["libegl1", "libgles2", "libgl1", "libegl-mesa0", "libglx-mesa0", "libgl1-mesa-dri",
               "libgbm1", "glmark2-es2-x11", "mesa-utils-bin"]
GL_PRETENDED = [*DRIVERS_PRETENDED,  # the tree of the drivers has them, by the names of either release
                "libdrm-amdgpu1", "libdrm2", "libelf1", "libelf1t64", "libexpat1", "libffi8",
                "libllvm15", "libllvm19", "libvulkan1", "libwayland-client0", "libx11-6",
                "libx11-xcb1", "libxcb-dri3-0", "libxcb-present0", "libxcb-randr0", "libxcb-shm0",
                "libxcb-sync1", "libxcb-xfixes0", "libxcb1", "libxshmfence1", "libzstd1", "zlib1g"]

# Piglit's programs, for the nightly run; its own frame (Python and what that uses) is left out.
PIGLIT_PACKAGES = ["piglit"]
PIGLIT_PRETENDED = [*GL_PRETENDED, "libegl1", "libgbm1", "libgl1", "libgles2", "python3",
                    "python3-mako", "python3-six"]
PIGLIT_WITHOUT = ["./usr/lib/*/piglit/generated_tests/*"]  # 2 GB in many small files

# The guest's driver of Mesa's next generation. It needs a newer C library than the oldest host has,
# so all of its tree is of one release, and a program on it is started by the tree's own loader.
NEWER_DRIVER_PACKAGES = ["mesa-vulkan-drivers"]
NEWER_DRIVERS = ["gfxstream"]
NEWER_DRIVER_START = "start"

EXTRA_PARTS = {  # name of the part -> what is said of it; most uses do without
    "newer-driver": "a newer Mesa's driver for guests, which the nightly run tests",
    "piglit": "Piglit's OpenGL programs, which the nightly run uses",
}


def _tree_stamp(release, packages, pretended=()):
    return digest(TREE_LAYOUT, release, packages, list(pretended))


_GUEST_TREES = {  # name of the part -> packages and pretended packages
    "guest": (GUEST_PACKAGES, GUEST_PRETENDED),
    "guest-vulkan": (GUEST_VULKAN_PACKAGES, GUEST_VULKAN_PRETENDED),
    "guest-llvm": (GUEST_LLVM_PACKAGES, GUEST_LLVM_PRETENDED),
}


def guest_tree_part(name="guest"):
    return Part(name, _tree_stamp(RELEASE, *_GUEST_TREES[name]))


def qemu_part():
    return Part("qemu", _tree_stamp(BACKPORTS, QEMU_PACKAGES))


def vulkan_part():
    return Part("vulkan", digest(_tree_stamp(RELEASE, VULKAN_PACKAGES, ["libc6"]),
                                 VULKAN_REGISTRY_SHA256))


def drivers_part():
    return Part("drivers", digest(_tree_stamp(drivers_release(), DRIVERS_PACKAGES,
                                              DRIVERS_PRETENDED), DRIVERS))


def gl_part():
    return Part("gl", _tree_stamp(drivers_release(), GL_PACKAGES, GL_PRETENDED))


def piglit_part():
    return Part("piglit", digest(_tree_stamp(drivers_release(), PIGLIT_PACKAGES, PIGLIT_PRETENDED),
                                 PIGLIT_WITHOUT))


def newer_driver_part():
    return Part("drivers-newer", digest(_tree_stamp(BACKPORTS, NEWER_DRIVER_PACKAGES),
                                        NEWER_DRIVERS))


def _driver_file(name):
    """The file that names a driver to the Vulkan loader."""
    return f"{name}.icd.json"


def _unpack(part, release, packages, pretended=(), finish=None, without=()):
    apt = PrivateApt(part.name, release, pretended)
    with part.rebuilt() as folder:
        apt.unpack_into(folder / "tree", f"setup: {part.name}", packages, without)
        if finish:
            finish(folder / "tree")
    apt.forget_downloads()


def _check_registry(tree):
    found = digest_of_file(tree / VULKAN_REGISTRY)
    if found != VULKAN_REGISTRY_SHA256:
        raise Failure(f"the Vulkan registry that was downloaded has the SHA-256 {found}, "
                      f"expected is {VULKAN_REGISTRY_SHA256}")


def _name_drivers(tree, part=None, names=tuple(DRIVERS)):
    """Files for the Vulkan loader beside the tree, with the paths that it will have."""
    for name in names:
        mesa_name = DRIVERS[name]
        found = list((tree / "usr/share/vulkan/icd.d").glob(f"{mesa_name}_icd*.json"))
        if len(found) != 1:
            raise Failure(f"one file for the driver {mesa_name} is expected, found: {found}")
        description = json.loads(found[0].read_text())
        library = pathlib.PurePath(description["ICD"]["library_path"]).name
        if not (tree / LIBRARIES / library).is_file():
            raise Failure(f"{found[0]} names {library}, which is not in {tree / LIBRARIES}")
        description["ICD"]["library_path"] = str(
            (part or drivers_part()).path / "tree" / LIBRARIES / library)
        (tree.parent / _driver_file(name)).write_text(json.dumps(description, indent=1) + "\n")


def _finish_newer_driver(tree):
    """Names the driver, and writes the program that starts others with the tree's C library."""
    part = newer_driver_part()
    _name_drivers(tree, part, NEWER_DRIVERS)
    libraries = part.path / "tree" / LIBRARIES
    start = tree.parent / NEWER_DRIVER_START
    start.write_text(f'''#!/bin/sh
exec {libraries}/ld-linux-x86-64.so.2 --library-path {libraries} "$@"
''')
    start.chmod(0o755)


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
    stamps = [guest_tree_part(tree).stamp for tree in trees_of(name)]
    return Part(f"image-{name}", image_stamp(name, stamps))


def _build_image(name):
    progress = Progress(f"setup: image '{name}'")
    with image_part(name).rebuilt() as folder:
        trees = [guest_tree_part(tree).path / "tree" for tree in trees_of(name)]
        size = build_image(name, trees, folder / "initramfs")
    progress.done(f"{size / 1e6:.1f} MB")


def kernel():
    found = sorted((guest_tree_part().path / "tree" / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise Failure(f"one kernel is expected in the guest tree, found: {found}")
    return found[0]


def steps(extra_images=(), extra_parts=()):
    """(is it current, make it) for each part, in the order in which they are needed."""
    if not system_qemu():
        yield qemu_part().is_current, lambda: _unpack(qemu_part(), BACKPORTS, QEMU_PACKAGES)
    yield _wrapper_is_current, _write_wrapper
    images = [name for name in IMAGES if name not in EXTRA_IMAGES or name in extra_images]
    for tree in dict.fromkeys(tree for name in images for tree in trees_of(name)):
        yield guest_tree_part(tree).is_current, lambda tree=tree: _unpack(
            guest_tree_part(tree), RELEASE, *_GUEST_TREES[tree])
    for name in images:
        yield image_part(name).is_current, lambda name=name: _build_image(name)
    yield vulkan_part().is_current, lambda: _unpack(
        vulkan_part(), RELEASE, VULKAN_PACKAGES, ["libc6"], _check_registry)
    yield drivers_part().is_current, lambda: _unpack(
        drivers_part(), drivers_release(), DRIVERS_PACKAGES, DRIVERS_PRETENDED, _name_drivers)
    yield gl_part().is_current, lambda: _unpack(
        gl_part(), drivers_release(), GL_PACKAGES, GL_PRETENDED)
    if "newer-driver" in extra_parts:
        yield newer_driver_part().is_current, lambda: _unpack(
            newer_driver_part(), BACKPORTS, NEWER_DRIVER_PACKAGES, finish=_finish_newer_driver)
    if "piglit" in extra_parts:
        yield piglit_part().is_current, lambda: _unpack(
            piglit_part(), drivers_release(), PIGLIT_PACKAGES, PIGLIT_PRETENDED,
            without=PIGLIT_WITHOUT)


def paths():
    """What other programs may ask for by name."""
    return {
        "cache": cache_root(),
        "qemu": qemu_wrapper(),
        "guest-tree": guest_tree_part().path / "tree",
        "vulkan-registry": vulkan_part().path / "tree" / VULKAN_REGISTRY,
        "vulkan-headers": vulkan_part().path / "tree" / "usr/include",
        # A program finds a driver by VK_DRIVER_FILES, and the driver its libraries by LD_LIBRARY_PATH.
        "driver-libraries": drivers_part().path / "tree" / LIBRARIES,
        **{f"driver-{name}": drivers_part().path / _driver_file(name) for name in DRIVERS},
        "gl-tree": gl_part().path / "tree",
        "piglit-tree": piglit_part().path / "tree",
        "newer-driver-start": newer_driver_part().path / NEWER_DRIVER_START,
        **{f"newer-driver-{name}": newer_driver_part().path / _driver_file(name)
           for name in NEWER_DRIVERS},
        **{f"initramfs-{name}": image_part(name).path / "initramfs" for name in IMAGES},
    }
