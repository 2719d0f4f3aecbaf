# SPDX-License-Identifier: Apache-2.0
"""vfio-user: what a good client gets."""

import mmap
import os
import struct

import pytest

from vfio_user_client import (
    BAR0, BAR2, BAR4, COMMON, CONFIG, DATA_BOOL, DATA_EVENTFD, DATA_NONE, DEVICE_CONFIG,
    DEVICE_RESET, EVENT_IDX, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, INDIRECT_DESC, INTX, ISR,
    MASK, MSIX, NO_REPLY, NOTIFY, REGION_READ, REGION_WRITE, REGION_WRITE_MULTI, ROM, TRIGGER,
    UNMASK, VERSION_1, VGA, Client, Function, Ram)
from vfio_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import Gpu


def test_version_is_agreed_with_our_limits(device):
    with Client(device.socket_path, negotiate=False) as client:
        (major, minor), ours = client.version()
        assert (major, minor) == (0, 1)
        assert ours["capabilities"]["max_msg_fds"] >= 3
        assert ours["capabilities"]["max_data_xfer_size"] == 1 << 20
        assert ours["capabilities"]["write_multiple"] is True


def test_version_without_capabilities_is_fine(device):
    with Client(device.socket_path, negotiate=False) as client:
        _, ours = client.version(capabilities=None)
        assert "write_multiple" not in ours["capabilities"]
        assert client.info()[0] == 16


def test_minor_version_is_the_lower_one(device):
    for theirs, agreed in ((0, 0), (1, 1), (7, 1)):
        with Client(device.socket_path, negotiate=False) as client:
            assert client.version(minor=theirs)[0] == (0, agreed)


def test_device_is_a_pci_device_that_can_be_reset(client):
    assert client.info() == (16, 3, 9, 5)


def test_regions_are_two_bars_the_window_and_the_configuration(client):
    sizes = {index: client.region_info(index)[0][4] for index in range(9)}
    assert sizes == {BAR0: 0x1000, 1: 0, BAR2: 0x4000, 3: 0, BAR4: HOSTMEM, 5: 0, ROM: 0,
                     CONFIG: 256, VGA: 0}
    for index, size in sizes.items():
        info, fds = client.region_info(index)
        assert info[:4] == (32, (7 if index == BAR4 else 3) if size else 0, index, 0)
        assert len(fds) == (1 if index == BAR4 else 0)
        for fd in fds:
            os.close(fd)


def test_window_is_mapped_by_the_client_and_reached_by_messages(client):
    (_, _, _, _, size, offset), (fd,) = client.region_info(BAR4)
    assert os.fstat(fd).st_size == size
    window = mmap.mmap(fd, size, offset=offset)
    os.close(fd)
    window[0x12345:0x12349] = b"abcd"
    assert client.read(BAR4, 0x12345, 4) == b"abcd"
    client.write(BAR4, size - 8, b"12345678")
    assert window[size - 8:] == b"12345678"
    block = os.urandom(1 << 20)
    client.write(BAR4, 0x100001, block)
    assert client.read(BAR4, 0x100001, 1 << 20) == block
    window.close()


def test_window_of_the_next_client_is_empty(device):
    with Client(device.socket_path) as client:
        client.write(BAR4, 0, b"secret")
        kept = client.region_info(BAR4)[1][0]
    with Client(device.socket_path) as client:
        assert client.read(BAR4, 0, 6) == bytes(6)
        os.pwrite(kept, b"poison", 0)  # the last client still has its own
        assert client.read(BAR4, 0, 6) == bytes(6)
    os.close(kept)


def test_window_cannot_be_shrunk_by_the_client(client):
    fd = client.region_info(BAR4)[1][0]
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_client_that_takes_no_fds_gets_none(device):
    with Client(device.socket_path, negotiate=False) as client:
        client.version(capabilities={"capabilities": {"max_msg_fds": 0}})
        info, fds = client.region_info(BAR4)
        assert info[1] == 3 and not fds
        client.write(BAR4, 0, b"trapped")
        assert client.read(BAR4, 0, 7) == b"trapped"


