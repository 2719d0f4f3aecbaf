# SPDX-License-Identifier: Apache-2.0
"""vhost-user: host blobs in the window that the front end maps on request, on the test device, whose
renderer has such blobs."""

import mmap
import os
import struct

import pytest

from conftest import wait_until
from vhost_user_client import (
    BACKEND_SHMEM_MAP, BACKEND_SHMEM_UNMAP, GET_QUEUE_NUM, NEED_REPLY, REPLY, RESET_DEVICE, SHMEM,
    USER, VERSION, FrontEnd)
from vhost_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import (
    BLOB_FLAG_MAPPABLE, ERR_OUT_OF_MEMORY, FLAG_FENCE, GET_EDID, OK_EDID, OK_NODATA, RESOURCE_CREATE_BLOB, Gpu,
    header)

TRANSPORT = "vhost-user"
DEVICE_PROGRAM = "tests/programs/swede-test-device"

CTX_CREATE, SUBMIT_3D, MAP_BLOB, UNMAP_BLOB = 0x200, 0x207, 0x208, 0x209
OK_MAP_INFO = 0x1106
TEST_CAPSET, FILL = 30, 3
CONTEXT, HOST3D = 1, 2
PAGE = 4096


def status_of(response):
    return struct.unpack("<I", response[:4])[0]


class Guest:
    """A driver with a context of the test renderer."""

    def __init__(self, front_end, channel=True):
        self.front_end = front_end
        if channel and not front_end.backend:
            front_end.give_backend_channel()
        front_end.start(size=1024)
        self.gpu = Gpu(front_end)
        assert self.gpu.status(CTX_CREATE, struct.pack("<II64s", 4, TEST_CAPSET, b"test"),
                               context=CONTEXT) == OK_NODATA

    def create_blob(self, blob, size=PAGE):
        assert self.gpu.status(
            RESOURCE_CREATE_BLOB, struct.pack("<4IQQ", blob, HOST3D, BLOB_FLAG_MAPPABLE, 0, blob,
                                              size), context=CONTEXT) == OK_NODATA

    def fill(self, blob, value, words):
        command = struct.pack("<4IQQ", FILL, 32, blob, value, 0, words)
        assert self.gpu.status(0x202, struct.pack("<II", blob, 0), context=CONTEXT) == OK_NODATA
        # With a fence: the answer of a command without one says that it was taken, not done.
        assert self.gpu.status(SUBMIT_3D, struct.pack("<II", len(command), 0) + command,
                               context=CONTEXT, flags=FLAG_FENCE, fence=1) == OK_NODATA

    def offer(self, kind, body, slot=1):
        """Offers a command whose answer waits for the front end; returns where it will be."""
        return self.front_end.offer_command(header(kind) + body, 2048, slot=slot)

    def offer_map(self, blob, offset, slot=1):
        return self.offer(MAP_BLOB, struct.pack("<IIQ", blob, 0, offset), slot)

    def offer_unmap(self, blob, slot=1):
        return self.offer(UNMAP_BLOB, struct.pack("<II", blob, 0), slot)

    def answer_of(self, at):
        """The type of the response at `at`, once it is there."""
        return wait_until(lambda: status_of(self.front_end.ram.get(at, 4)), "a response")

    def has_answer(self, at):
        self.front_end.ask(GET_QUEUE_NUM)
        return status_of(self.front_end.ram.get(at, 4)) != 0

    def expect_request(self, request, offset, size=PAGE):
        """The device's next request; closes its file."""
        kind, flags, payload, fds = self.front_end.backend_request()
        for fd in fds:
            os.close(fd)
        assert (kind, flags) == (request, VERSION | NEED_REPLY)
        assert len(fds) == (1 if request == BACKEND_SHMEM_MAP else 0)
        shmid, _, shm_offset, length, _ = struct.unpack("<B7xQQQQ", payload)
        assert (shmid, shm_offset, length) == (1, offset, size)

    def map(self, blob, offset, size=PAGE):
        at = self.offer_map(blob, offset)
        self.expect_request(BACKEND_SHMEM_MAP, offset, size)
        self.front_end.backend_reply(BACKEND_SHMEM_MAP)
        assert self.answer_of(at) == OK_MAP_INFO

    def unmap(self, blob, offset, size=PAGE):
        at = self.offer_unmap(blob)
        self.expect_request(BACKEND_SHMEM_UNMAP, offset, size)
        self.front_end.backend_reply(BACKEND_SHMEM_UNMAP)
        assert self.answer_of(at) == OK_NODATA


@pytest.fixture
def guest(front_end):
    return Guest(front_end)


