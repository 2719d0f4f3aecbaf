# SPDX-License-Identifier: Apache-2.0
"""A Wayland client in a guest of the door vhost-user, on a real compositor: sway, with a seat. The tests know
nothing of the door: test_c_abi_wayland.py runs them on the C library."""

import pathlib
import subprocess
import tempfile

import numpy
import pytest

import vhost_user_fixtures
from conftest import wait_until
from cross_domain_client import BLOB, READ, READ_PIPE, WRITE_PIPE
from cross_domain_doors import ROOM, VhostUserDoor
from sway import Sway
from vhost_user_fixtures import serves_next_client  # pylint: disable=unused-import
from virtio_gpu_driver import OK_NODATA
from wayland_client import Closed, WaylandClient

TRANSPORT = "vhost-user"
# sway's name is known only once it runs: the device gets a name that leads there.
LINK = pathlib.Path(tempfile.mkdtemp(prefix="swede-link-")) / "compositor"
DEVICE_ARGUMENTS = (*ROOM, "--display", "none", "--wayland-socket-path", str(LINK))
MIB = 1 << 20
WIDTH, HEIGHT = 320, 240
TEXT = "text/plain;charset=utf-8"


class Connection:
    """cross-domain as a Wayland client's connection, and the guest's memory. `door` has channel() and
    map()."""

    def __init__(self, door, context):
        self.door = door
        self.channel = door.channel(context)
        self.next_pipe = 0x80000000
        self.pipes = {}  # what was read from each
        self.ended = set()

    def connect(self):
        assert self.channel.init() == OK_NODATA
        return WaylandClient(self).start()

    def send(self, data, files):
        assert self.channel.send(data, files) == OK_NODATA

    def receive(self):
        """READs are put aside."""
        while True:
            message = self.channel.receive()
            if message.kind != READ:
                return None if message.is_end else (message.data, message.identifiers)
            self._note(message)

    def _note(self, message):
        self.pipes[message.identifier] += message.data
        if message.hang_up:
            self.ended.add(message.identifier)

    def read_pipe(self):
        """An identifier to send for a pipe that we read."""
        self.next_pipe += 1
        self.pipes[self.next_pipe] = b""
        return self.next_pipe, READ_PIPE

    def wait_for_pipe(self, pipe):
        while pipe[0] not in self.ended:
            message = self.channel.receive()
            assert message.kind == READ, "nothing else should come here"
            self._note(message)
        return self.pipes[pipe[0]]

    def write_pipe(self, identifier, data):
        for start in range(0, len(data), 4096):
            self.channel.write(identifier, data[start:start + 4096], start + 4096 >= len(data))

    def map(self, blob, size):
        """(resource, the memory) of a blob, as a VMM and its guest have it."""
        resource = self.channel.create_blob(blob, size)
        return resource, self.door.map(self.channel, resource, size)

    def memory(self, size):
        """(identifier to send, the memory) for a wl_shm pool or the like."""
        _, allocated, blob = self.channel.image(size, 1)
        resource, mapping = self.map(blob, allocated)
        return (resource, BLOB), mapping


@pytest.fixture(scope="module")
def sway():
    made = Sway()
    LINK.parent.mkdir(exist_ok=True)
    LINK.symlink_to(made.socket)
    yield made
    made.close()
    LINK.unlink()
    LINK.parent.rmdir()


@pytest.fixture
def door(device):
    with vhost_user_fixtures.FrontEnd(device.socket_path) as front_end:
        front_end.give_backend_channel()
        yield VhostUserDoor(front_end.start(size=1024))


@pytest.fixture
def connection(door, sway):  # pylint: disable=redefined-outer-name,unused-argument
    return Connection(door, 1)


def show(client, connection, pixels):  # pylint: disable=redefined-outer-name
    """A window of these pixels (rows of 0x00RRGGBB), and until it is on the screen."""
    height, width = pixels.shape
    wm_base = client.bind("xdg_wm_base")
    surface = client.request(client.bind("wl_compositor", 3), "create_surface", "wl_surface")
    shell_surface = client.request(wm_base, "get_xdg_surface", "xdg_surface", surface)
    toplevel = client.request(shell_surface, "get_toplevel", "xdg_toplevel")
    client.request(toplevel, "set_app_id", "test")
    client.request(surface, "commit")
    serial, = client.wait_for(shell_surface, "configure")
    client.request(shell_surface, "ack_configure", serial)
    file, memory = connection.memory(4 * width * height)
    memory[:4 * width * height] = pixels.astype("<u4").tobytes()
    pool = client.request(client.bind("wl_shm"), "create_pool", "wl_shm_pool", file, 4 * width * height)
    buffer = client.request(pool, "create_buffer", "wl_buffer", 0, width, height, 4 * width, 1)
    client.request(surface, "attach", buffer, 0, 0)
    client.request(surface, "damage", 0, 0, width, height)
    done = client.request(surface, "frame", "wl_callback")
    client.request(surface, "commit")
    client.wait_for(done, "done")
    return surface


