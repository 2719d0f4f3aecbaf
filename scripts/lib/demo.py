# SPDX-License-Identifier: Apache-2.0
"""The main job: a Debian guest in QEMU draws its desktop on our device, which writes the picture;
or runs a Vulkan program on it."""

import argparse
import pathlib
import re
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "guest")]
# pylint: disable=wrong-import-position
import build
import vulkan_demo
import vulkan_guest
from guest_programs import build_preloads
from kvm import kvm_is_usable
from lab import Device, Door, Guest, LabError
from report import Failure, say

OUTPUT = build.REPOSITORY / "out"
SIZE = (1280, 800)  # pixels
KERNEL_LINES = r"\[drm\] (pci:|features:|Host memory|number of)|cap set \d+"
BOOT_SECONDS = 120
DESKTOP_SECONDS = 120


class Clock:
    """Says what begins, with the seconds since the start."""

    def __init__(self):
        self._started = time.monotonic()

    def __call__(self, text):
        say(f"demo: [{time.monotonic() - self._started:5.1f} s] {text}")


def check_picture(path):
    """A blank or a wrong picture must not pass for a desktop."""
    from PIL import Image  # installed by setup, so not at the top
    with Image.open(path) as image:
        if image.size != SIZE:
            raise LabError(f"the picture has {image.size} pixels, expected are {SIZE}")
        colours = image.convert("RGB").getcolors(maxcolors=SIZE[0] * SIZE[1])
    most = max(count for count, _ in colours) / (SIZE[0] * SIZE[1])
    if len(colours) < 32 or most > 0.98:
        raise LabError(f"the picture shows no desktop: {len(colours)} colours, one of them on "
                       f"{most:.1%} of it")
    return len(colours)


def show_kernel(guest, clock):
    guest.expect_agent(BOOT_SECONDS)
    clock("the guest is up; its kernel says:")
    for line in guest.serial().splitlines():
        if re.search(KERNEL_LINES, line):
            print(line, flush=True)
    features = guest.check("cat /sys/kernel/debug/dri/0/virtio-gpu-features")
    print("\n".join(f"  {line}" for line in features.splitlines()), flush=True)


class Desktop:
    """The demo without a word: weston, a terminal and clients."""

    name = "demo"
    image = "desktop"
    hostmem = "256M"
    options = ("--gpu", "none")

    @staticmethod
    def environment():
        return {}

    @staticmethod
    def files(_folder):
        return {}

    @staticmethod
    def run(guest, take_picture, picture, clock):
        show_kernel(guest, clock)
        clock("starting weston, a terminal and clients")
        guest.check("sh /swede/desktop.sh", DESKTOP_SECONDS)
        clock("the clients have drawn; taking the picture")
        take_picture()
        colours = check_picture(picture)
        clock(f"done: the guest's desktop, {SIZE[0]}x{SIZE[1]}, {colours} colours")


class Vulkan:
    """The demo's word `vulkan`: vulkaninfo, and vkcube on weston."""

    name = "demo-vulkan"
    image = "vulkan-lavapipe"
    hostmem = "1G"
    options = ()

    @staticmethod
    def environment():
        return vulkan_guest.host_environment()

    @staticmethod
    def files(folder):
        return build_preloads(folder)

    @staticmethod
    def run(guest, take_picture, picture, clock):
        show_kernel(guest, clock)
        vulkan_demo.run(guest, take_picture, picture, clock)


def demo(job, door):
    clock = Clock()
    logs, picture = OUTPUT / job.name, OUTPUT / f"{job.name}.png"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    picture.unlink(missing_ok=True)
    if door is not Door.QEMU_OWN:
        build.build(build.RELEASE, "src/swede/swede")
    clock("looking whether KVM works here")
    clock("KVM works" if kvm_is_usable() else "KVM is not usable, QEMU emulates the processor")
    if door is Door.QEMU_OWN:
        clock("booting a Debian guest on QEMU's own virtio-gpu-pci")
        with Guest(door, None, logs, image=job.image, agent=True) as guest:
            job.run(guest, lambda: guest.screendump(picture), picture, clock)
    else:
        clock(f"starting the device ({door.value})")
        scanouts = logs / "scanouts"
        scanouts.mkdir()
        options = ["--display", f"png:{scanouts}", "--outputs", f"{SIZE[0]}x{SIZE[1]}",
                   *job.options]
        if door is not Door.VHOST_USER_GPU:  # through which QEMU passes no window
            options += ["--hostmem", job.hostmem]
        program = build.RELEASE.folder / "src" / "swede" / "swede"
        with Device(door, logs, program=program, arguments=options,
                    environment=job.environment()) as device:
            clock("booting a Debian guest on it")
            with Guest(door, device.socket_path, logs, image=job.image, files=job.files(logs),
                       agent=True) as guest:
                job.run(guest, lambda: device.control("screenshot", str(picture)), picture, clock)
    print(picture)


def main():
    jobs = {"vulkan": Vulkan}
    parser = argparse.ArgumentParser(
        prog="demo", description="Boots a Debian guest in QEMU on our virtio-gpu device, starts "
        "weston with a terminal and clients, and leaves the picture that the device made of it in "
        "out/demo.png. The word `vulkan` runs a Vulkan program in the guest instead, on a driver of "
        "this machine, and leaves out/demo-vulkan.png. Logs are beside the picture.")
    parser.add_argument("job", nargs="?", choices=jobs, help="what the guest does; default: its "
                        "desktop")
    doors = {door.value: door for door in Door}
    parser.add_argument("--transport", choices=doors, default=Door.VFIO_USER.value,
                        help="how QEMU reaches the device (default: %(default)s); "
                        "virtio-gpu-pci is QEMU's own device, to compare with")
    arguments = parser.parse_args()
    job, door = jobs.get(arguments.job, Desktop), doors[arguments.transport]
    if job is Vulkan and door not in (Door.VFIO_USER, Door.VHOST_USER):
        parser.error(f"argument --transport: Vulkan passes through vfio-user and vhost-user only, "
                     f"not through {door.value}")
    try:
        demo(job, door)
        return 0
    except (Failure, LabError, OSError) as failure:
        say(f"demo: failed: {failure}\ndemo: logs are in {OUTPUT / job.name}")
        return 1
    except KeyboardInterrupt:
        say("demo: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
