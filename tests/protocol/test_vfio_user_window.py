# SPDX-License-Identifier: Apache-2.0
"""vfio-user: host blobs in the window that the client maps once, and resets that take time, on the
test device with its renderer in a process."""

import mmap
import os
import struct

import pytest

import virtio_gpu_driver as vg
from vfio_user_client import (
    ACKNOWLEDGE, BAR2, BAR4, COMMON, CONFIG, DEVICE_RESET, GET_INFO, NOTIFY, VERSION_1, WRITE, NEXT,
    Refused)
from vfio_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import OK_NODATA, Gpu

DEVICE_PROGRAM = "tests/programs/swede-test-device"
DEVICE_ARGUMENTS = ("--hostmem", "256M", "--display", "none", "--renderer", "process")

CTX_CREATE, CTX_ATTACH, SUBMIT_3D, MAP_BLOB, UNMAP_BLOB = 0x200, 0x202, 0x207, 0x208, 0x209
OK_MAP_INFO = 0x1106
VIRGL, CONTEXT_INIT = 1 << 0, 1 << 4
HOST3D = 2
CONTEXT = 1
PAGE = 4096
# tests/programs/test_renderer_commands.h
CAPSET, ADD, FILL, NEVER_ANSWER, CRASH, HANG = 30, 2, 3, 8, 11, 12
# QEMU gives up on a message after this many seconds (x-msg-timeout).
QEMU_TIMEOUT_SECONDS = 5


class Guest:
    """A driver with a context of the test renderer, and the client's mapping of the window."""

    def __init__(self, function):
        self.function = function
        (fd,) = function.client.region_info(BAR4)[1]
        self.window = mmap.mmap(fd, HOSTMEM)
        os.close(fd)
        self.start()

    def start(self):
        self.function.start(VERSION_1 | vg.FEATURES | VIRGL | CONTEXT_INIT)
        self.gpu = Gpu(self.function)
        assert self.gpu.status(CTX_CREATE, struct.pack("<II64s", 4, CAPSET, b"test"),
                               context=CONTEXT) == OK_NODATA

    def create_blob(self, blob, size=PAGE):
        assert self.gpu.status(vg.RESOURCE_CREATE_BLOB, struct.pack(
            "<4IQQ", blob, HOST3D, vg.BLOB_FLAG_MAPPABLE, 0, blob, size),
            context=CONTEXT) == OK_NODATA
        assert self.gpu.status(CTX_ATTACH, struct.pack("<II", blob, 0),
                               context=CONTEXT) == OK_NODATA

    def submit(self, operation, blob=0, value=0, offset=0, argument=0):
        command = struct.pack("<4IQQ", operation, 32, blob, value, offset, argument)
        return self.gpu.status(SUBMIT_3D, struct.pack("<II", len(command), 0) + command,
                               context=CONTEXT)

    def fenced(self, operation, *arguments):
        """Submits and waits until the renderer has done it."""
        command = struct.pack("<4IQQ", operation, 32, *arguments)
        assert self.gpu.status(SUBMIT_3D, struct.pack("<II", len(command), 0) + command,
                               context=CONTEXT, flags=vg.FLAG_FENCE, fence=1) == OK_NODATA

    def map(self, blob, offset):
        return self.gpu.send(MAP_BLOB, struct.pack("<IIQ", blob, 0, offset), 32)[0]

    def unmap(self, blob):
        return self.gpu.status(UNMAP_BLOB, struct.pack("<II", blob, 0))

    def word(self, offset):
        return struct.unpack_from("<I", self.window, offset)[0]

    def offer(self, kind, body, **fields):
        """Gives a command that may never end."""
        queue = self.function.queues[0]
        request = vg.header(kind, **fields) + body
        at = self.function.ram.allocate(len(request) + 32, 16)
        self.function.ram.put(at, request)
        queue.describe(2, at, len(request), NEXT, 3)
        queue.describe(3, at + len(request), 32, WRITE)
        queue.offer(2)
        self.function.notify(0)

    def close(self):
        self.window.close()


@pytest.fixture
def guest(function):
    made = Guest(function)
    yield made
    made.close()


def test_blob_is_seen_in_the_window_both_ways(guest):
    guest.create_blob(1, 16 * PAGE)
    guest.fenced(FILL, 1, 1000, 0, 16 * 1024)
    assert guest.map(1, 0x20000) == OK_MAP_INFO
    assert [guest.word(0x20000 + 4 * i) for i in (0, 1, 16383)] == [1000, 1001, 17383]
    assert guest.function.client.get("I", BAR4, 0x20004) == 1001
    struct.pack_into("<I", guest.window, 0x20000, 41)
    guest.fenced(ADD, 1, 1, 0, 0)
    assert guest.word(0x20000) == 42
    assert guest.unmap(1) == OK_NODATA
    assert guest.window[0x20000:0x20000 + 16 * PAGE] == bytes(16 * PAGE)


def test_window_shows_nothing_of_the_last_blob_there(guest):
    guest.create_blob(1)
    guest.fenced(FILL, 1, 7, 0, 1024)
    assert guest.map(1, 0) == OK_MAP_INFO
    assert guest.gpu.unref(1) == OK_NODATA
    assert guest.window[:PAGE] == bytes(PAGE)
    guest.window[:PAGE] = b"x" * PAGE  # the guest may write where nothing is mapped
    guest.create_blob(2)
    assert guest.map(2, 0) == OK_MAP_INFO
    assert guest.window[:PAGE] == bytes(PAGE)


