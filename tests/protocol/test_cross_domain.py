# SPDX-License-Identifier: Apache-2.0
"""cross-domain through the door vhost-user, against a compositor's socket of the test's own: the list of
cases, and what the door adds to the channel (tests/unit/cross_domain has the rest)."""

import fcntl
import os
import pathlib
import shutil
import socket
import struct
import tempfile
import time

import pytest

import vhost_user_fixtures
from conftest import wait_until
from cross_domain_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import
from cross_domain_cases import memory_file
from cross_domain_client import WAYLAND
from cross_domain_doors import MAP_BLOB, OK_MAP_INFO, ROOM, UNMAP_BLOB, VhostUserDoor
from vhost_user_client import BACKEND_SHMEM_MAP, BACKEND_SHMEM_UNMAP
from vhost_user_fixtures import serves_next_client  # pylint: disable=unused-import
from virtio_gpu_driver import GET_CAPSET_INFO, Gpu, header

TRANSPORT = "vhost-user"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"
DEVICE_ARGUMENTS = (*ROOM, "--display", "none", "--wayland-socket-path", str(SOCKET))


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(FOLDER)


@pytest.fixture
def front_end(device):
    with vhost_user_fixtures.FrontEnd(device.socket_path) as connected:
        connected.give_backend_channel()
        yield connected.start(size=1024)


@pytest.fixture
def door(front_end):  # pylint: disable=redefined-outer-name
    return VhostUserDoor(front_end)


def test_the_capset_is_offered(front_end):
    kind, response = Gpu(front_end).send(GET_CAPSET_INFO, struct.pack("<II", 0, 0), response_size=40)
    assert kind == 0x1102
    assert struct.unpack_from("<III", response, 24) == (5, 0, 16)
    kind, response = Gpu(front_end).send(0x109, struct.pack("<II", 5, 0), response_size=40)
    assert kind == 0x1103
    assert struct.unpack_from("<4I", response, 24) == (1, 1 << WAYLAND, 0, 0)


def test_a_poll_waits_while_the_console_goes_on(front_end, guest):
    asked = guest.ask()
    gpu = Gpu(front_end)
    for resource in range(10):
        gpu.create_2d(5000 + resource, 16, 16)
    assert not guest.is_reached(asked), "nothing was said yet"
    guest.compositor.sendall(b"now")
    guest.wait(asked)
    assert guest.message().data == b"now"


def test_nothing_comes_while_the_rings_are_stopped(front_end, guest):
    """QEMU stops them when a guest is paused, and when it is booted again: its memory is another
    system's then."""
    asked = guest.ask()
    bases = [front_end.stop_ring(index) for index in range(2)]
    before = bytes(front_end.ram.memory)
    guest.compositor.sendall(b"now")
    time.sleep(0.2)  # for what must not come
    assert bytes(front_end.ram.memory) == before
    for index, (queue, base) in enumerate(zip(front_end.queues, bases)):
        front_end.start_ring(index, queue, base)
    guest.wait(asked)
    assert guest.message().data == b"now"


def test_a_keymap_is_mapped_for_reading(front_end, guest):
    with memory_file(b"keymap".ljust(5000, b"."), fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE) as keymap:
        socket.send_fds(guest.compositor, [b"keymap"], [keymap])
    (identifier, _, size), = guest.receive().identifiers
    resource = guest.create_blob(identifier, size)
    at = front_end.offer_command(header(MAP_BLOB) + struct.pack("<IIQ", resource, 0, 0), 32, slot=3)
    request, _, payload, fds = front_end.backend_request()
    assert request == BACKEND_SHMEM_MAP and len(fds) == 1
    os.close(fds[0])
    _, fd_offset, offset, length, flags = struct.unpack("<B7xQQQQ", payload)
    assert (fd_offset, offset, length) == (0, 0, 8192)
    assert flags & 1 == 0, "the front end must not map it for writing: it could not"
    front_end.backend_reply(BACKEND_SHMEM_MAP)
    wait_until(lambda: front_end.ram.get(at, 4) != bytes(4), "the map")
    assert struct.unpack("<I", front_end.ram.get(at, 4))[0] == OK_MAP_INFO
    assert struct.unpack("<I", front_end.ram.get(at + 24, 4))[0] == 1, "access bits are no part of virtio's"
    at = front_end.offer_command(header(UNMAP_BLOB) + struct.pack("<II", resource, 0), 24, slot=4)
    assert front_end.backend_request()[0] == BACKEND_SHMEM_UNMAP
    front_end.backend_reply(BACKEND_SHMEM_UNMAP)
    wait_until(lambda: front_end.ram.get(at, 4) != bytes(4), "the unmap")
