# SPDX-License-Identifier: Apache-2.0
"""Guests for the tests: one boot per door and kind of device, shared by the tests that leave the
guest as it was; tests that break it get their own."""

import json
import os
import pathlib
import re
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent),
                str(pathlib.Path(__file__).parents[1] / "vulkan")]
# pylint: disable=wrong-import-position
import lab
import lab_programs
import vulkan_guest
from guest_programs import PROGRAMS, build_guest_programs, build_preloads, with_libraries
from lab import Device, Door, Guest

# Debian builds QEMU without its own device for libraries like ours, so it takes a QEMU of one's own to
# test that, and without one there is nothing to skip.
QEMU_RUTABAGA = os.environ.get("SWEDE_QEMU_RUTABAGA")
collect_ignore = [] if QEMU_RUTABAGA else ["test_qemu_rutabaga.py"]

OUTPUTS = "1280x800,1024x768"
VULKAN_PROGRAMS = ["vk_compute", "vk_memory", "vk_triangle", "vk_threads"]
FULL_DOORS = [Door.VFIO_USER, Door.VHOST_USER]
ALL_DOORS = FULL_DOORS + [Door.VHOST_USER_GPU]


def door_id(door):
    return door.value


@pytest.fixture(scope="session")
def guest_programs(tmp_path_factory):
    """The C programs of programs/, linked so that they run in any guest: {guest path: file}."""
    return build_guest_programs(sorted(PROGRAMS.glob("*.c")),
                                tmp_path_factory.mktemp("programs"))


class Screen:
    """A guest, and what it shows."""

    guest: Guest

    def show(self, arguments):
        """Starts swede_kms in the guest; returns when its picture is handed over."""
        self.guest.check("killall -q swede_kms modetest; true")
        return self.guest.check(
            f"rm -f /tmp/kms; touch /tmp/kms; swede_kms {arguments} >> /tmp/kms 2>&1 & n=0; until grep -q SWEDE /tmp/kms; do "
            "n=$((n+1)); [ $n -gt 600 ] && break; sleep 0.05; done; cat /tmp/kms; "
            "grep -q ready=1 /tmp/kms")

    def blank(self):
        self.guest.check("killall -q swede_kms modetest; true")


class Machine(Screen):
    """A device process and the guest on it."""

    def __init__(self, door, folder, programs, *, program=None, arguments=(), environment=None,
                 hostmem="256M", append="", image="min", memory="512M", gpu="none", outputs=OUTPUTS):
        self.door = door
        # A console does not depend on what GPU this machine has.
        options = [*arguments] if gpu is None else [*arguments, "--gpu", gpu]
        if door is not Door.VHOST_USER_GPU:
            options += ["--hostmem", hostmem]
        self.device = Device(door, folder / "device", program=program, environment=environment,
                             arguments=[*options, "--display", "none", "--outputs", outputs])
        self.device.start()
        self.census_before = self.device.census()
        self.guest = Guest(door, self.device.socket_path, folder / "guest", agent=True,
                           image=image, files=programs, append=append, memory=memory)
        self.folder = folder
        self._pictures = 0

    def start(self):
        self.guest.start()
        return self

    def stop(self):
        self.guest.stop()
        self.device.stop()

    def info(self):
        return json.loads(self.device.control("info"))

    def screenshot(self):
        self._pictures += 1
        path = self.folder / f"shot-{self._pictures}.png"
        self.device.control("screenshot", str(path))
        return path


def make_machine(request, door, tmp_path_factory, programs, **options):
    folder = tmp_path_factory.mktemp(f"{door.value}")
    machine = Machine(door, folder, programs, **options)
    try:
        machine.start()
    except BaseException:
        machine.stop()
        raise
    request.addfinalizer(machine.stop)
    return machine


@pytest.fixture(scope="module", params=ALL_DOORS, ids=door_id)
def console(request, tmp_path_factory, guest_programs):
    """A guest on the plain device, which has no renderer; on every door."""
    return make_machine(request, request.param, tmp_path_factory, guest_programs)


def renderer_test_program():
    return lab.build_folder() / "tests" / "programs" / "swede-test-device"


@pytest.fixture(scope="module", params=FULL_DOORS, ids=door_id)
def rendered(request, tmp_path_factory, guest_programs):
    """A guest on the test device, whose test renderer runs in a process of its own; on full doors."""
    return make_machine(request, request.param, tmp_path_factory, guest_programs,
                        program=renderer_test_program(),
                        arguments=["--renderer", "process", "--request-deadline", "3000",
                                   "--fence-limit", "3000"])


@pytest.fixture(scope="module", params=FULL_DOORS, ids=door_id)
def rendered_in_process(request, tmp_path_factory, guest_programs):
    return make_machine(request, request.param, tmp_path_factory, guest_programs,
                        program=renderer_test_program(), arguments=["--renderer", "in-process"])


@pytest.fixture(scope="module", params=FULL_DOORS, ids=door_id)
def vulkan(request, tmp_path_factory, guest_programs):
    """A guest with Mesa's gfxstream driver, on a device that renders with lavapipe."""
    programs = {f"/usr/bin/{name}": lab_programs.program(name) for name in VULKAN_PROGRAMS}
    return make_machine(request, request.param, tmp_path_factory, guest_programs | programs,
                        environment=vulkan_guest.lavapipe_environment(), image="vulkan",
                        hostmem="1G", memory="1G", gpu=None)


@pytest.fixture(scope="module", params=FULL_DOORS, ids=door_id)
def vulkan_gl(request, tmp_path_factory):
    """The same with GL in the guest, by Zink on that driver. The rows of a picture of this width are
    longer than their pixels."""
    kernel_test = lab.build_folder() / "tests" / "unit" / "cross_domain" / "cross_domain_kernel_test"
    return make_machine(request, request.param, tmp_path_factory,
                        build_preloads(tmp_path_factory.mktemp("preloads"))
                        | with_libraries(kernel_test, ["libfmt", "libspdlog"]),
                        environment=vulkan_guest.lavapipe_environment(), image="vulkan-gl",
                        hostmem="1G", memory="1G", gpu=None, outputs="1366x768")


def driver_features(guest):
    """The features line that the driver logged: {'virgl': True, ...}."""
    log = guest.check("dmesg | grep features:")
    return {name: sign == "+" for sign, name in re.findall(r"([+-])(\w+)", log)}
