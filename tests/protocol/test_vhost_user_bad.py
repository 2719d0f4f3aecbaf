# SPDX-License-Identifier: Apache-2.0
"""vhost-user, generic device: what bad front ends get. After each test the fixture `device` looks
that the process lives, holds no file more than at its start, and serves the next front end."""

import os
import random
import socket
import struct

import pytest

from lingering import Lingering
from vfio_user_client import INDIRECT, NEXT, WRITE, Queue
from vhost_user_client import (
    ADD_MEM_REG, BACKEND_SHMEM_MAP, CONFIG, EVENT_IDX, GET_CONFIG, GET_FEATURES,
    GET_MAX_MEM_SLOTS, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_SHMEM_CONFIG, GET_VRING_BASE,
    GPU_SET_SOCKET, NEED_REPLY, NO_FD, PROTOCOL_FEATURES, REM_MEM_REG, REPLY, REPLY_ACK,
    RESET_DEVICE, RESET_OWNER, SET_BACKEND_REQ_FD, SET_CONFIG, SET_FEATURES, SET_LOG_BASE,
    SET_LOG_FD, SET_MEM_TABLE, SET_OWNER, SET_PROTOCOL_FEATURES, SET_VRING_ADDR, SET_VRING_BASE,
    SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_ERR, SET_VRING_KICK, SET_VRING_NUM, USER, VERSION,
    VERSION_1, Closed, Connection, FrontEnd, Refused, file_of, send_with_fds)
from vhost_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import GET_EDID, OK_NODATA, Gpu, header

TRANSPORT = "vhost-user"

# request: (payload that is well formed, number of files)
WELL_FORMED = {
    GET_FEATURES: (b"", 0), SET_FEATURES: (struct.pack("<Q", VERSION_1), 0),
    SET_OWNER: (b"", 0), RESET_OWNER: (b"", 0),
    SET_MEM_TABLE: (struct.pack("<II", 1, 0) + struct.pack("<QQQQ", 0, 4096, 0, 0), 1),
    SET_VRING_NUM: (struct.pack("<II", 0, 16), 0),
    SET_VRING_ADDR: (struct.pack("<IIQQQQ", 0, 0, 0, 0, 0, 0), 0),
    SET_VRING_BASE: (struct.pack("<II", 0, 0), 0), GET_VRING_BASE: (struct.pack("<II", 0, 0), 0),
    SET_VRING_KICK: (struct.pack("<Q", 0), 1), SET_VRING_CALL: (struct.pack("<Q", 0), 1),
    SET_VRING_ERR: (struct.pack("<Q", 0), 1), GET_PROTOCOL_FEATURES: (b"", 0),
    SET_PROTOCOL_FEATURES: (struct.pack("<Q", REPLY_ACK), 0), GET_QUEUE_NUM: (b"", 0),
    SET_VRING_ENABLE: (struct.pack("<II", 0, 1), 0), SET_BACKEND_REQ_FD: (b"", 1),
    GET_CONFIG: (struct.pack("<III", 0, 4, 0) + bytes(4), 0),
    SET_CONFIG: (struct.pack("<III", 4, 4, 0) + bytes(4), 0), RESET_DEVICE: (b"", 0),
    GET_MAX_MEM_SLOTS: (b"", 0), ADD_MEM_REG: (struct.pack("<QQQQQ", 0, 0, 4096, 0, 0), 1),
    REM_MEM_REG: (struct.pack("<QQQQQ", 0, 0, 4096, 0, 0), 0), GET_SHMEM_CONFIG: (b"", 0),
}
ANSWERED = {GET_FEATURES, GET_VRING_BASE, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_CONFIG,
            GET_MAX_MEM_SLOTS, GET_SHMEM_CONFIG}


def refused(front_end, request, payload=b"", fds=(), **kwargs):
    """The request is refused, and the connection goes on."""
    with pytest.raises(Refused):
        front_end.tell(request, payload, fds, **kwargs)
    assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)


