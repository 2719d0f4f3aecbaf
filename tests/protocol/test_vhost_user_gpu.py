# SPDX-License-Identifier: Apache-2.0
"""vhost-user-gpu: the display socket, and what this personality does not offer."""

import os
import socket
import struct
import subprocess

import pytest

from conftest import build_folder
from vhost_user_client import (
    EVENT_IDX, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_SHMEM_CONFIG, GPU_SET_SOCKET,
    INDIRECT_DESC, REPLY, RESET_DEVICE, RING_RESET, SHMEM, VERSION_1, FrontEnd,
    GpuSocket, Refused, file_of, send_with_fds)
from vhost_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import (
    ERR_UNSPEC, FORMAT_B8G8R8A8, GET_DISPLAY_INFO, GET_EDID, MOVE_CURSOR, OK_NODATA, Gpu, header)

TRANSPORT = "vhost-user-gpu"
DEVICE_ARGUMENTS = ("--display", "none")


@pytest.fixture
def display(front_end):
    """(front end whose driver runs, QEMU's end of its display socket)"""
    with GpuSocket(front_end) as gpu_socket:
        gpu_socket.greet((1024, 768))
        yield front_end.start(VERSION_1 | EVENT_IDX | INDIRECT_DESC | RING_RESET), gpu_socket


def filled(gpu, front_end, resource, width, height, pixel):
    """A 2D resource whose pixels are `pixel`(x, y)."""
    size = width * height * 4
    at = front_end.ram.allocate(size)
    front_end.ram.put(at, b"".join(struct.pack("<I", pixel(x, y))
                                   for y in range(height) for x in range(width)))
    assert gpu.create_2d(resource, width, height, FORMAT_B8G8R8A8) == OK_NODATA
    assert gpu.attach_backing(resource, [(at, size)]) == OK_NODATA
    assert gpu.transfer(resource, 0, 0, width, height) == OK_NODATA
    return at


def colour(x, y):
    return x * 7 & 0xff | (y * 5 & 0xff) << 8 | (x ^ y) << 16


class Surface:
    """What QEMU would show."""

    def __init__(self):
        self.width = self.height = 0
        self.pixels = None

    def take(self, gpu_socket, messages):
        """Draws `messages` messages; fails where QEMU would."""
        kinds = []
        for _ in range(messages):
            kind, payload = gpu_socket.receive()
            kinds.append(kind)
            if kind == GpuSocket.SCANOUT:
                _, self.width, self.height = struct.unpack("<III", payload)
                self.pixels = [None] * (self.width * self.height)
            elif kind == GpuSocket.UPDATE:
                _, x, y, width, height = struct.unpack("<5I", payload[:20])
                assert len(payload) == 20 + width * height * 4
                assert width and height and self.pixels
                assert x + width <= self.width and y + height <= self.height
                data = struct.unpack(f"<{width * height}I", payload[20:])
                for row in range(height):
                    start = (y + row) * self.width + x
                    self.pixels[start:start + width] = data[row * width:(row + 1) * width]
        return kinds


# --- what is offered ---

def test_features_are_those_of_2d(front_end):
    assert front_end.device_features & 0xffffff == 0b110  # EDID, RESOURCE_UUID; no VIRGL, no BLOB
    offered, = front_end.ask(GET_PROTOCOL_FEATURES, form="<Q")
    assert not offered & SHMEM


def test_there_is_no_window(front_end):
    front_end.send(GET_SHMEM_CONFIG)
    assert front_end.is_closed_by_device()


def test_configuration_as_qemu_11_reads_it(front_end):
    answer = front_end.get_config(0, 20)
    assert len(answer) == 20 and answer[:8] == bytes(8)
    assert answer[12:] == bytes(8), "no capsets, no blobs"


