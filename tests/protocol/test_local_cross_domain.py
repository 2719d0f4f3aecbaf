# SPDX-License-Identifier: Apache-2.0
"""cross-domain on the local socket, on a compositor that is the test's: what the door adds to the contexts
that tests/unit/cross_domain looks at. Another renderer is beside it."""

import fcntl
import mmap
import os
import pathlib
import shutil
import socket
import struct
import tempfile

import pytest

from cross_domain_client import BLOB, PAGE, WAYLAND, command
from local_client import BLOB_HOST3D_GUEST, CREATE_BLOB, MAY_READ, MAY_WRITE, SECONDS, LocalClient, Refused
from local_client import CAPSET as TEST_CAPSET
from local_cross_domain import LocalContext
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import
from virtio_gpu_driver import OK_NODATA

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"
DEVICE_ARGUMENTS = ["--wayland-socket-path", str(SOCKET), "--max-files", "40"]


@pytest.fixture(scope="module")
def listener():
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(SECONDS)
        made.bind(str(SOCKET))
        made.listen()
        yield made
    shutil.rmtree(FOLDER)


class Pair:
    """A program's context, and the compositor's end of its connection."""

    def __init__(self, device, listening):
        self.program = LocalContext(device.socket_path)
        assert self.program.init() == OK_NODATA
        self.compositor, _ = listening.accept()
        self.compositor.settimeout(SECONDS)

    def close(self):
        self.program.close()
        self.compositor.close()

    def give(self, data, fds=()):
        """What the compositor says reaches the program."""
        socket.send_fds(self.compositor, [data], list(fds))
        message = self.program.receive()
        assert message.data == data
        return message.identifiers

    def take(self):
        return socket.recv_fds(self.compositor, PAGE, 4)[:2]


@pytest.fixture
def pair(device, listener):  # pylint: disable=redefined-outer-name
    made = Pair(device, listener)
    yield made
    made.close()


def test_both_capsets_are_offered(device):
    with LocalClient(device.socket_path) as client:
        assert set(client.capsets) == {TEST_CAPSET, 5}
        assert client.capsets[5] == struct.pack("<IIII", 1, 1 << WAYLAND, 0, 0)
        assert client.params[7] == 1 << TEST_CAPSET | 1 << 5


def test_bytes_go_both_ways(pair):
    for _ in range(50):
        assert pair.program.send(b"to the compositor") == OK_NODATA
        assert pair.take()[0] == b"to the compositor"
        pair.give(b"to the program")


def test_an_image_is_one_memory_for_both(pair):
    _, size, blob = pair.program.image(100, 100)
    resource = pair.program.create_blob(blob, size)
    memory, access, fd = pair.program.map(resource)
    os.close(fd)
    assert access == MAY_READ | MAY_WRITE
    memory[:5] = b"image"
    assert pair.program.send(b"pool", [(resource, BLOB)]) == OK_NODATA
    _, (file,) = pair.take()
    with mmap.mmap(file, size) as theirs:
        assert theirs[:5] == b"image"
        theirs[:5] = b"drawn"
        assert memory[:5] == b"drawn"
    os.close(file)