def ends(front_end, request, payload=b"", fds=(), **kwargs):
    """The request ends the connection."""
    front_end.send(request, payload, fds, **kwargs)
    assert front_end.is_closed_by_device()


# --- frames ---

@pytest.mark.parametrize("flags", [0, 2, 3, VERSION | REPLY, REPLY, VERSION | REPLY | NEED_REPLY])
def test_wrong_version_or_reply_flag_ends_the_client(front_end, flags):
    ends(front_end, GET_FEATURES, flags=flags)


@pytest.mark.parametrize("size", [4097, 65536, 1 << 31, 0xffffffff])
def test_length_beyond_all_messages_ends_the_client(front_end, size):
    ends(front_end, SET_MEM_TABLE, bytes(64), size=size)


@pytest.mark.parametrize("request_number", [0, 19, 20, 22, 23, 26, 27, 28, 29, 30, 31, 32, 35, 39,
                                            40, 41, 42, 43, 45, 100, 0xffffffff])
def test_message_that_is_not_served(front_end, request_number):
    refused(front_end, request_number)
    refused(front_end, request_number, bytes(40))
    ends(front_end, request_number)


def wrong_lengths():
    """(request, length) of payloads that are too short or too long for their message."""
    for request, (payload, _) in sorted(WELL_FORMED.items()):
        for change in (-8, -4, -1, 1, 4, 8, 64, 2048):
            length = len(payload) + change
            if length < 0 or (request == SET_BACKEND_REQ_FD and length <= 8):
                continue  # QEMU sends this one with eight bytes
            if request == SET_MEM_TABLE and change == 64:
                length += 1  # room for more regions is allowed
            if request == GET_CONFIG and 12 <= length <= 12 + 256:
                continue  # answered with an error of its own, see below
            yield request, length


@pytest.mark.parametrize("request_number,length", wrong_lengths())
def test_payload_of_a_wrong_length(front_end, request_number, length):
    payload, files = WELL_FORMED[request_number]
    payload = (payload + bytes(4096))[:length]
    files = [front_end.eventfd() for _ in range(files)]
    if request_number not in ANSWERED:
        refused(front_end, request_number, payload, files)
    ends(front_end, request_number, payload, files)


@pytest.mark.parametrize("request_number", sorted(WELL_FORMED))
@pytest.mark.parametrize("files", [1, 2, 3, 32])
def test_files_that_do_not_belong(device, request_number, files):
    payload, wanted = WELL_FORMED[request_number]
    count = wanted + files
    if count > 32 or (request_number == REM_MEM_REG and files == 1):
        count = wanted + 31
    with FrontEnd(device.socket_path) as front_end:
        fds = [front_end.eventfd() for _ in range(count)]
        if request_number not in ANSWERED:
            refused(front_end, request_number, payload, fds)
        ends(front_end, request_number, payload, fds)


@pytest.mark.parametrize("request_number", [SET_MEM_TABLE, SET_VRING_KICK, SET_VRING_CALL,
                                            SET_VRING_ERR, SET_BACKEND_REQ_FD, ADD_MEM_REG])
def test_missing_file(device, request_number):
    payload, _ = WELL_FORMED[request_number]
    with FrontEnd(device.socket_path) as front_end:
        refused(front_end, request_number, payload)
        ends(front_end, request_number, payload)


@pytest.mark.parametrize("count", [33, 64, 65, 200])
def test_more_files_than_any_message_has_end_the_client(front_end, count):
    fds = [front_end.eventfd() for _ in range(count)]
    ends(front_end, SET_MEM_TABLE, struct.pack("<II", 1, 0) + bytes(32), fds)


def test_files_with_every_byte_of_a_header(front_end):
    """Files belong to the first byte; they may not pile up."""
    fds = [front_end.eventfd() for _ in range(16)]
    with pytest.raises((Closed, AssertionError)):
        for byte in struct.pack("<III", SET_OWNER, VERSION, 0):
            send_with_fds(front_end.socket, bytes([byte]), fds)
        assert not front_end.is_closed_by_device()