@pytest.mark.parametrize("room", [4, 8, 16, 31])
def test_reply_that_does_not_fit_says_its_size(client, room):
    answer, fds = client.request(GET_REGION_INFO,
                                 struct.pack("<IIIIQQ", room, 0, BAR4, 0, 0, 0))
    assert len(answer) == room and struct.unpack("<I", answer[:4]) == (32,)
    assert not fds
    answer, _ = client.request(GET_INFO, struct.pack("<IIII", 4, 0, 0, 0))
    assert answer == struct.pack("<I", 16)


def test_interrupts_are_intx_and_three_msix_vectors(client):
    assert [client.irq_info(index)[3] for index in range(5)] == [1, 0, 3, 0, 0]
    assert client.irq_info(MSIX)[1] & 1
    assert client.irq_info(INTX)[1] == 7


def test_no_doorbell_is_an_eventfd(client):
    answer, fds = client.request(GET_REGION_IO_FDS, struct.pack("<IIII", 4096, 0, BAR2, 0))
    assert struct.unpack("<IIII", answer) == (16, 0, BAR2, 0)
    assert not fds


def test_capabilities_are_those_of_virtio_and_msix(client):
    virtio, msix = client.capabilities()
    assert sorted(virtio) == [1, 2, 3, 4, 5, 8]
    assert client.get("H", CONFIG, msix + 2) & 0x7ff == 2
    length = client.get("I", CONFIG, virtio[8] + 12) | client.get("I", CONFIG, virtio[8] + 20) << 32
    assert (client.get("B", CONFIG, virtio[8] + 5), length) == (1, HOSTMEM)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 16, 100, 256])
def test_configuration_is_read_in_any_pieces(client, size):
    whole = client.read(CONFIG, 0, 256)
    assert whole == b"".join(client.read(CONFIG, at, min(size, 256 - at))
                             for at in range(0, 256, size))


def test_bars_answer_sizing(client):
    for offset, size in ((0x10, 0x1000), (0x18, 0x4000), (0x20, HOSTMEM)):
        client.put("I", CONFIG, offset, 0xffffffff)
        assert client.get("I", CONFIG, offset) & ~0xf == -size & 0xffffffff


def test_configuration_window_reaches_the_registers(client):
    at = client.capabilities()[0][5]
    client.put("B", CONFIG, at + 4, BAR2)
    client.put("I", CONFIG, at + 8, COMMON + 0x12)
    client.put("I", CONFIG, at + 12, 2)
    assert client.get("H", CONFIG, at + 16) == 2  # num_queues
    client.put("I", CONFIG, at + 8, COMMON + 0x14)
    client.put("I", CONFIG, at + 12, 1)
    client.put("B", CONFIG, at + 16, 1)
    assert client.get("B", BAR2, COMMON + 0x14) == 1


def test_features_are_those_of_a_2d_device(function):
    features = function.features()
    transport = VERSION_1 | EVENT_IDX | INDIRECT_DESC
    assert features & transport == transport
    assert features & 0x1f == 0b01110  # EDID, RESOURCE_UUID, RESOURCE_BLOB; no renderer


def test_device_configuration_is_read(client):
    events, clear, scanouts, capsets = struct.unpack("<4I", client.read(BAR2, DEVICE_CONFIG, 16))
    assert (events, clear, scanouts, capsets) == (0, 0, 1, 0)


def test_interrupt_comes_through_msix(function):
    function.start()
    Gpu(function).display_info()
    assert not function.has_event(0) and not function.has_event(2)


@pytest.mark.parametrize("features", [VERSION_1, VERSION_1 | EVENT_IDX | INDIRECT_DESC],
                         ids=["plain", "event_idx"])
def test_queues_work_with_and_without_event_idx(function, features):
    gpu = Gpu(function.start(features))
    for _ in range(100):
        assert gpu.display_info()[0][4] == 1


