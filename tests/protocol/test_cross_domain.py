# SPDX-License-Identifier: Apache-2.0
"""cross-domain through the door vhost-user, against a compositor's socket of the test's own: what the
door adds to the channel (tests/unit/cross_domain has the rest), and what is left afterwards."""

import mmap
import os
import pathlib
import shutil
import socket
import struct
import tempfile

import pytest

import vhost_user_fixtures
from conftest import wait_until
from cross_domain_client import (
    BLOB, CTX_DESTROY, READ, READ_PIPE, WAYLAND, WRITE_PIPE, CrossDomain)
from vhost_user_client import BACKEND_SHMEM_MAP, BACKEND_SHMEM_UNMAP
from vhost_user_fixtures import serves_next_client  # pylint: disable=unused-import
from virtio_gpu_driver import GET_CAPSET_INFO, OK_NODATA, Gpu, header

TRANSPORT = "vhost-user"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"
DEVICE_ARGUMENTS = (*vhost_user_fixtures.DEVICE_ARGUMENTS, "--wayland-socket-path", str(SOCKET))
MAP_BLOB, UNMAP_BLOB, OK_MAP_INFO = 0x208, 0x209, 0x1106
TIMEOUT_SECONDS = 20


class Compositor:
    """Listens where the device looks for one."""

    def __init__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(TIMEOUT_SECONDS)
        SOCKET.unlink(missing_ok=True)
        self.listener.bind(str(SOCKET))
        self.listener.listen()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(TIMEOUT_SECONDS)
        return connection

    def close(self):
        self.listener.close()
        SOCKET.unlink(missing_ok=True)


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(FOLDER)


@pytest.fixture
def compositor():
    made = Compositor()
    yield made
    made.close()


@pytest.fixture
def front_end(device):
    with vhost_user_fixtures.FrontEnd(device.socket_path) as connected:
        connected.give_backend_channel()
        yield connected.start(size=1024)


@pytest.fixture
def guest(front_end, compositor):  # pylint: disable=redefined-outer-name
    """A connected context, and the compositor's end."""
    context = CrossDomain(Gpu(front_end), front_end.ram)
    assert context.init() == OK_NODATA
    with compositor.accept() as connection:
        context.compositor = connection
        yield context


def test_the_capset_is_offered(front_end):
    kind, response = Gpu(front_end).send(GET_CAPSET_INFO, struct.pack("<II", 0, 0), response_size=40)
    assert kind == 0x1102
    assert struct.unpack_from("<III", response, 24) == (5, 0, 16)
    kind, response = Gpu(front_end).send(0x109, struct.pack("<II", 5, 0), response_size=40)
    assert kind == 0x1103
    assert struct.unpack_from("<4I", response, 24) == (1, 1 << WAYLAND, 0, 0)


def test_bytes_go_both_ways(guest):
    assert guest.send(b"hello") == OK_NODATA
    assert guest.compositor.recv(100) == b"hello"
    guest.compositor.sendall(b"welcome")
    assert guest.receive().data == b"welcome"


def test_a_poll_waits_while_the_console_goes_on(front_end, guest):
    at = front_end.offer_command(guest.poll_request(), 24, slot=3)
    gpu = Gpu(front_end)
    for resource in range(10):
        gpu.create_2d(1000 + resource, 16, 16)
    assert front_end.ram.get(at, 4) == bytes(4), "nothing was said yet"
    guest.compositor.sendall(b"now")
    wait_until(lambda: front_end.ram.get(at, 4) != bytes(4), "the fence of the POLL")
    assert guest.message().data == b"now"