@pytest.mark.parametrize("length", range(1, 12))
def test_client_that_vanishes_within_a_header(device, length):
    connection = Connection(device.socket_path)
    send_with_fds(connection.socket, struct.pack("<III", SET_MEM_TABLE, VERSION, 40)[:length], [0])
    connection.close()


@pytest.mark.parametrize("request_number", sorted(WELL_FORMED))
def test_client_that_vanishes_within_a_message(device, request_number):
    payload, files = WELL_FORMED[request_number]
    with FrontEnd(device.socket_path) as front_end:
        front_end.send(request_number, payload[:-1], [front_end.eventfd()] * files,
                       size=len(payload) or 1)


@pytest.mark.parametrize("stage", range(9))
def test_client_that_vanishes_at_each_stage(device, stage):
    front_end = FrontEnd(device.socket_path, negotiate=False)
    steps = [
        front_end.negotiate,
        lambda: front_end.send(SET_FEATURES, struct.pack("<Q", VERSION_1 | PROTOCOL_FEATURES)),
        front_end.give_backend_channel,
        front_end.start,
        lambda: Gpu(front_end).create_2d(1, 64, 64),
        lambda: Gpu(front_end).set_scanout(0, 1, 0, 0, 64, 64),
        lambda: front_end.offer_command(header(GET_EDID) + bytes(8), 2048),
        lambda: front_end.send(RESET_DEVICE),
    ]
    for step in steps[:stage]:
        step()
    front_end.close()


def test_client_that_does_not_read_is_dropped_and_costs_a_bounded_amount(device):
    connection = Connection(device.socket_path)
    connection.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", 1 << 22))
    connection.socket.settimeout(5)
    block = struct.pack("<III", GET_SHMEM_CONFIG, VERSION, 0) * 100
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(10_000):
            connection.socket.sendall(block)
    connection.close()


# --- negotiation ---

@pytest.mark.parametrize("bit", [0, 4, 5, 23, 25, 26, 31, 33, 34, 35, 37, 38, 39, 41, 63])
def test_features_that_were_not_offered(device, bit):
    with FrontEnd(device.socket_path) as front_end:
        refused(front_end, SET_FEATURES, struct.pack("<Q", VERSION_1 | 1 << bit))
        ends(front_end, SET_FEATURES, struct.pack("<Q", VERSION_1 | 1 << bit))


def test_features_do_not_change_while_a_ring_runs(running):
    refused(running, SET_FEATURES, struct.pack("<Q", running.features | EVENT_IDX))
    refused(running, SET_FEATURES, struct.pack("<Q", VERSION_1 | PROTOCOL_FEATURES))
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


@pytest.mark.parametrize("bit", [1, 2, 4, 6, 7, 8, 11, 12, 14, 16, 17, 18, 19, 20, 21, 23, 63])
def test_protocol_features_that_were_not_offered(front_end, bit):
    refused(front_end, SET_PROTOCOL_FEATURES, struct.pack("<Q", REPLY_ACK | 1 << bit))
    ends(front_end, SET_PROTOCOL_FEATURES, struct.pack("<Q", 1 << bit))


@pytest.mark.parametrize("request_number", [SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG,
                                            RESET_DEVICE, GET_MAX_MEM_SLOTS, ADD_MEM_REG,
                                            REM_MEM_REG, GET_SHMEM_CONFIG])
def test_message_whose_feature_was_not_negotiated(device, request_number):
    payload, files = WELL_FORMED[request_number]
    with FrontEnd(device.socket_path, protocol_features=REPLY_ACK) as front_end:
        fds = [front_end.eventfd() for _ in range(files)]
        if request_number not in ANSWERED:
            refused(front_end, request_number, payload, fds)
        ends(front_end, request_number, payload, fds)


