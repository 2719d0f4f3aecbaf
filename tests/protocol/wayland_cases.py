# SPDX-License-Identifier: Apache-2.0
"""A Wayland client in a guest on real compositors with a seat: one list of cases for every door. A test
module imports all of it, says LINK, where the device looks for the compositor, and has a fixture `door`
(cross_domain_cases.py)."""

import contextlib
import subprocess
import tempfile
import time
import zlib

import numpy
import pytest

from cross_domain_client import BLOB, RECEIVE, READ_PIPE, WRITE_PIPE
from desktop import PATIENCE_SECONDS
from sway import Sway
from virtio_gpu_driver import OK_NODATA
from wayland_client import Closed, WaylandClient
from weston import Weston

MIB = 1 << 20
WIDTH, HEIGHT = 128, 96
TEXT = "text/plain;charset=utf-8"
DESKTOPS = {"sway": lambda: Sway(keyboard=True), "weston": Weston}


class Connection:
    """cross-domain as a Wayland client's connection, and the guest's memory. `door` has channel() and
    map()."""

    def __init__(self, door, context):
        self.door = door
        self.channel = door.channel(context)
        self.next_pipe = 0x80000000
        self.early = []  # messages of the compositor that came while a pipe was drained
        self.client = None

    def connect(self):
        assert self.channel.init() == OK_NODATA
        self.client = WaylandClient(self).start()
        return self.client

    def send(self, data, files):
        assert self.channel.send(data, files) == OK_NODATA

    def receive(self):
        message = self.early.pop(0) if self.early else self.channel.receive()
        assert message.kind == RECEIVE
        return None if message.is_end else (message.data, message.identifiers)

    def read_pipe(self):
        """An identifier to send for a pipe that we read."""
        self.next_pipe += 1
        return self.next_pipe, READ_PIPE

    def drain(self, pipe):
        """(size, checksum) of all that comes through it."""
        summary, early = self.channel.drain(pipe[0])
        self.early += early
        return summary

    def map(self, blob, size):
        """(resource, the memory) of a blob, as a VMM and its guest have it."""
        resource = self.channel.create_blob(blob, size)
        return resource, self.door.map(self.channel, resource, size)

    def memory(self, size):
        """(identifier to send, the memory) for a wl_shm pool or the like."""
        _, allocated, blob = self.channel.image(size, 1)
        resource, mapping = self.map(blob, allocated)
        return (resource, BLOB), mapping


def link(place, desktop):  # pylint: disable=redefined-outer-name
    """The device has one name for them all."""
    place.unlink(missing_ok=True)
    place.symlink_to(desktop.socket)


@pytest.fixture(scope="module", params=DESKTOPS)
def desktop(request):
    made = DESKTOPS[request.param]()
    link(request.module.LINK, made)
    yield made
    made.close()
    request.module.LINK.unlink(missing_ok=True)


def only(*desktops):
    """Of a case that is not for all of them."""
    return pytest.mark.parametrize("desktop", desktops, indirect=True, scope="module")


@pytest.fixture
def connection(door, desktop):  # pylint: disable=redefined-outer-name,unused-argument
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
    for interface in ("wl_compositor", "wl_shm", "wl_seat", "wl_output", "xdg_wm_base", "wl_data_device_manager"):
        assert interface in client.globals
    for _ in range(50):
        client.round_trip()


def place_of(picture, part):
    """(left, top) of a part of the picture, None if it is not there."""
    height, width = part.shape[:2]
    for bottom, right in numpy.argwhere((picture == part[-1, -1]).all(axis=2)) + 1:
        top, left = bottom - height, right - width
        if top >= 0 and left >= 0 and numpy.array_equal(picture[top:bottom, left:right], part):
            return left, top
    return None


def test_a_window_of_shared_memory_is_on_the_screen_pixel_for_pixel(connection, desktop):
    client = connection.connect()
    pixels = pattern()
    show(client, connection, pixels)
    expected = numpy.stack([pixels >> shift & 0xff for shift in (16, 8, 0)], axis=-1)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (place := place_of(picture := desktop.picture(), expected)):
        assert time.monotonic() < deadline, "the window is not on the screen, pixel for pixel"
    left, top = place
    assert desktop.WINDOW_AT in (None, place)
    beside = numpy.ones(picture.shape[:2], bool)
    beside[top:top + HEIGHT, left:left + WIDTH] = False
    assert picture.shape == (600, 800, 3)
    assert (picture[beside] == picture[beside][0]).all(), "and nothing beside it"


# --- keyboards ---

def keymap_of(connection, seat_keyboard):  # pylint: disable=redefined-outer-name
    client = connection.client
    form, (blob, kind, told), size = client.wait_for(seat_keyboard, "keymap")
    assert form == 1 and kind == BLOB and told >= size
    _, mapping = connection.map(blob, size)
    text = bytes(mapping[:size])
    assert text.startswith(b"xkb_keymap") and text.endswith(b"\0")
    return text


def test_the_keymap_of_the_desktop(connection):
    client = connection.connect()
    keyboard = client.request(client.bind("wl_seat", 5), "get_keyboard", "wl_keyboard")
    assert b"<DESK>" in keymap_of(connection, keyboard)