def test_guest_runs_without_a_display_socket(running):
    gpu = Gpu(running)
    filled(gpu, running, 1, 32, 32, colour)
    assert gpu.set_scanout(0, 1, 0, 0, 32, 32) == OK_NODATA
    assert gpu.flush(1, 0, 0, 32, 32) == OK_NODATA


# --- display info ---

def test_set_socket_does_not_wait_for_an_answer(front_end):
    """QEMU's main thread cannot answer before we have taken the message."""
    with GpuSocket(front_end) as gpu_socket:
        assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)
        gpu_socket.greet()


def test_guest_sees_the_sizes_of_qemus_outputs(display):
    front_end, gpu_socket = display
    info = Gpu(front_end).display_info()
    assert info[0] == (0, 0, 1024, 768, 1)
    assert all(output[4] == 0 for output in info[1:])
    assert not gpu_socket.has_message(0)


def test_first_question_of_the_guest_waits_for_qemus_answer(front_end):
    with GpuSocket(front_end) as gpu_socket:
        gpu_socket.expect(GpuSocket.GET_PROTOCOL_FEATURES)
        gpu_socket.expect(GpuSocket.GET_DISPLAY_INFO)
        front_end.start()
        at = front_end.offer_command(header(GET_DISPLAY_INFO), 24 + 16 * 24)
        front_end.ask(GET_QUEUE_NUM)
        assert front_end.queues[0].used_index() == 0
        gpu_socket.reply(GpuSocket.GET_DISPLAY_INFO, gpu_socket.display_info((640, 480), (320, 200)))
        front_end.wait_for_call(0)
        modes = [struct.unpack("<5I", front_end.ram.get(at + 24 + 24 * i, 20)) for i in range(3)]
        assert [mode[2:] for mode in modes[:2]] == [(640, 480, 1), (320, 200, 1)]
        assert modes[2][4] == 0


def test_qemu_that_does_not_answer_holds_the_guest_up_for_a_moment_only(front_end):
    with GpuSocket(front_end):
        front_end.start()
        assert len(Gpu(front_end).display_info()) == 16


def test_qemu_that_closes_the_socket_lets_the_guest_go_on(front_end):
    GpuSocket(front_end).close()
    front_end.start()
    assert len(Gpu(front_end).display_info()) == 16


def test_resize_in_qemu_reaches_the_guest_that_reads_the_configuration(display):
    """QEMU raises the event itself; the guest reads the configuration, then asks for the sizes."""
    front_end, gpu_socket = display
    front_end.get_config(0, 20)
    gpu_socket.expect(GpuSocket.GET_DISPLAY_INFO)
    at = front_end.offer_command(header(GET_DISPLAY_INFO), 24 + 16 * 24)
    gpu_socket.reply(GpuSocket.GET_DISPLAY_INFO, gpu_socket.display_info((1600, 900)))
    front_end.wait_for_call(0)
    assert struct.unpack("<5I", front_end.ram.get(at + 24, 20))[2:] == (1600, 900, 1)
    front_end.set_config(0, struct.pack("<5I", 0, 1, 0, 0, 0))


def test_many_configuration_reads_cost_one_question_at_a_time(display):
    front_end, gpu_socket = display
    for _ in range(100):
        front_end.get_config(0, 20)
    for _ in range(2):
        gpu_socket.expect(GpuSocket.GET_DISPLAY_INFO)
        gpu_socket.reply(GpuSocket.GET_DISPLAY_INFO, gpu_socket.display_info((800, 600)))
    assert not gpu_socket.has_message()


def test_edid_follows_qemus_size(display):
    front_end, _ = display
    edid = Gpu(front_end).edid()
    width = edid[56] | (edid[58] & 0xf0) << 4
    height = edid[59] | (edid[61] & 0xf0) << 4
    assert (width, height) == (1024, 768)