def test_display_socket_is_not_for_the_generic_device(front_end):
    refused(front_end, GPU_SET_SOCKET, fds=[front_end.socket.fileno()])


def test_logging_is_refused(running):
    refused(running, SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [running.ram.fd])
    refused(running, SET_LOG_BASE, struct.pack("<Q", 0))
    refused(running, SET_LOG_FD, fds=[running.eventfd()])
    running.send(SET_LOG_FD, fds=[running.eventfd()])
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


# --- memory ---

def bad_tables(front_end):
    region, size, base = front_end.region, front_end.ram.size, front_end.ram.base
    return [
        [region(size=0)],
        [region(address=(1 << 64) - 4096, user=0)],
        [region(user=(1 << 64) - 4096)],
        [region(offset=(1 << 64) - 4096)],
        [region(offset=4096)],
        [region(size=size + 1)],
        [region(size=1 << 62)],
        [region(), region()],
        [region(), region(address=base + size - 1)],
        [region(), region(address=base + size, user=USER + base + 1)],
        [region(size=size // 2), region(address=base - 4096, size=8192)],
    ]


@pytest.mark.parametrize("number", range(11))
def test_bad_memory_table(front_end, number):
    table = bad_tables(front_end)[number]
    with pytest.raises(Refused):
        front_end.set_mem_table(table)
    front_end.set_mem_table()
    front_end.start()
    assert Gpu(front_end).create_2d(1, 8, 8) == OK_NODATA


@pytest.mark.parametrize("number", range(11))
def test_bad_region(running, number):
    for region in bad_tables(running)[number]:
        with pytest.raises(Refused):
            running.add_region(region)
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


@pytest.mark.parametrize("count,files,size", [(2, 1, 2), (1, 2, 2), (33, 32, 33), (0xffffffff, 1, 1),
                                              (2, 2, 1), (0, 1, 0), (8, 8, 7)])
def test_memory_table_whose_counts_differ(front_end, count, files, size):
    with pytest.raises(Refused):
        front_end.set_mem_table([front_end.region()] * size, [front_end.ram.fd] * files, count)
    assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)


def test_region_of_something_that_cannot_be_mapped(front_end):
    read, write = os.pipe()
    for fd in (front_end.eventfd(), front_end.socket.fileno(), read, os.open("/", os.O_RDONLY),
               os.open("/dev/null", os.O_RDWR)):
        with pytest.raises(Refused):
            front_end.add_region(fds=[fd])
        with pytest.raises(Refused):
            front_end.set_mem_table(fds=[fd])
        if fd not in front_end.opened and fd != front_end.socket.fileno():
            os.close(fd)
    os.close(write)


def test_region_of_a_file_that_may_not_be_written(front_end):
    fd = os.open(f"/proc/self/fd/{front_end.ram.fd}", os.O_RDONLY)
    with pytest.raises(Refused):
        front_end.add_region(fds=[fd])
    os.close(fd)


def test_region_that_is_not_there_cannot_be_removed(running):
    for region in (running.region(address=0), running.region(size=4096), running.region(user=0)):
        with pytest.raises(Refused):
            running.remove_region(region)
    running.remove_region()
    with pytest.raises(Refused):
        running.remove_region()


def test_memory_that_is_truncated_ends_the_client_and_not_the_device(running):
    os.ftruncate(running.ram.fd, 0)
    running.kick(0)
    running.kick(1)
    assert running.is_closed_by_device()


def test_memory_that_is_truncated_before_the_rings_start(front_end):
    front_end.start()
    bases = [front_end.stop_ring(index) for index in range(2)]
    queues = front_end.queues
    os.ftruncate(front_end.ram.fd, 0)
    with pytest.raises((Closed, Refused)):
        for index, base in enumerate(bases):
            front_end.start_ring(index, queues[index], base)
        front_end.kick(0)
        for _ in range(1000):
            front_end.tell(SET_OWNER)
            front_end.kick(0)


def test_backing_that_is_truncated_is_survived(running):
    gpu = Gpu(running)
    fd = file_of(1 << 20)
    running.add_region(running.region(1 << 32, 1 << 20), [fd])
    assert gpu.create_2d(1, 256, 256) == OK_NODATA
    assert gpu.attach_backing(1, [(1 << 32, 1 << 18)]) == OK_NODATA
    os.ftruncate(fd, 0)
    os.close(fd)
    try:
        gpu.transfer(1, 0, 0, 256, 256)
    except AssertionError:
        pass  # dropped before it was answered
    assert running.is_closed_by_device()


# --- rings ---

@pytest.mark.parametrize("index", [2, 3, 255, 256, 0x7fffffff, 0xffffffff])
def test_ring_that_does_not_exist(device, index):
    with FrontEnd(device.socket_path) as front_end:
        front_end.start()
        state = struct.pack("<II", index, 1)
        for request in (SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE):
            refused(front_end, request, state)
        refused(front_end, SET_VRING_ADDR, struct.pack("<IIQQQQ", index, 0, USER, USER, USER, 0))
        for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
            refused(front_end, request, struct.pack("<Q", index), [front_end.eventfd()])
        ends(front_end, GET_VRING_BASE, state)


@pytest.mark.parametrize("size", [0, 3, 15, 1025, 2048, 32768, 65536, 65552, 0xffffffff])
def test_ring_size_that_is_not_possible(front_end, size):
    refused(front_end, SET_VRING_NUM, struct.pack("<II", 0, size))


@pytest.mark.parametrize("base", [65536, 0x80000000, 0xffffffff])
def test_ring_base_that_is_not_possible(front_end, base):
    refused(front_end, SET_VRING_BASE, struct.pack("<II", 0, base))


@pytest.mark.parametrize("value", [2, 256, 0xffffffff])
def test_ring_neither_enabled_nor_disabled(running, value):
    refused(running, SET_VRING_ENABLE, struct.pack("<II", 0, value))
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


@pytest.mark.parametrize("part", ["descriptors", "used", "available"])
@pytest.mark.parametrize("address", [0, 1, USER - 4096, USER + 0x100000 + (16 << 20) - 8,
                                     USER + (1 << 40), (1 << 64) - 16, (1 << 64) - 1,
                                     USER + 0x100001])
def test_ring_address_outside_memory_or_misaligned(front_end, part, address):
    front_end.start()
    base = front_end.stop_ring(0)
    with pytest.raises(Refused):
        front_end.set_addresses(0, front_end.queues[0], **{part: address})
    front_end.start_ring(0, front_end.queues[0], base)
    assert Gpu(front_end).create_2d(1, 8, 8) == OK_NODATA


@pytest.mark.parametrize("flags", [1, 2, 0xffffffff])
def test_ring_flags_are_not_offered(front_end, flags):
    front_end.start()
    front_end.stop_ring(0)
    with pytest.raises(Refused):
        front_end.set_addresses(0, front_end.queues[0], flags)


def test_ring_without_valid_addresses_never_runs(front_end):
    front_end.start()
    base = front_end.stop_ring(0)
    queue = front_end.queues[0]
    with pytest.raises(Refused):
        front_end.set_addresses(0, queue, used=0)
    front_end.tell(SET_VRING_BASE, struct.pack("<II", 0, base))
    front_end.tell(SET_VRING_KICK, struct.pack("<Q", 0), [front_end.kicks[0]])
    front_end.offer_command(header(GET_EDID) + bytes(8), 2048)
    front_end.ask(GET_QUEUE_NUM)
    assert queue.used_index() == 0


def test_ring_that_runs_does_not_change(running):
    queue = running.queues[0]
    refused(running, SET_VRING_NUM, struct.pack("<II", 0, queue.size * 2))
    refused(running, SET_VRING_BASE, struct.pack("<II", 0, 7))
    with pytest.raises(Refused):
        running.set_addresses(0, Queue(running.ram, 64))
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


@pytest.mark.parametrize("word", [1 << 9, 1 << 16, 1 << 32, 1 << 63])
def test_ring_word_with_unknown_bits(front_end, word):
    for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
        refused(front_end, request, struct.pack("<Q", word), [front_end.eventfd()])


def test_ring_word_and_files_that_disagree(front_end):
    for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
        refused(front_end, request, struct.pack("<Q", NO_FD), [front_end.eventfd()])
        refused(front_end, request, struct.pack("<Q", 0))


def test_polling_is_refused(front_end):
    refused(front_end, SET_VRING_KICK, struct.pack("<Q", NO_FD))


def test_notifier_that_could_block(front_end):
    files = [file_of(4096), os.open("/dev/zero", os.O_RDWR), os.open("/", os.O_RDONLY)]
    for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
        for fd in files:
            refused(front_end, request, struct.pack("<Q", 0), [fd])
    for fd in files:
        os.close(fd)


def test_kick_fd_that_is_always_readable_is_no_busy_loop(running, device):
    ours, theirs = socket.socketpair()
    running.tell(SET_VRING_KICK, struct.pack("<Q", 0), [theirs.fileno()])
    theirs.close()
    ours.shutdown(socket.SHUT_WR)
    read, write = os.pipe()
    running.tell(SET_VRING_KICK, struct.pack("<Q", 1), [read])
    os.close(read)
    os.close(write)
    before = device.cpu_seconds()
    running.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        running.socket.recv(1)
    assert device.cpu_seconds() - before < 0.1
    ours.close()


def test_call_fd_that_is_full_does_not_block(running):
    os.eventfd_write(running.calls[0], (1 << 64) - 2)
    for _ in range(4):
        before = running.queues[0].used_index()
        running.offer_command(header(GET_EDID) + bytes(8), 2048)
        while running.queues[0].used_index() == before:
            running.ask(GET_QUEUE_NUM)


# --- descriptors ---

def breaks(front_end):
    """The ring is served no more; the error fd tells; the client and the other ring go on."""
    error = front_end.eventfd()
    front_end.tell(SET_VRING_ERR, struct.pack("<Q", 0), [error])
    front_end.kick(0)
    front_end.ask(GET_QUEUE_NUM)
    os.set_blocking(error, True)
    assert os.eventfd_read(error) == 1
    front_end.kick(0)
    assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)
    for index in range(2):
        front_end.stop_ring(index)
    front_end.tell(RESET_DEVICE)
    front_end.start()
    assert Gpu(front_end).create_2d(1, 8, 8) == OK_NODATA