@only("sway")
def test_a_keymap_goes_both_ways(connection):
    """The guest's virtual keyboard brings one, and the seat's keyboard hands it out again."""
    client = connection.connect()
    keymap = b'xkb_keymap { xkb_keycodes { <GUEST> = 38; }; xkb_types { virtual_modifiers NumLock; type ' \
             b'"ONE_LEVEL" { modifiers = none; }; }; xkb_compatibility { }; xkb_symbols { key <GUEST> { [ a ] }; }; };\0'
    file, memory = connection.memory(len(keymap))
    memory[:len(keymap)] = keymap
    seat = client.bind("wl_seat", 5)
    keyboard = client.request(client.bind("zwp_virtual_keyboard_manager_v1"), "create_virtual_keyboard", seat,
                              "zwp_virtual_keyboard_v1")
    client.request(keyboard, "keymap", 1, file, len(keymap))
    client.round_trip()
    assert b"<GUEST>" in keymap_of(connection, client.request(seat, "get_keyboard", "wl_keyboard"))


# --- clipboards ---

class Clipboard:
    """The guest's end, as programs have it: who wants to copy or paste has a window and its focus."""

    PREFIX = "wl_data"

    def __init__(self, connection):  # pylint: disable=redefined-outer-name
        self.client = client = connection.client
        seat = client.bind("wl_seat", 5)
        self.manager = client.bind("wl_data_device_manager", 3)
        self.device = client.request(self.manager, "get_data_device", "wl_data_device", seat)
        keyboard = client.request(seat, "get_keyboard", "wl_keyboard")
        show(client, connection, pattern()[:16, :16])
        self.serial = client.wait_for(keyboard, "enter")[:1]

    def offered(self):
        """The offer of the selection, once there is one."""
        while True:
            selection, = self.client.wait_for(self.device, "selection")
            if selection:
                return selection

    def copy(self):
        source = self.client.request(self.manager, "create_data_source", f"{self.PREFIX}_source{self.VERSION}")
        self.client.request(source, "offer", TEXT)
        self.client.request(self.device, "set_selection", source, *self.serial)
        self.client.round_trip()
        return source

    VERSION = ""


class ClipboardManager(Clipboard):
    """As clipboard managers have it, of compositors that allow it."""

    PREFIX, VERSION = "zwlr_data_control", "_v1"

    def __init__(self, connection):  # pylint: disable=super-init-not-called,redefined-outer-name
        self.client = client = connection.client
        self.manager = client.bind("zwlr_data_control_manager_v1")
        self.device = client.request(self.manager, "get_data_device", "zwlr_data_control_device_v1",
                                     client.bind("wl_seat", 5))
        self.serial = ()


BLOCK = bytes(range(33, 127)) * 43  # nearly a message
CLIPBOARDS = pytest.mark.parametrize("desktop, clipboard_of", [
    ("sway", Clipboard), ("sway", ClipboardManager), ("weston", Clipboard)],
    indirect=["desktop"], scope="module", ids=["sway", "sway-manager", "weston"])
SIZES = pytest.mark.parametrize("size", [11, 10 * MIB], ids=["11-bytes", "10-MiB"])


@contextlib.contextmanager
def running(process):
    """It does not outlive the block."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@CLIPBOARDS
@SIZES
def test_what_the_desktop_copies_is_pasted_in_the_guest(connection, desktop, clipboard_of, size):
    text = (BLOCK * (size // len(BLOCK) + 1))[:size]
    connection.connect()
    clipboard = clipboard_of(connection)
    with running(desktop.popen("wl-copy", "--foreground", "-t", TEXT, stdin=subprocess.PIPE)) as copy:
        copy.stdin.write(text)
        copy.stdin.close()
        pasted = None
        while pasted != (size, zlib.adler32(text)):  # weston keeps what was copied before and goes on to offer it
            pipe = connection.read_pipe()
            connection.client.request(clipboard.offered(), "receive", TEXT, pipe)
            pasted = connection.drain(pipe)


@CLIPBOARDS
@SIZES
def test_what_the_guest_copies_is_pasted_on_the_desktop(connection, desktop, clipboard_of, size):
    text = (BLOCK * (size // len(BLOCK) + 1))[:size]
    client = connection.connect()
    source = clipboard_of(connection).copy()
    deadline = time.monotonic() + PATIENCE_SECONDS
    with tempfile.TemporaryFile() as pasted, \
            running(desktop.popen("wl-paste", "--no-newline", "-t", TEXT, stdout=pasted)) as paste:
        # weston keeps a copy of what is copied, so it asks as well.
        while paste.poll() is None:
            assert time.monotonic() < deadline, "wl-paste does not end"
            client.round_trip()
            for form, (identifier, kind, _) in client.take(source, "send"):
                assert (form, kind) == (TEXT, WRITE_PIPE)
                connection.channel.pour(identifier, BLOCK, size)
        assert paste.returncode == 0
        pasted.seek(0)
        assert pasted.read() == text


# --- several programs, and the end ---

def test_two_programs_of_a_guest_at_once(door, connection):
    first = connection.connect()
    second = Connection(door, 2).connect()
    for _ in range(20):
        first.round_trip()
        second.round_trip()
    assert first.globals.keys() == second.globals.keys()


def test_a_compositor_that_is_killed_and_started_again(door, connection, desktop, request):
    client = connection.connect()
    client.round_trip()
    desktop.stop()
    with pytest.raises(Closed):
        while True:
            client.round_trip()
    late = Connection(door, 2)
    late.channel.init()
    assert late.channel.receive().is_end
    desktop.start()
    link(request.module.LINK, desktop)
    client = late.connect()
    client.round_trip()
    assert "wl_compositor" in client.globals