def pattern():
    """Every pixel tells where it is."""
    rows, columns = numpy.mgrid[0:HEIGHT, 0:WIDTH].astype(numpy.uint32)
    return rows % 256 << 16 | columns % 256 << 8 | (rows // 16 * 8 + columns // 16) % 256


def test_the_registry_comes(connection):
    client = connection.connect()
    for interface in ("wl_compositor", "wl_shm", "wl_seat", "xdg_wm_base", "zwlr_data_control_manager_v1"):
        assert interface in client.globals
    for _ in range(200):
        client.round_trip()


def test_a_window_of_shared_memory_is_on_the_screen_pixel_for_pixel(connection, sway):
    client = connection.connect()
    pixels = pattern()
    show(client, connection, pixels)
    expected = numpy.stack([pixels >> shift & 0xff for shift in (16, 8, 0)], axis=-1)

    def shown():
        picture = sway.picture()
        part = picture[50:50 + HEIGHT, 100:100 + WIDTH]
        return numpy.array_equal(part, expected) and [picture]

    picture, = wait_until(shown, "the window on the screen, pixel for pixel", 30)
    assert picture.shape == (600, 800, 3)
    outside = picture.copy()
    outside[50:50 + HEIGHT, 100:100 + WIDTH] = picture[0, 0]
    assert (outside == picture[0, 0]).all(), "and nothing beside it"


def test_a_keymap_goes_both_ways(connection):
    """The guest's virtual keyboard brings one, and the seat's keyboard hands it out again."""
    client = connection.connect()
    keymap = b'xkb_keymap { xkb_keycodes { <A> = 38; }; xkb_types { virtual_modifiers NumLock; type "ONE_LEVEL" ' \
             b'{ modifiers = none; }; }; xkb_compatibility { }; xkb_symbols { key <A> { [ a ] }; }; };\0'
    file, memory = connection.memory(len(keymap))
    memory[:len(keymap)] = keymap
    seat = client.bind("wl_seat", 5)
    keyboard = client.request(client.bind("zwp_virtual_keyboard_manager_v1"), "create_virtual_keyboard", seat,
                              "zwp_virtual_keyboard_v1")
    client.request(keyboard, "keymap", 1, file, len(keymap))
    while not client.wait_for(seat, "capabilities")[0] & 2:
        pass
    seat_keyboard = client.request(seat, "get_keyboard", "wl_keyboard")
    form, (blob, kind, told), size = client.wait_for(seat_keyboard, "keymap")
    assert form == 1 and kind == BLOB and told >= size
    _, mapping = connection.map(blob, size)
    text = bytes(mapping[:size])
    assert text.startswith(b"xkb_keymap") and b"<A>" in text and text.endswith(b"\0")


def data_device(client):
    seat = client.bind("wl_seat", 5)
    manager = client.bind("zwlr_data_control_manager_v1")
    return manager, client.request(manager, "get_data_device", "zwlr_data_control_device_v1", seat)


def offered(client, device):  # pylint: disable=redefined-outer-name
    """The offer of the selection, once there is one."""
    while True:
        selection, = client.wait_for(device, "selection")
        if selection:
            return selection


@pytest.mark.parametrize("size", [11, 10 * MIB])
def test_what_the_desktop_copies_is_pasted_in_the_guest(connection, sway, size):
    text = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with sway.popen("wl-copy", "--foreground", "-t", TEXT, stdin=subprocess.PIPE) as copy:
        copy.stdin.write(text)
        copy.stdin.close()
        client = connection.connect()
        _, device = data_device(client)
        pipe = connection.read_pipe()
        client.request(offered(client, device), "receive", TEXT, pipe)
        assert connection.wait_for_pipe(pipe) == text
        copy.kill()


@pytest.mark.parametrize("size", [11, 10 * MIB])
def test_what_the_guest_copies_is_pasted_on_the_desktop(connection, sway, size):
    text = (b"fedcba9876543210" * (size // 16 + 1))[:size]
    client = connection.connect()
    manager, device = data_device(client)
    source = client.request(manager, "create_data_source", "zwlr_data_control_source_v1")
    client.request(source, "offer", TEXT)
    client.request(device, "set_selection", source)
    client.round_trip()
    with sway.popen("wl-paste", "--no-newline", "-t", TEXT, stdout=subprocess.PIPE) as paste:
        form, (identifier, kind, _) = client.wait_for(source, "send")
        assert (form, kind) == (TEXT, WRITE_PIPE)
        connection.write_pipe(identifier, text)
        assert paste.stdout.read() == text


def test_two_programs_of_a_guest_at_once(door, connection):
    first = connection.connect()
    other = Connection(door, 2)
    second = other.connect()
    for _ in range(20):
        first.round_trip()
        second.round_trip()
    assert first.globals.keys() == second.globals.keys()


def test_a_compositor_that_is_killed_and_started_again(door, connection, sway):
    client = connection.connect()
    client.round_trip()
    sway.stop()
    with pytest.raises(Closed):
        while True:
            client.round_trip()
    other = Connection(door, 2)
    assert other.channel.init() != OK_NODATA
    LINK.unlink()
    sway.start()
    LINK.symlink_to(sway.socket)
    client = other.connect()
    client.round_trip()
    assert "wl_compositor" in client.globals