@pytest.mark.parametrize("size", [(0, 0), (0, 768), (0xffffffff, 0xffffffff), (1 << 20, 1)])
def test_size_that_no_output_has_is_not_taken(front_end, size):
    with GpuSocket(front_end) as gpu_socket:
        gpu_socket.greet(size)
        gpu = Gpu(front_end.start())
        info = gpu.display_info()[0]
        assert 0 < info[2] <= 16384 and 0 < info[3] <= 16384
        assert len(gpu.edid()) >= 128


# --- pictures ---

def test_scanout_and_pixels(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 1, 64, 48, colour)
    assert gpu.set_scanout(0, 1, 0, 0, 64, 48) == OK_NODATA
    surface = Surface()
    assert surface.take(gpu_socket, 2) == [GpuSocket.SCANOUT, GpuSocket.UPDATE]
    assert surface.pixels == [colour(x, y) for y in range(48) for x in range(64)]


def test_flush_sends_the_damage(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    at = filled(gpu, front_end, 1, 64, 48, lambda x, y: 0)
    gpu.set_scanout(0, 1, 0, 0, 64, 48)
    surface = Surface()
    surface.take(gpu_socket, 2)
    front_end.ram.put(at + (10 * 64 + 20) * 4, struct.pack("<I", 0x123456))
    gpu.transfer(1, 20, 10, 4, 2, offset=(10 * 64 + 20) * 4)
    assert gpu.flush(1, 20, 10, 4, 2) == OK_NODATA
    kind, payload = gpu_socket.receive()
    assert kind == GpuSocket.UPDATE
    assert struct.unpack("<5I", payload[:20]) == (0, 20, 10, 4, 2)
    assert struct.unpack("<8I", payload[20:]) == (0x123456, 0, 0, 0, 0, 0, 0, 0)


def test_part_of_a_resource_is_scanned_out(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 1, 64, 48, colour)
    gpu.set_scanout(0, 1, 16, 8, 32, 24)
    surface = Surface()
    surface.take(gpu_socket, 2)
    assert surface.pixels == [colour(x + 16, y + 8) for y in range(24) for x in range(32)]


def test_scanout_that_ends_is_told_and_not_updated(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 1, 32, 32, colour)
    gpu.set_scanout(0, 1, 0, 0, 32, 32)
    Surface().take(gpu_socket, 2)
    assert gpu.set_scanout(0, 0, 0, 0, 0, 0) == OK_NODATA
    assert gpu_socket.expect(GpuSocket.SCANOUT) == struct.pack("<III", 0, 0, 0)
    gpu.flush(1, 0, 0, 32, 32)
    assert not gpu_socket.has_message()


def test_unref_of_what_is_shown_ends_the_scanout(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 1, 32, 32, colour)
    gpu.set_scanout(0, 1, 0, 0, 32, 32)
    Surface().take(gpu_socket, 2)
    gpu.unref(1)
    assert gpu_socket.expect(GpuSocket.SCANOUT) == struct.pack("<III", 0, 0, 0)


def test_reset_ends_the_scanout(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 1, 32, 32, colour)
    gpu.set_scanout(0, 1, 0, 0, 32, 32)
    Surface().take(gpu_socket, 2)
    front_end.tell(RESET_DEVICE)
    assert gpu_socket.expect(GpuSocket.SCANOUT) == struct.pack("<III", 0, 0, 0)


def test_new_socket_shows_what_is_shown(display):
    """A paused guest's QEMU closes the socket and makes another when it goes on."""
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 1, 40, 30, colour)
    gpu.set_scanout(0, 1, 0, 0, 40, 30)
    Surface().take(gpu_socket, 2)
    gpu_socket.close()
    with GpuSocket(front_end) as other:
        other.greet()
        surface = Surface()
        surface.take(other, 2)
        assert surface.pixels == [colour(x, y) for y in range(30) for x in range(40)]