def test_descriptor_loop(running):
    queue = running.queues[0]
    at = running.ram.allocate(4096)
    queue.describe(0, at, 24, NEXT, 1)
    queue.describe(1, at, 24, NEXT, 0)
    queue.offer(0)
    breaks(running)


def test_descriptor_that_follows_itself(running):
    queue = running.queues[0]
    queue.describe(0, running.ram.allocate(64), 24, NEXT, 0)
    queue.offer(0)
    breaks(running)


@pytest.mark.parametrize("head", [64, 1024, 65535])
def test_head_past_the_table(running, head):
    running.queues[0].offer(head)
    breaks(running)


@pytest.mark.parametrize("follow", [64, 65535])
def test_next_past_the_table(running, follow):
    running.queues[0].describe(0, running.ram.base, 24, NEXT, follow)
    running.queues[0].offer(0)
    breaks(running)


@pytest.mark.parametrize("index", [66, 1000, 32768, 65535])
def test_available_index_too_far_ahead(running, index):
    running.queues[0].offer(0, index)
    breaks(running)


@pytest.mark.parametrize("length", [0, 8, 17, 0xfffffff0])
def test_indirect_table_of_a_wrong_size(running, length):
    running.queues[0].describe(0, running.ram.allocate(4096), length, INDIRECT)
    running.queues[0].offer(0)
    breaks(running)