def test_map_hands_the_blobs_memory_to_the_front_end(guest):
    guest.create_blob(1, 2 * PAGE)
    guest.fill(1, 0x1000, 8)
    at = guest.offer_map(1, 3 * PAGE)
    kind, flags, payload, fds = guest.front_end.backend_request()
    assert (kind, flags) == (BACKEND_SHMEM_MAP, VERSION | NEED_REPLY)
    shmid, fd_offset, offset, length, rights = struct.unpack("<B7xQQQQ", payload)
    assert (shmid, offset, length, rights) == (1, 3 * PAGE, 2 * PAGE, 1)
    view = mmap.mmap(fds[0], length, offset=fd_offset)
    with pytest.raises(PermissionError):
        os.ftruncate(fds[0], 0)
    os.close(fds[0])
    assert struct.unpack("<8I", view[:32]) == tuple(range(0x1000, 0x1008))
    assert not guest.has_answer(at)
    guest.front_end.backend_reply(BACKEND_SHMEM_MAP)
    assert guest.answer_of(at) == OK_MAP_INFO
    guest.fill(1, 7, 1)
    assert view[:4] == struct.pack("<I", 7)
    view.close()


def test_unmap_is_answered_when_the_front_end_has(guest):
    guest.create_blob(1)
    guest.map(1, 0)
    at = guest.offer_unmap(1)
    guest.expect_request(BACKEND_SHMEM_UNMAP, 0)
    assert not guest.has_answer(at)
    guest.front_end.backend_reply(BACKEND_SHMEM_UNMAP)
    assert guest.answer_of(at) == OK_NODATA
    guest.map(1, PAGE)


def test_both_channels_and_other_commands_are_served_meanwhile(guest):
    """QEMU adds a memory region for the map, and waits for us, before it answers the map."""
    guest.create_blob(1)
    at = guest.offer_map(1, 0)
    _, _, _, fds = guest.front_end.backend_request()
    front_end = guest.front_end
    region = struct.pack("<QQQQ", 1 << 40, PAGE, USER + (1 << 40), 0)
    front_end.add_region(region, fds)
    assert front_end.get_config(8, 4) == struct.pack("<I", 1)
    other = guest.offer(GET_EDID, bytes(8), slot=2)
    assert guest.answer_of(other) == OK_EDID
    assert not guest.has_answer(at)
    front_end.backend_reply(BACKEND_SHMEM_MAP)
    assert guest.answer_of(at) == OK_MAP_INFO
    front_end.remove_region(region)
    os.close(fds[0])


def test_three_hundred_blobs_at_once(guest, device):
    for blob in range(1, 301):
        guest.create_blob(blob)
        guest.map(blob, blob * PAGE)
    for blob in range(1, 301):
        guest.unmap(blob, blob * PAGE)
        assert guest.gpu.unref(blob) == OK_NODATA
    assert device.is_alive()


def test_no_more_maps_than_the_front_end_survives(guest):
    for blob in range(1, 402):
        guest.create_blob(blob)
    for blob in range(1, 401):
        guest.map(blob, blob * PAGE)
    assert guest.answer_of(guest.offer_map(401, 0)) == ERR_OUT_OF_MEMORY
    guest.unmap(7, 7 * PAGE)
    guest.map(401, 0)


def test_refused_map_is_an_error_and_the_blob_may_be_mapped_elsewhere(guest):
    guest.create_blob(1)
    at = guest.offer_map(1, 0)
    guest.expect_request(BACKEND_SHMEM_MAP, 0)
    guest.front_end.backend_reply(BACKEND_SHMEM_MAP, 1)
    assert guest.answer_of(at) == ERR_OUT_OF_MEMORY
    guest.map(1, PAGE)


def test_refused_unmap_leaves_the_range_unused(guest):
    guest.create_blob(1)
    guest.create_blob(2)
    guest.map(1, 0)
    at = guest.offer_unmap(1)
    guest.expect_request(BACKEND_SHMEM_UNMAP, 0)
    guest.front_end.backend_reply(BACKEND_SHMEM_UNMAP, 1)
    guest.answer_of(at)
    assert guest.answer_of(guest.offer_map(2, 0)) != OK_MAP_INFO
    guest.map(2, PAGE)


def test_range_outside_the_window_is_not_asked_for(guest):
    guest.create_blob(1, 2 * PAGE)
    for offset in (HOSTMEM, HOSTMEM - PAGE, 1, (1 << 64) - PAGE):
        assert guest.answer_of(guest.offer_map(1, offset)) != OK_MAP_INFO
    guest.map(1, HOSTMEM - 2 * PAGE, 2 * PAGE)


def test_range_that_is_taken_is_not_asked_for(guest):
    guest.create_blob(1, 2 * PAGE)
    guest.create_blob(2)
    guest.map(1, 0, 2 * PAGE)
    assert guest.answer_of(guest.offer_map(2, PAGE)) != OK_MAP_INFO
    guest.map(2, 2 * PAGE)