def test_cursor(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    filled(gpu, front_end, 3, 64, 64, lambda x, y: 0x80000000 | colour(x, y))
    assert gpu.update_cursor(0, 3, 100, 50, 1, 2) == OK_NODATA
    payload = gpu_socket.expect(GpuSocket.CURSOR_UPDATE)
    assert struct.unpack("<5I", payload[:20]) == (0, 100, 50, 1, 2)
    assert payload[20:] == b"".join(struct.pack("<I", 0x80000000 | colour(x, y))
                                    for y in range(64) for x in range(64))
    assert gpu.status(MOVE_CURSOR, struct.pack("<8I", 0, 7, 8, 0, 0, 0, 0, 0),
                      number=1) == OK_NODATA
    assert gpu_socket.expect(GpuSocket.CURSOR_POS) == struct.pack("<III", 0, 7, 8)
    assert gpu.update_cursor(0, 0) == OK_NODATA
    gpu_socket.expect(GpuSocket.CURSOR_POS_HIDE)


def test_full_frame_comes_whole_in_strips(display):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    width, height = 1024, 768
    row = b"".join(struct.pack("<I", x) for x in range(width))
    at = front_end.ram.allocate(width * height * 4)
    front_end.ram.put(at, row * height)
    gpu.create_2d(1, width, height)
    gpu.attach_backing(1, [(at, width * height * 4)])
    gpu.transfer(1, 0, 0, width, height)
    gpu.set_scanout(0, 1, 0, 0, width, height)
    gpu_socket.expect(GpuSocket.SCANOUT)
    rows = set()
    while len(rows) < height:
        payload = gpu_socket.expect(GpuSocket.UPDATE)
        _, x, y, strip_width, strip_height = struct.unpack("<5I", payload[:20])
        assert (x, strip_width) == (0, width) and payload[20:] == row * strip_height
        assert strip_height * width * 4 <= 256 * 1024
        rows.update(range(y, y + strip_height))
    assert not gpu_socket.has_message()


# --- QEMU that misbehaves ---

def shows(gpu, front_end):
    """The guest goes on, whatever happened to its display."""
    filled(gpu, front_end, 9, 16, 16, colour)
    assert gpu.set_scanout(0, 9, 0, 0, 16, 16) == OK_NODATA
    assert gpu.flush(9, 0, 0, 16, 16) == OK_NODATA


def memory_of(device):
    status = (device._root() / "status").read_text()  # pylint: disable=protected-access
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_qemu_that_does_not_read_holds_nothing_up_and_costs_nothing(display, device):
    front_end, gpu_socket = display
    gpu = Gpu(front_end)
    width, height = 1024, 768
    at = front_end.ram.allocate(width * height * 4)
    gpu.create_2d(1, width, height)
    gpu.attach_backing(1, [(at, width * height * 4)])
    assert gpu.set_scanout(0, 1, 0, 0, width, height) == OK_NODATA
    for _ in range(10):
        gpu.transfer(1, 0, 0, width, height)
        gpu.flush(1, 0, 0, width, height)
    before = memory_of(device)
    for _ in range(200):
        assert gpu.flush(1, 0, 0, width, height) == OK_NODATA
        gpu.update_cursor(0, 0)
    assert memory_of(device) - before < 1 << 20
    assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)
    gpu_socket.close()
    shows(gpu, front_end)


@pytest.mark.parametrize("reply", [
    struct.pack("<IIIQ", 1, REPLY, 8, 0),                  # nobody asked
    struct.pack("<III", 3, REPLY, 408) + bytes(408),
    struct.pack("<III", 10, REPLY, 0),
    struct.pack("<III", 11, REPLY, 1056) + bytes(1056),
    struct.pack("<III", 0, 0, 0),
    struct.pack("<III", 1, REPLY, 0xffffffff),
    struct.pack("<III", 0xffffffff, 0xffffffff, 0xffffffff),
    bytes(64), b"\xff" * 64,
], ids=range(9))
def test_odd_message_ends_the_display_and_not_the_guest(display, reply):
    front_end, gpu_socket = display
    gpu_socket.socket.sendall(reply)
    assert gpu_socket.is_closed_by_device()
    shows(Gpu(front_end), front_end)