@pytest.mark.parametrize("offset", [1, 0x800, HOSTMEM, HOSTMEM - PAGE + 1, 1 << 63,
                                    (1 << 64) - PAGE, (1 << 64) - 1])
def test_blob_is_not_mapped_at_a_wrong_offset(guest, offset):
    guest.create_blob(1)
    assert guest.map(1, offset) >= vg.ERR_UNSPEC
    assert guest.map(1, HOSTMEM - PAGE) == OK_MAP_INFO


def test_blobs_do_not_overlap_in_the_window(guest):
    for blob in (1, 2):
        guest.create_blob(blob, 4 * PAGE)
    assert guest.map(1, 4 * PAGE) == OK_MAP_INFO
    for offset in (PAGE, 4 * PAGE, 7 * PAGE):
        assert guest.map(2, offset) >= vg.ERR_UNSPEC
    assert guest.map(1, 64 * PAGE) >= vg.ERR_UNSPEC  # mapped already
    assert guest.map(2, 8 * PAGE) == OK_MAP_INFO


def test_many_blobs_are_mapped_at_once(guest):
    for blob in range(1, 301):
        guest.create_blob(blob)
        assert guest.map(blob, blob * PAGE) == OK_MAP_INFO
        guest.window[blob * PAGE] = blob & 0xff
    assert all(guest.window[blob * PAGE] == blob & 0xff for blob in range(1, 301))


@pytest.mark.parametrize("how", ["message", "status"])
def test_reset_empties_the_window(guest, how):
    guest.create_blob(1)
    guest.fenced(FILL, 1, 7, 0, 1024)
    assert guest.map(1, PAGE) == OK_MAP_INFO
    if how == "message":
        guest.function.client.reset()
    else:
        guest.function.reset()
    assert guest.window[PAGE:2 * PAGE] == bytes(PAGE)
    guest.function.ram.forget()
    guest.start()
    guest.create_blob(1)
    assert guest.map(1, PAGE) == OK_MAP_INFO


def make_stubborn(guest, operation):
    """A renderer that will not answer the reset."""
    if operation == NEVER_ANSWER:
        assert guest.submit(NEVER_ANSWER) == OK_NODATA
    else:
        guest.offer(SUBMIT_3D, struct.pack("<II4IQQ", 32, 0, HANG, 32, 0, 0, 0, 0),
                    context=CONTEXT)


stubborn = pytest.mark.parametrize("operation", [NEVER_ANSWER, HANG], ids=["silent", "hung"])


@stubborn
def test_reset_message_ends_though_the_renderer_does_not_answer(guest, operation):
    make_stubborn(guest, operation)
    guest.function.client.socket.settimeout(QEMU_TIMEOUT_SECONDS)
    guest.function.client.reset()
    guest.function.ram.forget()
    guest.start()
    assert guest.gpu.display_info()[0][4] == 1


@stubborn
def test_status_shows_when_such_a_reset_is_over(guest, operation):
    make_stubborn(guest, operation)
    client = guest.function.client
    client.socket.settimeout(QEMU_TIMEOUT_SECONDS)
    guest.function.status = 0
    while guest.function.status != 0:
        # Everything else is answered meanwhile; what is written goes nowhere.
        client.put("H", BAR2, NOTIFY, 0)
        client.put("H", BAR2, COMMON + 0x1c, 1)
        assert client.get("I", CONFIG, 0) == 0x10501af4
        assert client.info()[0] == 16
    assert guest.function.get("H", COMMON + 0x1c) == 0
    guest.function.ram.forget()
    guest.start()
    assert guest.gpu.display_info()[0][4] == 1


@stubborn
def test_resets_that_meet_end_together(guest, operation):
    make_stubborn(guest, operation)
    guest.function.status = 0
    guest.function.client.reset()
    assert guest.function.status == 0
    guest.function.client.reset()


@stubborn
def test_messages_behind_a_reset_wait_for_it(guest, operation):
    make_stubborn(guest, operation)
    client = guest.function.client
    client.send(DEVICE_RESET)
    client.send(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
    client.send(77)
    assert [client.receive()[1:4] for _ in range(3)] == [(DEVICE_RESET, 1, 0), (GET_INFO, 1, 0),
                                                         (77, 0x21, 22)]


@stubborn
def test_client_vanishes_with_such_a_renderer(guest, operation):
    make_stubborn(guest, operation)


@stubborn
def test_client_vanishes_in_such_a_reset(guest, operation):
    make_stubborn(guest, operation)
    guest.function.client.send(DEVICE_RESET)


@stubborn
def test_client_vanishes_in_such_a_status_reset(guest, operation):
    make_stubborn(guest, operation)
    guest.function.status = 0


def test_crash_of_the_renderer_leaves_the_console(guest):
    guest.create_blob(1)
    assert guest.map(1, 0) == OK_MAP_INFO
    guest.submit(CRASH)
    assert guest.gpu.create_2d(2, 64, 64) == OK_NODATA
    assert guest.gpu.display_info()[0][4] == 1
    with pytest.raises(Refused):
        guest.function.client.request(77)
    guest.function.reset()
    guest.function.ram.forget()
    guest.start()
    guest.create_blob(1)
    guest.fenced(FILL, 1, 7, 0, 4)
    assert guest.map(1, 0) == OK_MAP_INFO
    assert guest.word(4) == 8


def test_hang_leaves_the_console(guest):
    make_stubborn(guest, HANG)
    for _ in range(10):
        assert guest.gpu.display_info()[0][4] == 1
    assert guest.function.status & ACKNOWLEDGE