def test_a_keymap_is_mapped_for_reading(front_end, guest):
    contents = b"keymap".ljust(5000, b".")
    keymap = os.memfd_create("keymap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(keymap, contents)
        import fcntl  # pylint: disable=import-outside-toplevel
        fcntl.fcntl(keymap, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
        socket.send_fds(guest.compositor, [b"keymap"], [keymap])
    finally:
        os.close(keymap)
    (identifier, kind, size), = guest.receive().identifiers
    assert (kind, size) == (BLOB, 5000)
    resource = guest.create_blob(identifier, size)
    at = front_end.offer_command(header(MAP_BLOB) + struct.pack("<IIQ", resource, 0, 0), 32, slot=3)
    request, _, payload, fds = front_end.backend_request()
    assert request == BACKEND_SHMEM_MAP and len(fds) == 1
    _, fd_offset, offset, length, flags = struct.unpack("<B7xQQQQ", payload)
    assert (fd_offset, offset, length) == (0, 0, 8192)
    assert flags & 1 == 0, "the front end must not map it for writing: it could not"
    with mmap.mmap(fds[0], 5000, prot=mmap.PROT_READ) as mapping:
        assert mapping[:] == contents
    os.close(fds[0])
    front_end.backend_reply(BACKEND_SHMEM_MAP)
    wait_until(lambda: front_end.ram.get(at, 4) != bytes(4), "the map")
    assert struct.unpack("<I", front_end.ram.get(at, 4))[0] == OK_MAP_INFO
    assert struct.unpack("<I", front_end.ram.get(at + 24, 4))[0] == 1, "access bits are no part of virtio's"
    at = front_end.offer_command(header(UNMAP_BLOB) + struct.pack("<II", resource, 0), 24, slot=4)
    assert front_end.backend_request()[0] == BACKEND_SHMEM_UNMAP
    front_end.backend_reply(BACKEND_SHMEM_UNMAP)
    wait_until(lambda: front_end.ram.get(at, 4) != bytes(4), "the unmap")


def test_an_image_of_the_guest_reaches_the_compositor(front_end, guest):
    stride, size, blob = guest.image(320, 200, "XR24")
    assert (stride, size) == (1280, 258048)
    resource = guest.create_blob(blob, size)
    front_end.offer_command(header(MAP_BLOB) + struct.pack("<IIQ", resource, 0, 4096), 32, slot=3)
    request, _, payload, fds = front_end.backend_request()
    assert request == BACKEND_SHMEM_MAP
    assert struct.unpack("<B7xQQQQ", payload)[4] & 1 == 1
    front_end.backend_reply(BACKEND_SHMEM_MAP)
    with mmap.mmap(fds[0], size) as mapping:
        mapping[1000:1005] = b"pixel"
    os.close(fds[0])
    assert guest.send(b"create_pool", [(resource, BLOB)]) == OK_NODATA
    data, received, _, _ = socket.recv_fds(guest.compositor, 100, 4)
    assert data == b"create_pool" and len(received) == 1
    with mmap.mmap(received[0], size) as mapping:
        assert mapping[1000:1005] == b"pixel"
    os.close(received[0])


def test_a_paste_and_its_end(guest):
    assert guest.send(b"receive", [(0x80000001, READ_PIPE)]) == OK_NODATA
    _, (pipe,), _, _ = socket.recv_fds(guest.compositor, 100, 4)
    os.write(pipe, b"text")
    message = guest.receive()
    assert (message.kind, message.identifier, message.hang_up, message.data) == (READ, 0x80000001, 0, b"text")
    os.close(pipe)
    message = guest.receive()
    assert (message.kind, message.hang_up, message.data) == (READ, 1, b"")


def test_a_copy_and_its_end(guest):
    reader, writer = os.pipe()
    socket.send_fds(guest.compositor, [b"send"], [writer])
    os.close(writer)
    (identifier, kind, _), = guest.receive().identifiers
    assert kind == WRITE_PIPE
    write = struct.pack("<BBHI4I", 7, 0, 28, 0, identifier, 1, 4, 0) + b"text"
    assert guest.submit(write) == OK_NODATA
    with os.fdopen(reader, "rb") as text:
        assert text.read() == b"text"


def test_a_compositor_that_ends_and_starts_again(front_end, guest, compositor):
    guest.compositor.close()
    assert guest.receive().is_end
    assert guest.receive().is_end
    compositor.close()
    other = CrossDomain(Gpu(front_end), front_end.ram, context=2, first_resource=200)
    assert other.init() != OK_NODATA
    assert other.receive().is_end, "the guest's program hears of it"
    compositor.__init__()
    assert other.init() == OK_NODATA
    with compositor.accept() as connection:
        connection.sendall(b"again")
        assert other.receive().data == b"again"


def test_a_destroyed_context_closes_its_connection(guest):
    assert guest.gpu.status(CTX_DESTROY, b"", context=guest.context) == OK_NODATA
    assert guest.compositor.recv(1) == b""


def test_a_driver_that_goes_leaves_nothing(guest):
    """With a POLL out, a paste under way and a mapped image: the fixture counts files and threads."""
    guest.gpu.function.offer_command(guest.poll_request(), 24, slot=3)
    assert guest.send(b"receive", [(0x80000001, READ_PIPE)]) == OK_NODATA
    _, fds, _, _ = socket.recv_fds(guest.compositor, 100, 4)
    for fd in fds:
        os.close(fd)
    _, size, blob = guest.image(64, 64)
    guest.create_blob(blob, size)


def test_commands_that_are_wrong_are_answered(guest):
    for data in (b"", b"\0" * 4, b"\0" * 8, b"\4\0\7\0\0\0\0\0", b"\4\0\xff\xff\0\0\0\0", b"\x63\0\x08\0\0\0\0\0",
                 struct.pack("<BBHI", 4, 0, 352, 0) + b"\xff" * 344):
        guest.submit(data)
    assert guest.send(b"still here") == OK_NODATA
    assert guest.compositor.recv(100) == b"still here"