def test_front_end_that_never_answers_holds_up_nothing_else(guest):
    for blob in range(1, 101):
        guest.create_blob(blob)
        guest.offer_map(blob, blob * PAGE, slot=blob)
    assert len(guest.gpu.edid()) >= 128
    assert guest.front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)


def test_reset_with_a_map_out_takes_it_back(guest):
    guest.create_blob(1)
    guest.offer_map(1, 0)
    guest.expect_request(BACKEND_SHMEM_MAP, 0)
    guest.front_end.tell(RESET_DEVICE)
    guest.expect_request(BACKEND_SHMEM_UNMAP, 0)
    again = Guest(guest.front_end)
    again.create_blob(1)
    at = again.offer_map(1, 0)
    again.expect_request(BACKEND_SHMEM_MAP, 0)
    again.front_end.backend_reply(BACKEND_SHMEM_MAP)
    again.front_end.backend_reply(BACKEND_SHMEM_UNMAP)
    assert not again.has_answer(at), "those were of the guest before"
    again.front_end.backend_reply(BACKEND_SHMEM_MAP)
    assert again.answer_of(at) == OK_MAP_INFO


def test_reset_relies_on_the_front_end_to_drop_the_maps(guest):
    guest.create_blob(1)
    guest.map(1, 0)
    for index in range(2):
        guest.front_end.stop_ring(index)
    again = Guest(guest.front_end)
    again.create_blob(1)
    again.map(1, 0)


def test_front_end_that_kept_a_map_over_a_reset_is_made_to_drop_it(guest):
    guest.create_blob(1)
    guest.map(1, 0)
    guest.front_end.tell(RESET_DEVICE)
    again = Guest(guest.front_end)
    again.create_blob(1)
    at = again.offer_map(1, 0)
    again.expect_request(BACKEND_SHMEM_MAP, 0)
    again.front_end.backend_reply(BACKEND_SHMEM_MAP, 1)
    again.expect_request(BACKEND_SHMEM_UNMAP, 0)
    again.expect_request(BACKEND_SHMEM_MAP, 0)
    again.front_end.backend_reply(BACKEND_SHMEM_UNMAP)
    again.front_end.backend_reply(BACKEND_SHMEM_MAP)
    assert again.answer_of(at) == OK_MAP_INFO


def test_back_end_channel_that_closes_fails_the_maps_that_are_out(guest):
    guest.create_blob(1)
    at = guest.offer_map(1, 0)
    guest.expect_request(BACKEND_SHMEM_MAP, 0)
    guest.front_end.backend.close()
    guest.front_end.backend = None
    assert guest.answer_of(at) != OK_MAP_INFO
    assert guest.answer_of(guest.offer_map(1, 0)) != OK_MAP_INFO


def test_front_end_without_a_channel_has_no_window(front_end):
    guest = Guest(front_end, channel=False)
    guest.create_blob(1)
    assert guest.answer_of(guest.offer_map(1, 0)) != OK_MAP_INFO


def test_front_end_that_did_not_take_the_window_has_none(device):
    with FrontEnd(device.socket_path) as front_end:
        offered = front_end.negotiate()
        front_end.negotiate(offered & ~SHMEM)
        guest = Guest(front_end)
        guest.create_blob(1)
        assert guest.answer_of(guest.offer_map(1, 0)) != OK_MAP_INFO


@pytest.mark.parametrize("request_number,flags", [
    (BACKEND_SHMEM_UNMAP, VERSION | REPLY), (BACKEND_SHMEM_MAP, VERSION),
    (BACKEND_SHMEM_MAP, REPLY), (2, VERSION | REPLY), (0xffffffff, VERSION | REPLY)])
def test_answer_to_something_else_ends_the_client(guest, request_number, flags):
    guest.create_blob(1)
    guest.offer_map(1, 0)
    guest.expect_request(BACKEND_SHMEM_MAP, 0)
    guest.front_end.backend_reply(request_number, flags=flags)
    assert guest.front_end.is_closed_by_device()


def test_two_answers_to_one_request_end_the_client(guest):
    guest.create_blob(1)
    guest.offer_map(1, 0)
    guest.expect_request(BACKEND_SHMEM_MAP, 0)
    guest.front_end.backend_reply(BACKEND_SHMEM_MAP)
    guest.front_end.backend_reply(BACKEND_SHMEM_MAP)
    assert guest.front_end.is_closed_by_device()


@pytest.mark.parametrize("answered", [False, True])
def test_client_that_vanishes_with_maps(device, answered):
    with FrontEnd(device.socket_path) as front_end:
        guest = Guest(front_end)
        for blob in range(1, 20):
            guest.create_blob(blob)
            if answered:
                guest.map(blob, blob * PAGE)
            else:
                guest.offer_map(blob, blob * PAGE, slot=blob)
