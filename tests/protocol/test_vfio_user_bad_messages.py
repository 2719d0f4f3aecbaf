# SPDX-License-Identifier: Apache-2.0
"""vfio-user: messages that are wrong. A whole one gets an error reply and the client goes on; one
that breaks the framing ends the client. Never the process: the fixture `device` looks each time."""

import errno
import json
import os
import random
import socket
import struct

import pytest

from lingering import Lingering
from vfio_user_client import (
    BAR0, BAR2, BAR4, CAPABILITIES, COMMON, CONFIG, DATA_BOOL, DATA_EVENTFD, DATA_NONE,
    DEVICE_FEATURE, DEVICE_RESET, DMA_MAP, DMA_READ, DMA_UNMAP, DMA_WRITE, ERR_IRQ, ERROR, GET_INFO,
    GET_IRQ_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, INTX, MASK, MSI, MSIX, NO_REPLY, REGION_READ,
    REGION_WRITE, REGION_WRITE_MULTI, REPLY, REQ_IRQ, ROM, SET_IRQS, TRIGGER, UNMASK, VERSION, VGA,
    Client, Closed, Connection, Refused)
from vfio_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import

ALL_COMMANDS = [VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS,
                GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE,
                DEVICE_RESET, REGION_WRITE_MULTI, DEVICE_FEATURE]
HUGE = (1 << 64) - 1

# A right payload of each command, to be cut and lengthened.
RIGHT = {
    DMA_MAP: struct.pack("<IIQQQ", 32, 3, 0, 0x1000, 0x1000),
    DMA_UNMAP: struct.pack("<IIQQ", 24, 2, 0, 0),
    GET_INFO: struct.pack("<IIII", 16, 0, 0, 0),
    GET_REGION_INFO: struct.pack("<IIIIQQ", 32, 0, BAR4, 0, 0, 0),
    GET_REGION_IO_FDS: struct.pack("<IIII", 16, 0, BAR2, 0),
    GET_IRQ_INFO: struct.pack("<IIII", 16, 0, MSIX, 0),
    SET_IRQS: struct.pack("<IIIII", 20, DATA_NONE | TRIGGER, MSIX, 0, 0),
    REGION_READ: struct.pack("<QII", 0, CONFIG, 4),
    REGION_WRITE: struct.pack("<QII", 4, CONFIG, 2) + b"\6\0",
    REGION_WRITE_MULTI: struct.pack("<QQIIQ", 1, COMMON + 0x16, BAR2, 2, 0),
}


def refused(client, command, payload=b"", fds=(), number=errno.EINVAL):
    """The command gets this error, and the client can go on."""
    with pytest.raises(Refused) as refusal:
        client.request(command, payload, fds)
    assert refusal.value.number == number
    assert client.info() == (16, 3, 9, 5)


def ends(connection):
    assert connection.is_closed_by_server()


@pytest.fixture
def fds():
    """Fds of all kinds, by name."""
    read_end, write_end = os.pipe()
    pair = socket.socketpair()
    made = {"memfd": os.memfd_create("a-file"), "event": os.eventfd(0),
            "directory": os.open("/", os.O_RDONLY), "null": os.open("/dev/null", os.O_RDWR),
            "read end": read_end, "write end": write_end, "socket": pair[0].fileno(),
            "path": os.open("/", os.O_PATH)}
    os.ftruncate(made["memfd"], 1 << 20)
    yield made
    for name, fd in made.items():
        if name != "socket":
            os.close(fd)
    for end in pair:
        end.close()


# --- framing ---

@pytest.mark.parametrize("size", [0, 1, 15])
def test_message_shorter_than_its_header_ends_the_client(client, size):
    client.send(GET_INFO, size=size)
    ends(client)


@pytest.mark.parametrize("size", [(1 << 20) + 33, 1 << 24, 1 << 31, 0xffffffff])
def test_message_longer_than_any_ends_the_client(client, size):
    client.send(REGION_WRITE, size=size)
    ends(client)


@pytest.mark.parametrize("kind", range(1, 16))
def test_message_that_is_no_command_ends_the_client(client, kind):
    client.send(GET_INFO, RIGHT[GET_INFO], flags=kind)
    ends(client)


