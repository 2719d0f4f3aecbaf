# SPDX-License-Identifier: Apache-2.0
"""vfio-user: a virtio-gpu driver on top, good, and then with rings that are not."""

import os
import random
import struct

import pytest

import virtio_gpu_driver as vg
from vfio_user_client import (
    ACKNOWLEDGE, DRIVER, DRIVER_OK, EVENT_IDX, FEATURES_OK, INDIRECT, INDIRECT_DESC,
    NEEDS_RESET, NEXT, VERSION_1, WRITE, Closed, Function, Queue, Ram)
from vfio_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import Gpu


# --- good ---

def test_display_info_and_edid_name_the_output(gpu):
    info = gpu.display_info()
    assert info[0] == (0, 0, 1280, 800, 1)
    assert all(one[4] == 0 for one in info[1:])
    edid = gpu.edid()
    assert edid[:8] == b"\0\xff\xff\xff\xff\xff\xff\0"
    assert len(edid) % 128 == 0 and sum(edid[:128]) % 256 == 0


def test_mode_is_set_and_pixels_are_shown(function, gpu):
    width, height = 640, 480
    pages = [(function.ram.allocate(4096), 4096) for _ in range(width * height * 4 // 4096)]
    assert gpu.create_2d(1, width, height) == vg.OK_NODATA
    assert gpu.attach_backing(1, pages) == vg.OK_NODATA
    assert gpu.set_scanout(0, 1, 0, 0, width, height) == vg.OK_NODATA
    for address, length in pages:
        function.ram.put(address, os.urandom(length))
    assert gpu.transfer(1, 0, 0, width, height) == vg.OK_NODATA
    assert gpu.flush(1, 0, 0, width, height) == vg.OK_NODATA
    assert gpu.transfer(1, 100, 50, 10, 10, offset=(50 * width + 100) * 4) == vg.OK_NODATA
    assert gpu.flush(1, 100, 50, 10, 10) == vg.OK_NODATA
    assert gpu.set_scanout(0, 0, 0, 0, 0, 0) == vg.OK_NODATA
    assert gpu.detach_backing(1) == vg.OK_NODATA
    assert gpu.unref(1) == vg.OK_NODATA


def test_blob_of_guest_memory_is_scanned_out(function, gpu):
    memory = function.ram.allocate(256 * 256 * 4)
    assert gpu.create_blob(1, 256 * 256 * 4, [(memory, 256 * 256 * 4)]) == vg.OK_NODATA
    assert gpu.set_scanout_blob(0, 1, 256, 256, 256 * 4) == vg.OK_NODATA
    assert gpu.flush(1, 0, 0, 256, 256) == vg.OK_NODATA
    assert gpu.unref(1) == vg.OK_NODATA


def test_cursor_is_set_and_moved(function, gpu):
    memory = function.ram.allocate(64 * 64 * 4)
    assert gpu.create_2d(1, 64, 64, vg.FORMAT_B8G8R8A8) == vg.OK_NODATA
    assert gpu.attach_backing(1, [(memory, 64 * 64 * 4)]) == vg.OK_NODATA
    assert gpu.transfer(1, 0, 0, 64, 64) == vg.OK_NODATA
    request = vg.header(vg.UPDATE_CURSOR) + struct.pack("<8I", 0, 10, 20, 0, 1, 3, 4, 0)
    queue = function.queues[1]
    at = function.ram.allocate(len(request))
    function.ram.put(at, request)
    queue.describe(0, at, len(request))
    queue.offer(0)
    function.notify(1)
    function.wait_for_event(2)
    assert queue.used_index() == 1


def test_fence_comes_back_in_the_response(gpu):
    kind, response = gpu.send(vg.GET_DISPLAY_INFO, response_size=408, flags=vg.FLAG_FENCE,
                              fence=0x1122334455667788)
    assert kind == vg.OK_DISPLAY_INFO
    assert struct.unpack("<IQ", response[4:16]) == (vg.FLAG_FENCE, 0x1122334455667788)


def test_uuid_is_assigned(gpu):
    assert gpu.create_2d(1, 16, 16) == vg.OK_NODATA
    kind, response = gpu.send(vg.RESOURCE_ASSIGN_UUID, struct.pack("<II", 1, 0), 40)
    assert kind == vg.OK_RESOURCE_UUID and response[24:40] != bytes(16)


def test_memory_moves_under_a_queue(function, gpu):
    """The VMM remaps RAM (as at a change of the memory layout); the queue goes on."""
    assert gpu.display_info()
    ram = function.ram
    function.client.dma_unmap(ram.base, ram.size)
    function.client.dma_map(ram.base, ram.size, ram.fd)
    assert gpu.display_info()


# --- commands that are wrong ---

def test_wrong_commands_get_the_specified_errors(function, gpu):
    assert gpu.status(0x999) == vg.ERR_UNSPEC
    assert gpu.create_2d(0, 16, 16) == vg.ERR_INVALID_RESOURCE
    assert gpu.create_2d(1, 16, 16, form=77) == vg.ERR_INVALID_PARAMETER
    assert gpu.create_2d(1, 1 << 20, 1 << 20) in (vg.ERR_OUT_OF_MEMORY, vg.ERR_INVALID_PARAMETER)
    assert gpu.unref(1) == vg.ERR_INVALID_RESOURCE
    assert gpu.create_2d(1, 16, 16) == vg.OK_NODATA
    assert gpu.create_2d(1, 16, 16) == vg.ERR_INVALID_RESOURCE
    assert gpu.set_scanout(16, 1, 0, 0, 16, 16) == vg.ERR_INVALID_SCANOUT
    assert gpu.set_scanout(0, 9, 0, 0, 16, 16) == vg.ERR_INVALID_RESOURCE
    assert gpu.set_scanout(0, 1, 8, 8, 16, 16) == vg.ERR_INVALID_PARAMETER
    assert gpu.set_scanout(0, 1, 0xfffffff8, 0, 16, 16) == vg.ERR_INVALID_PARAMETER
    assert gpu.transfer(1, 0, 0, 17, 16) == vg.ERR_INVALID_PARAMETER
    assert gpu.flush(2, 0, 0, 16, 16) == vg.ERR_INVALID_RESOURCE
    assert gpu.attach_backing(1, [(0xdead000, 4096)]) >= vg.ERR_UNSPEC
    assert gpu.attach_backing(1, [(function.ram.base + function.ram.size - 4096, 8192)]) \
        >= vg.ERR_UNSPEC
    assert gpu.display_info()[0][4] == 1


def test_backing_is_gone_with_its_memory(function, gpu):
    extra = Ram(1 << 20, base=0x80000000)
    function.client.dma_map(extra.base, extra.size, extra.fd)
    assert gpu.create_2d(1, 64, 64) == vg.OK_NODATA
    assert gpu.attach_backing(1, [(extra.base, 64 * 64 * 4)]) == vg.OK_NODATA
    assert gpu.transfer(1, 0, 0, 64, 64) == vg.OK_NODATA
    function.client.dma_unmap(extra.base, extra.size)
    assert gpu.transfer(1, 0, 0, 64, 64) >= vg.ERR_UNSPEC
    function.client.dma_map(extra.base, extra.size, extra.fd)
    assert gpu.transfer(1, 0, 0, 64, 64) >= vg.ERR_UNSPEC  # the guest has to attach it again
    extra.close()


def test_command_without_room_for_a_response_is_done(function, gpu):
    queue = function.queues[0]
    request = function.ram.allocate(24)
    function.ram.put(request, vg.header(vg.GET_DISPLAY_INFO))
    queue.describe(0, request, 24)
    queue.offer(0)
    function.notify(0)
    function.wait_for_event(1)
    assert queue.used_entry(0) == (0, 0)
    assert gpu.display_info()


# --- rings that are wrong ---

def needs_reset(function, queue=0):
    """After a doorbell the device asks for a reset, says so, and works after one."""
    function.notify(queue)
    assert function.status & NEEDS_RESET
    function.wait_for_event(0)
    function.notify(queue)
    function.notify(1 - queue)
    function.ram.forget()
    function.start()
    assert function.status == ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
    assert Gpu(function).display_info()[0][4] == 1


@pytest.mark.parametrize("queue", [0, 1])
@pytest.mark.parametrize("ahead", [17, 100, 0x8000, 0xffff])
def test_available_index_out_of_range(function, queue, ahead):
    function.start()
    function.queues[queue].offer(0, index=ahead)
    needs_reset(function, queue)


@pytest.mark.parametrize("head", [16, 17, 0x8000, 0xffff])
def test_head_out_of_range(function, head):
    function.start()
    function.queues[0].offer(head)
    needs_reset(function)


@pytest.mark.parametrize("follow", [16, 0xffff])
def test_next_out_of_range(function, follow):
    queue = function.start().queues[0]
    queue.describe(0, function.ram.base, 24, NEXT, follow)
    queue.offer(0)
    needs_reset(function)


def test_loop_of_one(function):
    queue = function.start().queues[0]
    queue.describe(0, function.ram.base, 24, NEXT, 0)
    queue.offer(0)
    needs_reset(function)


def test_loop_of_all(function):
    queue = function.start().queues[0]
    for number in range(16):
        queue.describe(number, function.ram.base, 24, NEXT, (number + 1) % 16)
    queue.offer(0)
    needs_reset(function)


def test_loop_of_empty_descriptors(function):
    queue = function.start().queues[0]
    queue.describe(0, 0, 0, NEXT, 1)
    queue.describe(1, 0, 0, NEXT, 0)
    queue.offer(0)
    needs_reset(function)


def test_loop_of_huge_descriptors(function):
    queue = function.start().queues[0]
    for number in range(16):
        queue.describe(number, function.ram.base, 0xffffffff, NEXT, (number + 1) % 16)
    queue.offer(0)
    needs_reset(function)


def indirect(function, entries, length=None, flags=INDIRECT):
    """A queue whose one chain is an indirect table."""
    queue = function.start(VERSION_1 | INDIRECT_DESC).queues[0]
    table = function.ram.allocate(4096)
    function.ram.put(table, b"".join(struct.pack("<QIHH", *entry) for entry in entries))
    queue.describe(0, table, 16 * len(entries) if length is None else length, flags, 1)
    queue.offer(0)
    return queue


@pytest.mark.parametrize("entries, length, flags", [
    ([(0, 24, NEXT, 0)], None, INDIRECT),
    ([(0, 24, NEXT, 1), (0, 24, NEXT, 0)], None, INDIRECT),
    ([(0, 24, NEXT, 2)], None, INDIRECT),
    ([(0, 24, NEXT, 0xffff)], None, INDIRECT),
    ([(0, 24, INDIRECT, 0)], None, INDIRECT),
    ([(0, 24, 0, 0)], 0, INDIRECT),
    ([(0, 24, 0, 0)], 8, INDIRECT),
    ([(0, 24, 0, 0)], 24, INDIRECT),
    ([(0, 24, 0, 0)], 0xfffffff0, INDIRECT),
    ([(0, 24, 0, 0)], None, INDIRECT | NEXT),
], ids=["loop of 1", "loop of 2", "next outside", "next far outside", "table in a table", "empty",
        "half an entry", "one and a half", "huge", "indirect and next"])
def test_wrong_indirect_table(function, entries, length, flags):
    indirect(function, entries, length, flags)
    needs_reset(function)


def test_indirect_table_outside_memory(function):
    queue = function.start(VERSION_1 | INDIRECT_DESC).queues[0]
    queue.describe(0, 0xdead0000, 32, INDIRECT)
    queue.offer(0)
    needs_reset(function)


def test_readable_after_writable(function):
    queue = function.start().queues[0]
    queue.describe(0, function.ram.base, 24, NEXT | WRITE, 1)
    queue.describe(1, function.ram.base, 24, 0)
    queue.offer(0)
    needs_reset(function)


def test_chain_offered_twice(function):
    """The first is given back before the second is taken, so both are served; no harm is done."""
    queue = function.start().queues[0]
    queue.describe(0, function.ram.base, 24)
    queue.offer(0)
    queue.offer(0)
    function.notify(0)
    while queue.used_index() != 2:
        assert not function.status & NEEDS_RESET
    assert Gpu(function).display_info()


@pytest.mark.parametrize("address, length", [
    (0, 24), (0xdead0000, 24), ((1 << 64) - 8, 24), ((1 << 64) - 24, 24), (0x100000 - 8, 24),
    (0x100000 + (16 << 20) - 8, 24)])
def test_request_outside_memory_is_given_back(function, address, length):
    queue = function.start().queues[0]
    response = function.ram.allocate(408)
    queue.describe(0, address, length, NEXT, 1)
    queue.describe(1, response, 408, WRITE)
    queue.offer(0)
    function.notify(0)
    function.wait_for_event(1)
    assert queue.used_entry(0) == (0, 0)
    assert function.ram.get(response, 408) == bytes(408)
    assert Gpu(function).display_info()


@pytest.mark.parametrize("address", [0, 0xdead0000, (1 << 64) - 100, 0x100000 + (16 << 20) - 100])
def test_response_outside_memory_goes_nowhere(function, address):
    queue = function.start().queues[0]
    request = function.ram.allocate(24)
    function.ram.put(request, vg.header(vg.GET_DISPLAY_INFO))
    queue.describe(0, request, 24, NEXT, 1)
    queue.describe(1, address, 408, WRITE)
    queue.offer(0)
    function.notify(0)
    function.wait_for_event(1)
    assert queue.used_index() == 1
    assert Gpu(function).display_info()


def test_response_into_its_own_rings_harms_only_the_guest(function):
    queue = function.start().queues[0]
    request = function.ram.allocate(24)
    function.ram.put(request, vg.header(vg.GET_DISPLAY_INFO))
    queue.describe(0, request, 24, NEXT, 1)
    queue.describe(1, queue.used, 408, WRITE)
    queue.offer(0)
    function.notify(0)
    assert function.status & DRIVER_OK
    function.ram.forget()
    function.start()
    assert Gpu(function).display_info()


# --- queues at wrong places ---

GOOD = 0x100000 + 0x100000


@pytest.mark.parametrize("size, descriptors, available, used", [
    (0, GOOD, GOOD + 0x4000, GOOD + 0x8000), (3, GOOD, GOOD + 0x4000, GOOD + 0x8000),
    (0xffff, GOOD, GOOD + 0x4000, GOOD + 0x8000), (0x8000, GOOD, GOOD + 0x4000, GOOD + 0x8000),
    (16, 0, GOOD, GOOD + 0x8000), (16, GOOD, 0xdead0000, GOOD + 0x8000),
    (16, GOOD, GOOD + 0x4000, 0xdead0000),
    (16, (1 << 64) - 256, GOOD, GOOD + 0x8000),
    (16, GOOD, (1 << 64) - 4, GOOD + 0x8000), (16, GOOD, GOOD + 0x4000, (1 << 64) - 4),
    (16, GOOD + 8, GOOD + 0x4000, GOOD + 0x8000), (16, GOOD, GOOD + 0x4001, GOOD + 0x8000),
    (16, GOOD, GOOD + 0x4000, GOOD + 0x8002),
    (16, 0x100000 + (16 << 20) - 255, GOOD, GOOD + 0x8000)])
def test_queue_at_a_wrong_place_needs_a_reset(function, size, descriptors, available, used):
    function.use_msix()
    function.negotiate()
    assert not function.enable(0, size, descriptors, available, used)
    assert function.status & NEEDS_RESET
    function.notify(0)
    function.start()
    assert Gpu(function).display_info()


def test_queue_in_memory_without_a_file_names_the_missing_option(device, function):
    start = len(device.log())
    function.client.dma_map(0x80000000, 1 << 20)
    function.negotiate()
    assert not function.enable(0, 16, 0x80000000, 0x80004000, 0x80008000)
    assert function.status & NEEDS_RESET
    said = device.wait_for_log(r"memory-backend-memfd.*share=on", start)
    assert not function.enable(0, 16, 0x80000000, 0x80004000, 0x80008000)
    assert device.log()[start:].count("memory-backend-memfd") == 1, said


def test_private_memory_names_the_missing_option(device, function):
    """share=off: the device's file stays zero, whatever the guest writes."""
    start = len(device.log())
    function.start()
    function.notify(0)
    device.wait_for_log(r"share=on", start)


@pytest.mark.parametrize("flags", [1])
def test_rings_in_read_only_memory_are_refused(function, flags):
    ram = Ram(1 << 20, base=0x80000000)
    function.client.dma_map(ram.base, ram.size, ram.fd, flags=flags)
    function.negotiate()
    assert not function.enable(0, 16, ram.base, ram.base + 0x4000, ram.base + 0x8000)
    assert function.status & NEEDS_RESET
    ram.close()


def test_memory_goes_while_queues_are_enabled(function):
    function.start()
    ram = function.ram
    function.client.dma_unmap(ram.base, ram.size)
    function.queues[0].offer(0)
    function.notify(0)
    function.notify(1)
    assert function.status & DRIVER_OK
    function.client.dma_map(ram.base, ram.size, ram.fd)
    function.ram.forget()
    function.start()
    assert Gpu(function).display_info()


def test_memory_truncated_under_us_ends_only_the_client(device):
    """Our mapping of the VMM's file would end the process by SIGBUS."""
    function = Function(device.socket_path)
    gpu = Gpu(function.start())
    assert gpu.create_2d(1, 64, 64) == vg.OK_NODATA
    memory = function.ram.allocate(1 << 20)
    assert gpu.attach_backing(1, [(memory, 64 * 64 * 4)]) == vg.OK_NODATA
    function.ram.memory.close()
    os.ftruncate(function.ram.fd, 0)
    try:
        for _ in range(3):
            function.notify(0)
            function.notify(1)
        assert function.client.is_closed_by_server()
    except Closed:
        pass
    function.client.close()
    os.close(function.ram.fd)
    for event in function.events:
        os.close(event)


def test_queues_before_driver_ok_are_not_served(function):
    function.use_msix()
    function.negotiate()
    queue = Queue(function.ram, 16)
    assert function.enable(0, 16, queue.descriptors, queue.available, queue.used, 1)
    request = function.ram.allocate(24)
    function.ram.put(request, vg.header(vg.GET_DISPLAY_INFO))
    queue.describe(0, request, 24)
    queue.offer(0)
    function.notify(0)
    assert function.status & DRIVER_OK == 0
    assert queue.used_index() == 0
    function.status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
    function.wait_for_event(1)
    assert queue.used_index() == 1


def test_features_that_are_not_offered_are_not_agreed(function):
    function.negotiate(VERSION_1 | 1 << 40)
    assert function.status == ACKNOWLEDGE | DRIVER
    function.negotiate(EVENT_IDX)
    assert function.status == ACKNOWLEDGE | DRIVER


def test_random_driver_harms_nobody(function):
    """Random rings and tables, many rounds, a reset between them."""
    source = random.Random(3)
    for _ in range(40):
        function.ram.forget()
        function.start(VERSION_1 | source.choice((0, EVENT_IDX, INDIRECT_DESC)))
        for queue in function.queues:
            function.ram.put(queue.descriptors, b"".join(
                struct.pack("<QIHH", function.ram.base + source.randrange(1 << 21),
                            source.choice((0, 24, 48, 4096, 1 << 20, 0xffffffff)),
                            source.randrange(8), source.randrange(18)) for _ in range(16)))
            for _ in range(source.randrange(20)):
                queue.offer(source.randrange(17))
        for number in (0, 1, 0):
            function.notify(number)
        assert function.status & DRIVER_OK
    function.ram.forget()
    function.start()
    assert Gpu(function).display_info()