def test_masked_vector_pends_and_fires_when_unmasked(function):
    function.start()
    function.client.set_irqs(DATA_NONE | MASK, MSIX, 1, 1)
    queue = function.queues[0]
    request = function.ram.allocate(24)
    function.ram.put(request, struct.pack("<IIQIB3x", 0x100, 0, 0, 0, 0))
    queue.describe(0, request, 24)
    queue.offer(0)
    function.notify(0)
    while queue.used_index() == 0:
        function.status  # pylint: disable=pointless-statement
    assert not function.has_event(1)
    assert function.client.get("Q", BAR0, 0x800) == 2
    function.client.set_irqs(DATA_NONE | UNMASK, MSIX, 1, 1)
    assert function.wait_for_event(1) == 1
    assert function.client.get("Q", BAR0, 0x800) == 0


def test_interrupts_are_triggered_by_the_client(function):
    function.use_msix()
    function.client.set_irqs(DATA_NONE | TRIGGER, MSIX, 2, 1)
    assert function.wait_for_event(2) == 1
    function.client.set_irqs(DATA_BOOL | TRIGGER, MSIX, 0, 3, data=b"\1\0\1")
    assert function.wait_for_event(0) == 1 and function.wait_for_event(2) == 1
    assert not function.has_event(1)


def test_interrupts_are_taken_away(function, device):
    before = device.files()
    function.use_msix()
    assert device.files() - before
    function.client.set_irqs(DATA_EVENTFD | TRIGGER, MSIX, 1, 1)
    function.client.set_irqs(DATA_NONE | TRIGGER, MSIX, 1, 1)
    assert not function.has_event(1)
    function.client.set_irqs(DATA_NONE | TRIGGER, MSIX, 0, 0)
    assert device.files() == before


def test_interrupt_without_msix_comes_by_intx_and_isr(function):
    event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    function.client.set_irqs(DATA_EVENTFD | TRIGGER, INTX, 0, 1, [event])
    function.start(msix=False)
    function.events = [None, event, None]  # command() waits on vector 1
    try:
        assert Gpu(function).display_info()[0][4] == 1
        assert function.client.get("H", CONFIG, 6) & 8
        assert function.get("B", ISR) == 1
        assert function.get("B", ISR) == 0
        assert not function.client.get("H", CONFIG, 6) & 8
        function.client.set_irqs(DATA_NONE | UNMASK, INTX, 0, 1)
        assert Gpu(function).display_info()[0][4] == 1
    finally:
        function.events = [event]


def test_writes_are_joined_in_one_message(function):
    function.use_msix()
    function.negotiate()
    writes = [(COMMON + 0x16, 2, 1), (COMMON + 0x18, 2, 8), (COMMON + 0x20, 8, 0x1122334455667788)]
    payload = struct.pack("<Q", len(writes))
    for offset, size, value in writes:
        payload += struct.pack("<QIIQ", offset, BAR2, size, value)
    answer, _ = function.client.request(REGION_WRITE_MULTI, payload)
    assert answer == struct.pack("<Q", 3)
    assert function.get("H", COMMON + 0x18) == 8
    assert function.get("Q", COMMON + 0x20) == 0x1122334455667788


def test_joined_writes_stop_at_the_first_wrong_one(function):
    payload = struct.pack("<Q", 3) + struct.pack("<QIIQ", COMMON + 0x16, BAR2, 2, 1)
    payload += struct.pack("<QIIQ", 0, ROM, 2, 1)
    payload += struct.pack("<QIIQ", COMMON + 0x16, BAR2, 2, 0)
    answer, _ = function.client.request(REGION_WRITE_MULTI, payload)
    assert answer == struct.pack("<Q", 1)
    assert function.get("H", COMMON + 0x16) == 1


def test_doorbell_among_joined_writes_is_served(function):
    function.start()
    queue = function.queues[0]
    request = function.ram.allocate(24)
    queue.describe(0, request, 24)
    queue.offer(0)
    payload = struct.pack("<Q", 1) + struct.pack("<QIIQ", NOTIFY, BAR2, 2, 0)
    function.client.request(REGION_WRITE_MULTI, payload)
    assert function.wait_for_event(1) == 1


