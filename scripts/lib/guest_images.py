# SPDX-License-Identifier: Apache-2.0
"""What is in the guest images. The scripts that run inside are in tests/guest/image."""

import pathlib

from cache import digest
from initramfs import CpioWriter, TreePacker, write_compressed

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "guest" / "image"
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"

_MIN = {
    "modules": ["virtio-gpu"],
    "files": ["/usr/bin/modetest"],
}
_DESKTOP = {
    "modules": _MIN["modules"] + ["evdev", "virtio_input"],
    "files": _MIN["files"] + [
        "/usr/bin/weston", "/usr/bin/weston-terminal", "/usr/bin/weston-simple-shm",
        "/usr/bin/weston-flower", "/usr/bin/weston-clickdot",
        "/usr/bin/weston-eventdemo", "/usr/bin/weston-simple-damage", "/usr/bin/weston-debug",
        "/usr/libexec/weston-desktop-shell", "/usr/libexec/weston-keyboard",
        "/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm",
        # opened by name at run time
        f"{_LIBRARIES}/libweston-14/drm-backend.so", f"{_LIBRARIES}/weston/desktop-shell.so",
        "/usr/share/weston", "/usr/share/X11/xkb",
        "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/etc/fonts/fonts.conf",
    ],
}
# For Vulkan programs on the gfxstream driver. `trees` are searched behind the guest tree.
_VULKAN = {
    "modules": _MIN["modules"],
    "files": [
        "/usr/bin/vulkaninfo", "/usr/bin/vkcube",
        "/usr/bin/weston", "/usr/bin/weston-debug", "/usr/libexec/weston-desktop-shell",
        "/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm",
        # opened by name at run time
        f"{_LIBRARIES}/libvulkan.so.1", f"{_LIBRARIES}/libvulkan_gfxstream.so",
        "/usr/share/vulkan/icd.d/gfxstream_vk_icd.json",
        f"{_LIBRARIES}/libweston-14/drm-backend.so", f"{_LIBRARIES}/weston/desktop-shell.so",
        "/usr/share/X11/xkb",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/etc/fonts/fonts.conf",
    ],
    "trees": ["guest-vulkan"],
}
# The same with GL: Zink, which draws by Vulkan, for a compositor that takes dma-bufs from clients. All
# of Mesa's GL is one library that needs LLVM, though Zink does not. LLVM is most of this image, so it
# is compressed less: a third of the time for a tenth more.
_VULKAN_GL = {
    **_VULKAN,
    "compression": 5,
    "trees": ["guest-vulkan", "guest-llvm"],
    "files": _VULKAN["files"] + [
        # opened by name at run time
        f"{_LIBRARIES}/libweston-14/gl-renderer.so", f"{_LIBRARIES}/libEGL_mesa.so.0",
        "/usr/share/glvnd/egl_vendor.d", f"{_LIBRARIES}/gbm/dri_gbm.so",
    ],
}
# The same with a driver that renders in the guest, to compare with; made only when asked for.
_VULKAN_LAVAPIPE = {
    **_VULKAN_GL,
    "files": _VULKAN_GL["files"] + [f"{_LIBRARIES}/libvulkan_lvp.so",
                                    "/usr/share/vulkan/icd.d/lvp_icd.json"],
}
IMAGES = {"min": _MIN, "desktop": _DESKTOP, "vulkan": _VULKAN, "vulkan-gl": _VULKAN_GL,
          "vulkan-lavapipe": _VULKAN_LAVAPIPE}
EXTRA_IMAGES = ["vulkan-lavapipe"]  # which setup makes only when asked for


def _guest_scripts():
    return sorted(path for path in SCRIPTS.iterdir() if path.suffix != ".md")


def trees_of(name):
    """The parts of the cache that an image is made from, in the order in which they are searched."""
    return ["guest", *IMAGES[name].get("trees", [])]


def image_stamp(name, tree_stamps):
    here = pathlib.Path(__file__)
    return digest(tree_stamps, IMAGES[name], here.with_name("initramfs.py"), here,
                  *[item for path in _guest_scripts() for item in (path.name, path)])


def build_image(name, trees, path):
    """Writes the image and returns its size in bytes."""
    archive = CpioWriter()
    packer = TreePacker(trees[0], archive, trees[1:])
    for folder in ("proc", "sys", "dev", "run", "tmp", "root", "etc", "var", "swede"):
        archive.folder(folder)
    archive.link("var/run", "/run")
    archive.link("var/tmp", "/tmp")
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\ntty:x:5:\ninput:x:101:\nvideo:x:44:\n")
    for file in IMAGES[name]["files"]:
        packer.add(file)
    packer.add_modules(IMAGES[name]["modules"])
    packer.add_busybox()
    for script in _guest_scripts():
        archive.file("init" if script.name == "init" else f"swede/{script.name}",
                     script.read_bytes(), 0o755)
    write_compressed(archive, path, IMAGES[name].get("compression", 10))
    return path.stat().st_size