@pytest.mark.parametrize("command", [DMA_READ, DMA_WRITE, GET_INFO])
def test_reply_that_nobody_asked_for_ends_the_client(client, command):
    client.send(command, bytes(16), flags=REPLY)
    ends(client)

@pytest.mark.parametrize("count", [9, 64, 253])
def test_more_fds_than_allowed_end_the_client(client, fds, count):
    try:
        client.send(DMA_MAP, RIGHT[DMA_MAP], [fds["memfd"]] * count)
    except Closed:
        pass
    ends(client)


def test_fds_in_the_middle_of_a_message_are_counted_too(client, fds):
    data = client.message(REGION_READ, RIGHT[REGION_READ])
    try:
        for i, byte in enumerate(data):
            client.send_bytes(bytes([byte]), [fds["memfd"]] if i % 2 else [])
    except Closed:
        pass
    ends(client)


def test_random_bytes_end_the_client_or_are_answered(device):
    source = random.Random(1)
    for _ in range(50):
        with Connection(device.socket_path) as connection:
            try:
                connection.send_bytes(source.randbytes(source.randrange(1, 4096)))
            except Closed:
                pass


# --- VERSION ---

@pytest.mark.parametrize("command", [c for c in ALL_COMMANDS if c != VERSION])
def test_nothing_is_served_before_the_version(device, command):
    with Client(device.socket_path, negotiate=False) as client:
        with pytest.raises(Refused):
            client.request(command, RIGHT.get(command, b""))
        client.version()
        assert client.info()[0] == 16


@pytest.mark.parametrize("major", [1, 2, 0xffff])
def test_other_major_version_ends_the_client(device, major):
    with Client(device.socket_path, negotiate=False) as client:
        with pytest.raises(Refused):
            client.version(major=major)
        ends(client)


def test_version_cannot_be_said_twice(client):
    refused(client, VERSION, struct.pack("<HH", 0, 1))


@pytest.mark.parametrize("text", [
    b"{", b"{}", b"null\0", b"[]\0", b"1\0", b"\"\"\0", b"\xff\xfe\xfd\0",
    b"{\"capabilities\":[]}\0",
    b"{\"capabilities\":{\"max_msg_fds\":-1}}\0", b"{\"capabilities\":{\"max_msg_fds\":\"8\"}}\0",
    b"{\"capabilities\":{\"max_msg_fds\":1e999}}\0", b"{}\0{}\0", b"{\0}\0",
    b"{\"capabilities\":{\"max_msg_fds\":184467440737095516150}}\0",
    b"{\"capabilities\":{\"pgsizes\":2097152}}\0", b"{\"capabilities\":{\"write_multiple\":7}}\0",
    b"{\"capabilities\":{\"max_data_xfer_size\":{}}}\0",
    b"{\"a\":" * 600 + b"1" + b"}" * 600 + b"\0",
    b"[" * 4000 + b"\0", b"[" * (1 << 20) + b"\0", b"{\"capabilities\":{}}" + b" " * 5000 + b"\0",
    b"{" + b",".join(b"\"%d\":{}" % i for i in range(700)) + b"\0",
], ids=range(22))
def test_wrong_capabilities_are_refused(device, text):
    with Client(device.socket_path, negotiate=False) as client:
        with pytest.raises(Refused) as refusal:
            client.request(VERSION, struct.pack("<HH", 0, 1) + text)
        assert refusal.value.number == errno.EINVAL
        client.version()  # it may try again


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_short_version_is_refused(device, size):
    with Client(device.socket_path, negotiate=False) as client:
        with pytest.raises(Refused):
            client.request(VERSION, bytes(size))


def test_fds_with_a_version_are_refused(device, fds):
    with Client(device.socket_path, negotiate=False) as client:
        with pytest.raises(Refused):
            client.request(VERSION, struct.pack("<HH", 0, 1) + json.dumps(CAPABILITIES).encode()
                           + b"\0", [fds["memfd"]])


# --- every command ---

@pytest.mark.parametrize("command", [0, DMA_READ, DMA_WRITE, 14, DEVICE_FEATURE, 17, 18, 19, 255,
                                     0xffff])