@pytest.mark.parametrize("size", [0, 4, 24, 407])
def test_display_info_of_a_wrong_length(front_end, size):
    with GpuSocket(front_end) as gpu_socket:
        gpu_socket.reply(GpuSocket.GET_DISPLAY_INFO, bytes(size))
        assert gpu_socket.is_closed_by_device()
        front_end.start()
        shows(Gpu(front_end), front_end)


def test_display_info_that_is_an_error(front_end):
    with GpuSocket(front_end) as gpu_socket:
        gpu_socket.reply(GpuSocket.GET_DISPLAY_INFO,
                         struct.pack("<I", ERR_UNSPEC) + bytes(404))
        assert gpu_socket.is_closed_by_device()


def test_reply_with_a_file(display):
    front_end, gpu_socket = display
    front_end.get_config(0, 20)
    send_with_fds(gpu_socket.socket, struct.pack("<III", 3, REPLY, 408), [front_end.ram.fd])
    assert gpu_socket.is_closed_by_device()
    shows(Gpu(front_end), front_end)


def test_socket_that_is_no_stream_socket(front_end):
    datagram, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fd = file_of(4096)
    for wrong in (datagram.fileno(), fd, front_end.eventfd()):
        with pytest.raises(Refused):
            front_end.tell(GPU_SET_SOCKET, fds=[wrong])
    for count in (0, 2):
        with pytest.raises(Refused):
            front_end.tell(GPU_SET_SOCKET, fds=[fd] * count)
    os.close(fd)
    datagram.close()
    other.close()


def test_socket_replaced_many_times_leaves_no_file(front_end, device):
    sockets = [GpuSocket(front_end)]
    files = sum(device.files().values())
    for _ in range(50):
        sockets.append(GpuSocket(front_end))
    assert sum(device.files().values()) == files
    for gpu_socket in sockets:
        gpu_socket.close()


@pytest.mark.parametrize("stage", range(6))
def test_qemu_that_vanishes_at_each_stage(device, stage):
    front_end = FrontEnd(device.socket_path)
    gpu_socket = GpuSocket(front_end)
    gpu = Gpu(front_end)
    steps = [
        gpu_socket.greet,
        front_end.start,
        lambda: shows(gpu, front_end),
        lambda: front_end.get_config(0, 20),
        lambda: front_end.offer_command(header(GET_EDID) + bytes(8), 2048),
    ]
    for step in steps[:stage]:
        step()
    front_end.close()
    gpu_socket.close()


def test_display_socket_ends_before_the_client(display):
    front_end, gpu_socket = display
    gpu_socket.close()
    shows(Gpu(front_end), front_end)


def test_config_change_is_never_sent(display):
    """QEMU takes it for an error on this device."""
    front_end, gpu_socket = display
    backend = front_end.give_backend_channel()
    front_end.get_config(0, 20)
    gpu_socket.expect(GpuSocket.GET_DISPLAY_INFO)
    gpu_socket.reply(GpuSocket.GET_DISPLAY_INFO, gpu_socket.display_info((1920, 1080)))
    assert Gpu(front_end).display_info()[0][2:] == (1920, 1080, 1)
    backend.settimeout(0.2)
    with pytest.raises(TimeoutError):
        backend.recv(1)


def test_qemus_program_serves_the_socket_it_is_given(device):
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [build_folder() / "src" / "swede" / "swede", "device", "--fd", str(theirs.fileno()),
             "--transport", "vhost-user-gpu", "--display", "none"],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    with FrontEnd(sock=ours) as front_end:
        with GpuSocket(front_end) as gpu_socket:
            gpu_socket.greet()
            front_end.start()
            shows(Gpu(front_end), front_end)
    assert process.wait(10) == 0
    assert device.is_alive()