def test_indirect_table_within_an_indirect_table(running):
    table = running.ram.allocate(4096)
    running.ram.put(table, struct.pack("<QIHH", table, 16, INDIRECT, 0))
    running.queues[0].describe(0, table, 16, INDIRECT)
    running.queues[0].offer(0)
    breaks(running)


def test_indirect_table_outside_memory(running):
    running.queues[0].describe(0, 1 << 50, 32, INDIRECT)
    running.queues[0].offer(0)
    breaks(running)


@pytest.mark.parametrize("address", [0, 1 << 40, (1 << 64) - 8])
def test_request_outside_memory_is_no_command(running, address):
    """A driver's bad buffer costs it that command at most; the device stays."""
    queue = running.queues[0]
    queue.describe(0, address, 64, NEXT, 1)
    queue.describe(1, running.ram.allocate(4096), 4096, WRITE)
    queue.offer(0)
    running.kick(0)
    assert running.ask(GET_QUEUE_NUM, form="<Q") == (2,)


@pytest.mark.parametrize("address", [0, 1 << 40, (1 << 64) - 8])
def test_response_outside_memory_is_not_written(running, address):
    queue = running.queues[0]
    at = running.ram.allocate(4096)
    running.ram.put(at, header(GET_EDID) + bytes(8))
    queue.describe(0, at, 32, NEXT, 1)
    queue.describe(1, address, 4096, WRITE)
    queue.offer(0)
    running.kick(0)
    assert running.ask(GET_QUEUE_NUM, form="<Q") == (2,)