@pytest.mark.parametrize("size", [0, 16, 4096])
def test_command_that_is_not_ours_is_refused(client, command, size):
    refused(client, command, bytes(size))


@pytest.mark.parametrize("command", sorted(RIGHT))
def test_cut_payload_is_refused(client, command):
    whole = RIGHT[command]
    for size in range(len(whole)):
        refused(client, command, whole[:size])


@pytest.mark.parametrize("command", sorted(RIGHT))
def test_payload_with_a_tail_is_refused(client, command):
    for tail in (1, 4, 8, 1000):
        refused(client, command, RIGHT[command] + bytes(tail))


def test_reset_with_a_payload_is_refused(client):
    refused(client, DEVICE_RESET, bytes(4))


@pytest.mark.parametrize("command", sorted(set(RIGHT) - {DMA_MAP, SET_IRQS}) + [DEVICE_RESET])
def test_fds_that_are_not_wanted_are_refused(client, fds, command):
    for count in (1, 8):
        refused(client, command, RIGHT.get(command, b""), [fds["event"]] * count)


@pytest.mark.parametrize("command", [GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO])
@pytest.mark.parametrize("room", [0, 1, 3])
def test_reply_without_room_for_its_size_is_refused(client, command, room):
    refused(client, command, struct.pack("<I", room) + RIGHT[command][4:])


@pytest.mark.parametrize("command", [DMA_MAP, DMA_UNMAP, SET_IRQS])
@pytest.mark.parametrize("size", [0, 4, 19])
def test_argsz_below_the_structure_is_refused(client, command, size):
    refused(client, command, struct.pack("<I", size) + RIGHT[command][4:])


@pytest.mark.parametrize("command", [GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO])
@pytest.mark.parametrize("index", [9, 10, 255, 0x7fffffff, 0xffffffff])
def test_index_out_of_range_is_refused(client, command, index):
    refused(client, command, RIGHT[command][:8] + struct.pack("<I", index) + RIGHT[command][12:])


def test_errors_without_reply_are_silent(client):
    for command in ALL_COMMANDS:
        client.send(command, bytes(3), flags=NO_REPLY)
    assert client.info() == (16, 3, 9, 5)


def test_error_flag_in_a_command_changes_nothing(client):
    client.request(GET_INFO, RIGHT[GET_INFO], flags=ERROR)
    client.request(GET_INFO, RIGHT[GET_INFO], flags=0xffffffc0)


# --- DMA_MAP and DMA_UNMAP ---

def dma_map(client, address, size, fds=(), offset=0, flags=3, number=errno.EINVAL):
    refused(client, DMA_MAP, struct.pack("<IIQQQ", 32, flags, offset, address, size), fds, number)


@pytest.mark.parametrize("address, size", [
    (0, 0), (0x1000, 0), (1, 0x1000), (0x1000, 1), (0x800, 0x1000), (0x1000, 0x800),
    (HUGE - 0xfff, 0x2000), (0x1000, HUGE - 0xfff), (HUGE, 1), (HUGE - 0xfff, HUGE - 0xfff)])
def test_range_that_is_no_range_is_refused(client, fds, address, size):
    dma_map(client, address, size)
    dma_map(client, address, size, [fds["memfd"]])


@pytest.mark.parametrize("size, offset", [
    (0x1000, 1 << 20), ((1 << 20) + 0x1000, 0), (1 << 20, 0x1000), (0x1000, 1), (0x1000, HUGE),
    (0x1000, HUGE - 0xfff), (1 << 62, 0), (1 << 47, 0), (0x1000, 1 << 63)])
def test_range_past_the_end_of_its_file_is_refused(client, fds, size, offset):
    dma_map(client, 0x1000, size, [fds["memfd"]], offset)


@pytest.mark.parametrize("kind", ["event", "directory", "null", "read end", "write end", "socket",
                                  "path"])
def test_memory_that_is_no_file_is_refused(client, fds, kind):
    with pytest.raises(Refused):
        client.dma_map(0x1000, 0x1000, fds[kind])
    assert client.info()[0] == 16


