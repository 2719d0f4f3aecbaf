# SPDX-License-Identifier: Apache-2.0
"""vfio-user: clients that come, go, stop in the middle and are slow. Each leaves nothing behind and
keeps nobody waiting longer than it lives."""

import os
import socket
import struct
import time

import pytest

from vfio_user_client import (
    BAR2, BAR4, CONFIG, DEVICE_RESET, DMA_MAP, GET_INFO, NOTIFY, REGION_READ, REGION_WRITE, VERSION,
    Client, Closed, Connection, Function, Ram)
from vfio_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import Gpu


@pytest.mark.parametrize("size", [0, 1, 8, 15, 16, 17, 20, 22])
def test_client_vanishes_in_its_version(device, size):
    connection = Connection(device.socket_path)
    data = connection.message(VERSION, struct.pack("<HH", 0, 1) + b"{}\0")
    if size:
        connection.send_bytes(data[:size])
    connection.close()


def test_client_vanishes_without_reading_the_version(device):
    connection = Connection(device.socket_path)
    connection.send(VERSION, struct.pack("<HH", 0, 1))
    connection.close()


@pytest.mark.parametrize("size", [1, 15, 16, 17, 47])
def test_client_vanishes_in_a_message_with_an_fd(device, size):
    ram = Ram(1 << 20)
    client = Client(device.socket_path)
    data = client.message(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0x1000, 1 << 20))
    client.send_bytes(data[:size], [ram.fd])
    client.close()
    ram.close()


def vanish_after_map(function):
    pass


def vanish_after_msix(function):
    function.use_msix()


def vanish_after_features(function):
    function.negotiate()


def vanish_with_queues(function):
    function.start()


def vanish_with_work(function):
    function.start()
    queue = function.queues[0]
    request = function.ram.allocate(24)
    function.ram.put(request, struct.pack("<IIQIB3x", 0x100, 0, 0, 0, 0))
    for number in range(8):
        queue.describe(number, request, 24)
        queue.offer(number)
    function.client.send(REGION_WRITE, struct.pack("<QIIH", NOTIFY, BAR2, 2, 0))


def vanish_with_resources(function):
    gpu = Gpu(function.start())
    memory = function.ram.allocate(1 << 20)
    for resource in range(1, 20):
        assert gpu.create_2d(resource, 512, 512) == 0x1100
        assert gpu.attach_backing(resource, [(memory, 1 << 20)]) == 0x1100
    assert gpu.set_scanout(0, 1, 0, 0, 512, 512) == 0x1100


def vanish_in_reset(function):
    vanish_with_resources(function)
    function.client.send(DEVICE_RESET)


@pytest.mark.parametrize("stage", [vanish_after_map, vanish_after_msix, vanish_after_features,
                                   vanish_with_queues, vanish_with_work, vanish_with_resources,
                                   vanish_in_reset], ids=lambda stage: stage.__name__)
def test_client_vanishes(device, stage):
    for _ in range(3):
        with Function(device.socket_path) as function:
            stage(function)


def test_client_shuts_its_sending_side(device):
    with Client(device.socket_path) as client:
        client.send(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive()[4] == struct.pack("<IIII", 16, 3, 9, 5)
        assert client.is_closed_by_server()


def test_client_shuts_its_receiving_side(device):
    with Client(device.socket_path) as client:
        client.socket.shutdown(socket.SHUT_RD)
        with pytest.raises(Closed):
            for _ in range(100):
                client.send(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
                time.sleep(0.01)


def test_client_that_says_nothing_is_dropped(device):
    with Connection(device.socket_path) as silent:
        assert silent.is_closed_by_server()


def test_client_that_stops_in_its_version_is_dropped(device):
    with Connection(device.socket_path) as slow:
        slow.send_bytes(slow.message(VERSION, struct.pack("<HH", 0, 1))[:18])
        assert slow.is_closed_by_server()


def test_client_that_does_not_read_is_not_read_either(device):
    """Replies wait in one bounded buffer; the client's messages wait in its own socket."""
    with Client(device.socket_path) as client:
        message = client.message(REGION_READ, struct.pack("<QII", 0, BAR4, 1 << 20), number=7)
        client.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += client.socket.send(message)
        status = (device._root() / "status").read_text()  # pylint: disable=protected-access
        resident = int(status.split("VmRSS:")[1].split()[0])  # KiB
        assert resident < 256 << 10
        before = device.cpu_seconds()
        time.sleep(0.5)
        assert device.cpu_seconds() - before < 0.2, "it spins"
        client.socket.settimeout(20)
        for _ in range(sent // len(message)):
            number, _, flags, _, payload, _ = client.receive()
            assert (number, flags, len(payload)) == (7, 1, 16 + (1 << 20))


def test_slow_reader_gets_everything(device):
    with Client(device.socket_path) as client:
        block = os.urandom(1 << 20)
        client.write(BAR4, 0, block)
        client.send(REGION_READ, struct.pack("<QII", 0, BAR4, 1 << 20))
        received = b""
        while len(received) < 32 + len(block):
            received += client.socket.recv(5000)
        assert received[32:] == block
        assert client.info()[0] == 16


def test_slow_writer_is_served(device):
    with Client(device.socket_path) as client:
        block = os.urandom(1 << 16)
        data = client.message(REGION_WRITE, struct.pack("<QII", 0, BAR4, len(block)) + block)
        for start in range(0, len(data), 1000):
            client.send_bytes(data[start:start + 1000])
        assert client.receive()[2] == 1
        assert client.read(BAR4, 0, len(block)) == block


def test_second_client_waits_for_the_first(device):
    with Function(device.socket_path) as first:
        waiting = [Connection(device.socket_path) for _ in range(3)]
        for connection in waiting:
            connection.send(VERSION, struct.pack("<HH", 0, 1))
        assert Gpu(first.start()).display_info()[0][4] == 1
        waiting[0].socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            waiting[0].receive()
        waiting[0].socket.settimeout(20)
    for connection in waiting:
        assert connection.receive()[1] == VERSION
        connection.close()


def test_waiting_client_that_gives_up_is_skipped(device):
    with Client(device.socket_path) as first:
        for _ in range(10):
            Connection(device.socket_path).close()
        assert first.info()[0] == 16


def test_hundred_clients_in_a_row(device):
    for _ in range(100):
        with Client(device.socket_path) as client:
            assert client.get("I", CONFIG, 0) == 0x10501af4


def test_state_does_not_pass_to_the_next_client(device):
    with Function(device.socket_path) as function:
        gpu = Gpu(function.start())
        assert gpu.create_2d(7, 64, 64) == 0x1100
        function.client.put("H", CONFIG, 4, 6)
    with Function(device.socket_path) as function:
        assert function.status == 0
        assert function.client.get("H", CONFIG, 4) == 0
        gpu = Gpu(function.start())
        assert gpu.unref(7) == 0x1203