# --- configuration space ---

@pytest.mark.parametrize("offset,size", [(0, 257), (256, 1), (1, 256), (0xffffffff, 4),
                                         (0xfffffffc, 8)])
def test_configuration_outside_the_space(front_end, offset, size):
    content = bytes(min(size, 256))
    if size <= 256:
        assert front_end.get_config(offset, size) is None
        with pytest.raises(Refused):
            front_end.set_config(offset, content)
    else:
        ends(front_end, GET_CONFIG, struct.pack("<III", offset, size, 0) + bytes(size))


@pytest.mark.parametrize("size,length", [(4, 0), (0, 4), (256, 4), (0xffffffff, 4), (4, 256)])
def test_configuration_whose_length_lies(device, size, length):
    with FrontEnd(device.socket_path) as front_end:
        assert front_end.get_config(0, size, bytes(length)) is None
        with pytest.raises(Refused):
            front_end.set_config(0, bytes(length), size=size)
        assert front_end.get_config(8, 4) == struct.pack("<I", 1)


# --- back-end channel ---

def test_back_end_channel_that_is_no_stream_socket(front_end):
    datagram, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    read, write = os.pipe()
    for fd in (front_end.eventfd(), front_end.ram.fd, read, datagram.fileno()):
        refused(front_end, SET_BACKEND_REQ_FD, fds=[fd])
    datagram.close()
    other.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("reply", [
    struct.pack("<IIIQ", BACKEND_SHMEM_MAP, VERSION | REPLY, 8, 0),  # nobody asked
    struct.pack("<IIIQ", 2, VERSION | REPLY, 8, 0),
    struct.pack("<IIIQ", BACKEND_SHMEM_MAP, VERSION, 8, 0),
    struct.pack("<IIIQ", BACKEND_SHMEM_MAP, 0, 8, 0),
    struct.pack("<III", BACKEND_SHMEM_MAP, VERSION | REPLY, 0),
    struct.pack("<III", BACKEND_SHMEM_MAP, VERSION | REPLY, 0xffffffff),
    bytes(64), b"\xff" * 64,
], ids=range(8))
def test_odd_answer_on_the_back_end_channel_ends_the_client(running, reply):
    running.give_backend_channel().sendall(reply)
    assert running.is_closed_by_device()


def test_answer_with_a_file_ends_the_client(running):
    backend = running.give_backend_channel()
    send_with_fds(backend, struct.pack("<IIIQ", BACKEND_SHMEM_MAP, VERSION | REPLY, 8, 0),
                  [running.ram.fd])
    assert running.is_closed_by_device()