def test_memory_that_cannot_be_written_is_refused_for_writing(client, fds):
    path = f"/proc/self/fd/{fds['memfd']}"
    read_only = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(Refused):
            client.dma_map(0x1000, 0x1000, read_only)
        client.dma_map(0x1000, 0x1000, read_only, flags=1)
    finally:
        os.close(read_only)


@pytest.mark.parametrize("flags", [0, 2, 4, 7, 0xffffffff])
def test_memory_with_wrong_flags_is_refused(client, fds, flags):
    dma_map(client, 0x1000, 0x1000, [fds["memfd"]], flags=flags)


def test_memory_with_two_files_is_refused(client, fds):
    dma_map(client, 0x1000, 0x1000, [fds["memfd"], fds["memfd"]])
    dma_map(client, 0x1000, 0x1000, [fds["memfd"]] * 8)


@pytest.mark.parametrize("address, size", [
    (0x10000, 0x10000), (0x10000, 0x1000), (0x1f000, 0x1000), (0xf000, 0x2000), (0x1f000, 0x2000),
    (0x0, 0x100000), (0x14000, 0x1000)])
def test_memory_over_memory_is_refused(client, fds, address, size):
    client.dma_map(0x10000, 0x10000, fds["memfd"])
    dma_map(client, address, size, [fds["memfd"]], number=errno.EEXIST)
    dma_map(client, address, size, number=errno.EEXIST)
    client.dma_map(0x20000, 0x10000, fds["memfd"])


def test_too_many_regions_are_refused(client):
    count = 0
    with pytest.raises(Refused) as refusal:
        for i in range(1 << 16):
            client.dma_map(0x100000 + 0x2000 * i, 0x1000)
            count += 1
    assert refusal.value.number == errno.ENOMEM
    assert count >= 1024
    client.dma_unmap(0, 0, flags=2)
    client.dma_map(0x1000, 0x1000)


def dma_unmap(client, address, size, flags=0, number=errno.EINVAL):
    refused(client, DMA_UNMAP, struct.pack("<IIQQ", 24, flags, address, size), number=number)


@pytest.mark.parametrize("address, size", [
    (0x10000, 0x1000), (0x11000, 0xf000), (0x10000, 0x11000), (0x10000, 0), (0x20000, 0x10000),
    (0, 0), (HUGE, HUGE), (0x10001, 0x10000), (0x0, 0x100000)])
def test_only_a_whole_region_is_unmapped(client, fds, address, size):
    client.dma_map(0x10000, 0x10000, fds["memfd"])
    dma_unmap(client, address, size)
    client.dma_unmap(0x10000, 0x10000)
    dma_unmap(client, 0x10000, 0x10000)


def test_dirty_pages_are_not_logged(client, fds):
    client.dma_map(0x10000, 0x10000, fds["memfd"])
    dma_unmap(client, 0x10000, 0x10000, flags=1, number=errno.ENOTSUP)
    refused(client, DMA_UNMAP, struct.pack("<IIQQ", 24, 4, 0x10000, 0x10000))
    refused(client, DMA_UNMAP, struct.pack("<IIQQ", 24, 2, 0x10000, 0x10000))
    client.dma_unmap(0x10000, 0x10000)


# --- SET_IRQS ---

def set_irqs(client, flags, index, start, count, fds=(), data=b"", number=errno.EINVAL):
    refused(client, SET_IRQS, struct.pack("<IIIII", 20 + len(data), flags, index, start, count)
            + data, fds, number)


@pytest.mark.parametrize("flags", [
    flags for flags in range(128)
    if (flags & 7) not in (1, 2, 4) or (flags & 56) not in (8, 16, 32) or flags & 64])
def test_interrupt_flags_are_one_of_data_and_one_of_action(client, flags):
    set_irqs(client, flags, MSIX, 0, 1)


@pytest.mark.parametrize("index, start, count", [
    (MSIX, 0, 4), (MSIX, 3, 1), (MSIX, 0, 0xffffffff), (MSIX, 0xffffffff, 1), (MSIX, 2, 2),
    (MSIX, 0xffffffff, 0xffffffff), (MSIX, 1, 0), (INTX, 0, 2), (INTX, 1, 1), (MSI, 0, 1),
    (ERR_IRQ, 0, 1), (REQ_IRQ, 0, 1), (5, 0, 0), (5, 0, 1), (0xffffffff, 0, 1)])