def test_message_that_wants_no_reply_gets_none(client):
    for _ in range(3):
        client.send(REGION_WRITE, struct.pack("<QII", COMMON + 0x16, BAR2, 2) + b"\1\0",
                    flags=NO_REPLY)
    client.send(REGION_READ, struct.pack("<QII", 0, 77, 4), flags=NO_REPLY)  # refused in silence
    client.send(DEVICE_RESET, flags=NO_REPLY)
    assert client.get("H", BAR2, COMMON + 0x16) == 0


def test_message_number_is_echoed(client):
    client.request(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), number=0xbeef)
    client.send(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), number=0xbeef)
    client.send(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), number=0xbeef)
    assert client.receive()[0] == 0xbeef
    assert client.receive()[0] == 0xbeef


def test_many_messages_at_once_are_answered_in_order(client):
    data = b"".join(client.message(REGION_READ, struct.pack("<QII", i % 256, CONFIG, 1), number=i)
                    for i in range(1000))
    client.send_bytes(data)
    for i in range(1000):
        number, _, flags, _, payload, _ = client.receive()
        assert (number, flags, len(payload)) == (i, 1, 17)


def test_message_in_single_bytes_is_put_together(client):
    data = client.message(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
    for byte in data:
        client.send_bytes(bytes([byte]))
    assert client.receive()[4] == struct.pack("<IIII", 16, 3, 9, 5)


def test_memory_comes_and_goes(device, client):
    ram = Ram(1 << 20)
    before = device.census()
    client.dma_map(0x1000, 1 << 20, ram.fd)
    client.dma_map(0x40000000, 4096, ram.fd, offset=4096, flags=1)
    client.dma_map(0x80000000, 1 << 30)
    client.dma_unmap(0x1000, 1 << 20)
    client.dma_map(0x1000, 1 << 19, ram.fd)
    client.dma_unmap(0, 0, flags=2)
    assert device.census() == before
    client.dma_map(0x1000, 1 << 20, ram.fd)
    client.dma_unmap(0x1000, 1 << 20)
    assert device.census() == before
    ram.close()


def test_reset_returns_to_the_start(device, function):
    client = function.client
    registers = client.read(BAR2, COMMON, 0x38)
    configuration = client.read(CONFIG, 0, 256)
    before = device.census()
    for _ in range(5):
        gpu = Gpu(function.start(VERSION_1))
        memory = function.ram.allocate(1 << 16)
        assert gpu.create_2d(1, 128, 128) == 0x1100
        assert gpu.attach_backing(1, [(memory, 1 << 16)]) == 0x1100
        assert gpu.set_scanout(0, 1, 0, 0, 128, 128) == 0x1100
        client.put("H", CONFIG, 4, 6)
        client.reset()
        client.reset()
        now = bytearray(client.read(BAR2, COMMON, 0x38))
        now[0x15] = registers[0x15]  # the generation counts on
        assert now == registers
        assert client.read(CONFIG, 0, 256) == configuration
        client.set_irqs(DATA_NONE | TRIGGER, MSIX, 0, 0)
        for event in function.events:
            os.close(event)
        function.events = []
        assert device.census() == before


def test_status_0_resets_the_device(function):
    for _ in range(5):
        gpu = Gpu(function.start())
        assert gpu.create_2d(1, 64, 64) == 0x1100  # its id is free again each time
        function.reset()
        function.select(0)
        assert function.get("H", COMMON + 0x1c) == 0


def test_second_client_is_served_after_the_first(device):
    first = Function(device.socket_path)
    Gpu(first.start()).display_info()
    second = Client(device.socket_path, negotiate=False)
    second.send(1, struct.pack("<HH", 0, 1))
    Gpu(first).display_info()
    first.close()
    assert second.receive()[1] == 1
    second.close()