def test_half_an_answer_stalls_nothing(running):
    running.give_backend_channel().sendall(b"\x09\0\0")
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


# --- all together ---

@pytest.mark.parametrize("seed", range(20))
def test_random_messages(device, seed):
    """Well-formed messages in any order, with random values in them: answered or refused."""
    dice = random.Random(seed)
    with FrontEnd(device.socket_path) as front_end:
        front_end.start()
        for _ in range(200):
            request = dice.choice(list(WELL_FORMED))
            payload, files = WELL_FORMED[request]
            payload = bytearray(payload)
            for _ in range(dice.randrange(3)):
                if payload:
                    payload[dice.randrange(len(payload))] = dice.choice([0, 1, 2, 16, 255])
            if request == SET_PROTOCOL_FEATURES:
                continue
            fds = [dice.choice([front_end.ram.fd, front_end.eventfd()]) for _ in range(files)]
            try:
                if request in ANSWERED:
                    front_end.ask(request, bytes(payload))
                else:
                    front_end.tell(request, bytes(payload), fds)
            except Refused:
                pass
            except Closed:
                return
            for fd in front_end.opened:
                os.close(fd)
            front_end.opened.clear()


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(device, seed):
    dice = random.Random(1000 + seed)
    with Connection(device.socket_path) as connection:
        try:
            for _ in range(20):
                send_with_fds(connection.socket, dice.randbytes(dice.randrange(1, 300)),
                              [0] * dice.randrange(4))
        except Closed:
            pass


def test_features_without_configuration_space(device):
    with FrontEnd(device.socket_path, protocol_features=REPLY_ACK) as front_end:
        ends(front_end, GET_CONFIG, WELL_FORMED[GET_CONFIG][0])
    with FrontEnd(device.socket_path, protocol_features=CONFIG) as front_end:
        assert front_end.get_config(8, 4) == struct.pack("<I", 1)


# --- files whose close() waits ---

def test_file_that_lingers_in_a_refused_request(device, front_end):
    with Lingering() as lingering:
        lingering.give(device, lambda fd: front_end.send(ADD_MEM_REG, WELL_FORMED[ADD_MEM_REG][0],
                                                         [fd], flags=VERSION | NEED_REPLY))
        assert front_end.receive(ADD_MEM_REG) != bytes(8)
        assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)


def test_file_that_lingers_in_what_is_not_read(device):
    with Lingering() as lingering, FrontEnd(device.socket_path) as front_end:
        def send(fd):
            front_end.send(GET_FEATURES, flags=0)  # the end
            front_end.send(SET_VRING_ERR, WELL_FORMED[SET_VRING_ERR][0], [fd])
        lingering.give(device, send)
        assert front_end.is_closed_by_device()
        with FrontEnd(device.socket_path) as other:
            assert other.ask(GET_QUEUE_NUM, form="<Q") == (2,)


def test_file_that_lingers_on_the_back_end_channel(device):
    with Lingering() as lingering, FrontEnd(device.socket_path) as front_end:
        channel = front_end.give_backend_channel()
        lingering.give(device, lambda fd: socket.send_fds(channel, [b"?"], [fd]))
        assert front_end.is_closed_by_device()  # no file belongs there
        with FrontEnd(device.socket_path) as other:
            assert other.ask(GET_QUEUE_NUM, form="<Q") == (2,)


@pytest.mark.parametrize("request_type", [SET_VRING_CALL, SET_VRING_ERR, SET_VRING_KICK])
def test_file_that_lingers_as_a_notifier(device, front_end, request_type):
    with Lingering() as lingering:
        lingering.give(device, lambda fd: front_end.send(request_type, struct.pack("<Q", 0), [fd]))
        front_end.send(request_type, struct.pack("<Q", 0), [front_end.eventfd()])
        assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)