def test_interrupts_out_of_range_are_refused(client, fds, index, start, count):
    set_irqs(client, DATA_NONE | TRIGGER, index, start, count)
    set_irqs(client, DATA_BOOL | TRIGGER, index, start, count, data=bytes(min(count, 64)))
    set_irqs(client, DATA_EVENTFD | TRIGGER, index, start, count, [fds["event"]])


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_wrong_number_of_events_is_refused(client, fds, count):
    set_irqs(client, DATA_EVENTFD | TRIGGER, MSIX, 0, 3, [fds["event"]] * count)


def test_data_that_does_not_belong_is_refused(client, fds):
    set_irqs(client, DATA_NONE | TRIGGER, MSIX, 0, 3, [fds["event"]])
    set_irqs(client, DATA_NONE | TRIGGER, MSIX, 0, 3, data=bytes(3))
    set_irqs(client, DATA_BOOL | TRIGGER, MSIX, 0, 3, [fds["event"]], data=bytes(3))
    set_irqs(client, DATA_BOOL | TRIGGER, MSIX, 0, 3, data=bytes(2))
    set_irqs(client, DATA_BOOL | TRIGGER, MSIX, 0, 3, data=bytes(4))
    set_irqs(client, DATA_EVENTFD | TRIGGER, MSIX, 0, 3, [fds["event"]] * 3, data=bytes(12))
    set_irqs(client, DATA_NONE | MASK, MSIX, 0, 0)
    set_irqs(client, DATA_NONE | UNMASK, MSIX, 0, 0)


@pytest.mark.parametrize("kind", ["memfd", "directory", "null", "read end", "write end", "socket",
                                  "path"])
def test_interrupt_that_is_no_event_is_refused(client, fds, kind):
    set_irqs(client, DATA_EVENTFD | TRIGGER, MSIX, 1, 1, [fds[kind]])
    set_irqs(client, DATA_EVENTFD | TRIGGER, INTX, 0, 1, [fds[kind]])
    set_irqs(client, DATA_EVENTFD | UNMASK, INTX, 0, 1, [fds[kind]])


def test_events_of_masking_are_not_offered(client, fds):
    set_irqs(client, DATA_EVENTFD | MASK, MSIX, 0, 1, [fds["event"]], number=errno.ENOTSUP)
    set_irqs(client, DATA_EVENTFD | UNMASK, MSIX, 0, 1, [fds["event"]], number=errno.ENOTSUP)
    set_irqs(client, DATA_EVENTFD | MASK, INTX, 0, 1, [fds["event"]], number=errno.ENOTSUP)


def test_event_that_is_full_and_blocks_stalls_nobody(device):
    blocking = os.eventfd(0)
    with Client(device.socket_path) as client:
        client.set_irqs(DATA_EVENTFD | TRIGGER, MSIX, 0, 1, [blocking])
        os.write(blocking, struct.pack("<Q", HUGE - 1))
        client.set_irqs(DATA_NONE | TRIGGER, MSIX, 0, 1)
        assert client.info()[0] == 16
    os.close(blocking)


# --- REGION_READ and REGION_WRITE ---

@pytest.mark.parametrize("region, offset, count", [
    (BAR0, 0x1000, 1), (BAR0, 0xfff, 2), (BAR0, HUGE, 1), (BAR2, 0x4000, 4), (BAR2, 0x3ffd, 4),
    (BAR2, 0, 0x4001), (BAR2, 0, 0), (BAR2, HUGE - 3, 8), (BAR4, HOSTMEM, 1),
    (BAR4, HOSTMEM - 4, 8), (BAR4, 0, (1 << 20) + 1), (BAR4, 0, 0xffffffff), (BAR4, HUGE, 1),
    (BAR4, 1 << 63, 8), (CONFIG, 256, 1), (CONFIG, 0, 257), (CONFIG, HUGE, 4), (1, 0, 4),
    (3, 0, 4), (5, 0, 4), (ROM, 0, 4), (VGA, 0, 1), (9, 0, 4), (0xffffffff, 0, 4)])