def keymap(seals, access=os.O_RDWR, size=5000):
    fd = os.memfd_create("keymap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, b"keymap".ljust(size, b"."))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    if access == os.O_RDWR:
        return fd
    again = os.open(f"/proc/self/fd/{fd}", access)
    os.close(fd)
    return again


@pytest.mark.parametrize("seals, access", [
    (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE, os.O_RDWR),
    (fcntl.F_SEAL_SHRINK, os.O_RDONLY),
    (0, os.O_RDWR),  # it may shrink: what comes is a copy
])
def test_memory_to_read_cannot_be_written(pair, seals, access):
    fd = keymap(seals, access)
    (blob, kind, size), = pair.give(b"keymap", [fd])
    os.close(fd)
    assert (kind, size) == (BLOB, 5000)
    resource = pair.program.create_blob(blob, size)
    memory, allowed, file = pair.program.map(resource)
    assert allowed == MAY_READ and memory[:6] == b"keymap" and len(memory) >= 5000
    exported = pair.program.client.export(resource)
    for given in (file, exported):
        with pytest.raises(OSError):
            mmap.mmap(given, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError):
            os.pwrite(given, b"x", 0)
        with pytest.raises(OSError):
            os.ftruncate(given, 0)
        os.close(given)
    assert memory[:6] == b"keymap"


def test_memory_that_may_be_written_is(pair):
    fd = keymap(fcntl.F_SEAL_SHRINK, size=2 * PAGE)  # what ends inside a page is copied
    (blob, _, size), = pair.give(b"shared", [fd])
    memory, allowed, file = pair.program.map(pair.program.create_blob(blob, size))
    os.close(file)
    assert allowed == MAY_READ | MAY_WRITE
    memory[:6] = b"writes"
    assert os.pread(fd, 6, 0) == b"writes"
    os.close(fd)


def test_a_blob_comes_back_by_prime(pair):
    _, size, blob = pair.program.image(64, 64)
    resource = pair.program.create_blob(blob, size)
    fd = pair.program.client.export(resource)
    assert pair.program.client.import_fd(fd)["resource"] == resource
    os.close(fd)


def test_a_picture_of_another_renderer_reaches_the_compositor(device, pair):
    """As a Wayland program with Vulkan has it: drawn in one open of the node, shown by another."""
    with LocalClient(device.socket_path) as drawing:
        drawing.context_init()
        picture = drawing.create_3d(width=64, height=64)
        drawing.echo(picture, b"pixels  ", 256)
        fd = drawing.export(picture)
        imported = pair.program.client.import_fd(fd)["resource"]
        os.close(fd)
        assert pair.program.send(b"pool", [(imported, BLOB)]) == OK_NODATA
        _, (file,) = pair.take()
        drawing.echo(picture, b"later   ", 0)
        with mmap.mmap(file, 64 * 64 * 4) as memory:
            assert memory[256:262] == b"pixels" and memory[:5] == b"later"
        os.close(file)
        pair.program.client.close_resource(imported)
        assert pair.program.send(b"pool", [(imported, BLOB)]) != OK_NODATA


def test_both_kinds_of_context_at_once(device, pair):
    with LocalClient(device.socket_path) as other:
        other.context_init()
        resource = other.create_blob(4096)
        for _ in range(10):
            other.echo(resource, b"renderer")
            pair.give(b"compositor")
        assert other.map(resource)[:8] == b"renderer"


def test_the_end_of_the_compositor_is_told(pair):
    pair.program.ask()
    pair.compositor.close()
    pair.program.wait_for_event()
    assert pair.program.message().is_end
    pair.program.ask()
    pair.program.wait_for_event()
    assert pair.program.message().is_end


def test_no_compositor_is_the_end_as_well(device, listener):  # pylint: disable=redefined-outer-name,unused-argument
    SOCKET.rename(FOLDER / "away")
    try:
        program = LocalContext(device.socket_path)
        assert program.init() != OK_NODATA
        program.ask()
        program.wait_for_event()
        assert program.message().is_end
        program.close()
    finally:
        (FOLDER / "away").rename(SOCKET)


# --- what is refused ---

def test_guest_memory_cannot_be_sent(pair):
    assert pair.program.send(b"pool", [(pair.program.channel, BLOB)]) != OK_NODATA
    assert pair.program.send(b"fine") == OK_NODATA
    assert pair.take()[0] == b"fine"


@pytest.mark.parametrize("resource", [0, 77, 0xffffffff])
def test_an_unknown_resource_cannot_be_sent(pair, resource):
    assert pair.program.send(b"pool", [(resource, BLOB)]) != OK_NODATA


@pytest.mark.parametrize("data", [
    b"\1", bytes(8), b"\4\0\0\0\0\0\0\0", struct.pack("<BBHI", 1, 0, 0, 0), b"\xff" * 4096, command(99, b"x" * 8)])
def test_commands_that_are_none(pair, data):
    assert pair.program.submit(data) != OK_NODATA
    pair.give(b"it goes on")


@pytest.mark.parametrize("blob, size", [(0, PAGE), (77, PAGE), (2**40, PAGE), (2**64 - 1, PAGE)])
def test_a_blob_that_there_is_not(pair, blob, size):
    with pytest.raises(Refused):
        pair.program.create_blob(blob, size)
    pair.give(b"it goes on")


def test_an_image_of_another_size(pair):
    _, size, blob = pair.program.image(64, 64)
    for wrong in (0, 1, size - 1, size + 1, 2**63):
        with pytest.raises(Refused):
            pair.program.create_blob(blob, wrong)
    pair.program.create_blob(blob, size)


def test_more_files_than_the_limit(pair):
    """The limit holds for what the program has of the compositor; it goes on below it."""
    _, size, blob = pair.program.image(1, 1)
    made = []
    with pytest.raises(Refused):
        for _ in range(100):
            made.append(pair.program.create_blob(blob, size))
    assert len(made) < 40
    for resource in made:
        pair.program.client.close_resource(resource)
    pair.program.create_blob(blob, size)


def test_other_kinds_of_blob(pair):
    client = pair.program.client
    for memory in (BLOB_HOST3D_GUEST, 4, 0):
        with pytest.raises(Refused):
            client.ask(CREATE_BLOB, client.blob_body(PAGE, memory, 3, 2))
    pair.give(b"it goes on")


def test_a_program_that_leaves_in_the_middle(device, listener):  # pylint: disable=redefined-outer-name
    for _ in range(5):
        made = Pair(device, listener)
        _, size, blob = made.program.image(64, 64)
        resource = made.program.create_blob(blob, size)
        made.program.send(b"pool", [(resource, BLOB)])
        made.program.ask()
        made.program.close()
        made.compositor.settimeout(SECONDS)
        while made.compositor.recv(PAGE):
            pass
        made.compositor.close()