def test_access_outside_its_region_is_refused(client, region, offset, count):
    refused(client, REGION_READ, struct.pack("<QII", offset, region, count))
    refused(client, REGION_WRITE,
            struct.pack("<QII", offset, region, count) + bytes(min(count, 1 << 20)))


def test_write_with_other_data_than_it_says_is_refused(client):
    for said, sent in ((4, 3), (4, 5), (4, 0), (1 << 20, 4), (4, 1 << 20), (0xffffffff, 16)):
        refused(client, REGION_WRITE, struct.pack("<QII", 0, BAR4, said) + bytes(sent))


@pytest.mark.parametrize("count, sent", [
    (0, 0), (0, 1), (2, 1), (1, 2), (HUGE, 1), (1 << 61, 0), (HUGE // 24 + 1, 0), (1 << 32, 1)])
def test_joined_writes_of_a_wrong_count_are_refused(client, count, sent):
    one = struct.pack("<QIIQ", COMMON + 0x16, BAR2, 2, 1)
    refused(client, REGION_WRITE_MULTI, struct.pack("<Q", count) + one * sent)


@pytest.mark.parametrize("offset, region, size", [
    (0, BAR2, 9), (0, BAR2, 0), (0, BAR2, 0xffffffff), (0x4000, BAR2, 4), (0, ROM, 4), (0, 77, 4)])
def test_joined_write_that_is_wrong_is_refused(client, offset, region, size):
    refused(client, REGION_WRITE_MULTI, struct.pack("<QQIIQ", 1, offset, region, size, 0))


def test_registers_take_any_bytes(client):
    source = random.Random(2)
    for _ in range(500):
        region = source.choice((BAR0, BAR2, BAR2, CONFIG))
        size = {BAR0: 0x1000, BAR2: 0x4000, CONFIG: 256}[region]
        offset = source.randrange(64) if source.random() < 0.7 else source.randrange(size)
        count = min(source.choice((1, 2, 3, 4, 8, 17)), size - offset)
        if source.random() < 0.7:
            client.write(region, offset, source.randbytes(count))
        else:
            client.read(region, offset, count)
    client.reset()
    assert client.get("B", BAR2, COMMON + 0x14) == 0


def test_configuration_window_reaches_nothing_else(client):
    at = client.capabilities()[0][5]
    for bar, offset, length in ((1, 0, 4), (3, 0, 4), (5, 0, 4), (6, 0, 4), (7, 0, 4), (255, 0, 4),
                                (BAR2, 0x4000, 4), (BAR2, 0xfffffffc, 4), (BAR2, 2, 4),
                                (BAR2, 0, 3), (BAR2, 0, 0), (BAR2, 0, 0xffffffff)):
        client.put("B", CONFIG, at + 4, bar)
        client.put("I", CONFIG, at + 8, offset)
        client.put("I", CONFIG, at + 12, length)
        client.put("I", CONFIG, at + 16, 0x12345678)
        client.get("I", CONFIG, at + 16)
        client.read(CONFIG, 0, 256)
    assert client.get("B", BAR2, COMMON + 0x14) == 0


# --- files whose close() waits ---

@pytest.mark.parametrize("command", [DMA_MAP, SET_IRQS, GET_INFO])
def test_file_that_lingers_in_a_refused_command(device, client, command):
    with Lingering() as lingering:
        lingering.give(device, lambda fd: client.send(command, RIGHT[command], [fd]))
        assert client.receive()[1] == command
        assert client.get("I", CONFIG, 0) == 0x10501af4


def test_file_that_lingers_in_what_is_not_read(device):
    with Lingering() as lingering, Client(device.socket_path) as client:
        def send(fd):
            client.send(GET_INFO, RIGHT[GET_INFO], size=8)  # the end
            client.send(GET_INFO, RIGHT[GET_INFO], [fd])
        lingering.give(device, send)
        assert client.is_closed_by_server()
        with Client(device.socket_path) as other:
            assert other.get("I", CONFIG, 0) == 0x10501af4
