# SPDX-License-Identifier: Apache-2.0
"""vhost-user, generic device: what a good front end gets."""

import os
import pathlib
import socket
import struct
import subprocess
import time

import pytest

from conftest import build_folder, wait_until
from vfio_user_client import INDIRECT, NEXT, WRITE, Ram
from vhost_user_client import (
    BACKEND_CONFIG_CHANGE, BACKEND_REQ, BACKEND_SEND_FD, CONFIG, EVENT_IDX,
    GET_FEATURES, GET_MAX_MEM_SLOTS, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_SHMEM_CONFIG,
    INDIRECT_DESC, MEM_SLOTS, MQ, NO_FD, PROTOCOL_FEATURES, REPLY_ACK, RESET, RESET_DEVICE,
    RESET_OWNER, RING_RESET, SET_FEATURES, SET_OWNER,
    SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_ERR, SET_VRING_KICK, SET_VRING_NUM, SHMEM,
    VERSION_1, Connection, FrontEnd, Refused)
from vhost_user_fixtures import *  # pylint: disable=wildcard-import,unused-wildcard-import
from virtio_gpu_driver import GET_EDID, OK_NODATA, Gpu, header

TRANSPORT = "vhost-user"


# --- negotiation ---

def test_features_are_the_devices_and_the_transports(front_end):
    features = front_end.device_features
    assert features & 0xffffff == 0b1110  # EDID, RESOURCE_UUID, RESOURCE_BLOB; no renderer
    assert features >> 24 << 24 == VERSION_1 | EVENT_IDX | INDIRECT_DESC | PROTOCOL_FEATURES


def test_protocol_features(front_end):
    offered, = front_end.ask(GET_PROTOCOL_FEATURES, form="<Q")
    assert offered == (MQ | REPLY_ACK | BACKEND_REQ | CONFIG | BACKEND_SEND_FD | RESET | MEM_SLOTS
                       | SHMEM)


def test_queues_and_memory_slots(front_end):
    assert front_end.ask(GET_QUEUE_NUM, form="<Q") == (2,)
    assert front_end.ask(GET_MAX_MEM_SLOTS, form="<Q") == (512,)


def test_queue_count_is_told_before_features_are_set(device):
    with Connection(device.socket_path) as connection:
        assert connection.ask(GET_QUEUE_NUM, form="<Q") == (2,)


def test_window_is_shared_memory_region_one(front_end):
    answer = front_end.ask(GET_SHMEM_CONFIG)
    count, _, *sizes = struct.unpack("<II256Q", answer)
    assert count == 1
    assert sizes == [0, HOSTMEM] + [0] * 254


def test_configuration_space(front_end):
    assert front_end.get_config() == struct.pack("<4I", 0, 0, 1, 0)
    assert front_end.get_config(8, 4) == struct.pack("<I", 1)
    assert front_end.get_config(9, 2) == b"\0\0"
    assert front_end.get_config(0, 256) == struct.pack("<4I", 0, 0, 1, 0) + bytes(240)
    assert front_end.get_config(256, 0) == b""


def test_configuration_write_is_taken_whole_as_qemu_sends_it(front_end):
    front_end.set_config(0, struct.pack("<4I", 7, 1, 9, 9))
    front_end.set_config(4, struct.pack("<I", 1))
    assert front_end.get_config() == struct.pack("<4I", 0, 0, 1, 0)


def test_owner_messages_do_nothing(running):
    running.tell(SET_OWNER)
    running.tell(RESET_OWNER)
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


def test_message_without_reply_ack_is_not_answered(device):
    with FrontEnd(device.socket_path, protocol_features=CONFIG) as front_end:
        front_end.send(SET_OWNER, flags=1 | 8)
        assert front_end.get_config(8, 4) == struct.pack("<I", 1)


# --- rings ---

@pytest.mark.parametrize("features", [VERSION_1, VERSION_1 | EVENT_IDX | INDIRECT_DESC, 0,
                                      VERSION_1 | RING_RESET])
def test_driver_gets_answers_and_interrupts(front_end, features):
    gpu = Gpu(front_end.start(features))
    for resource in range(1, 200):
        assert gpu.create_2d(resource, 16, 16) == OK_NODATA
        assert gpu.unref(resource) == OK_NODATA
    assert len(gpu.edid()) >= 128


def test_event_index_is_written_when_negotiated_and_not_otherwise(device):
    for features, expected in ((VERSION_1 | EVENT_IDX, 1), (VERSION_1, 0)):
        with FrontEnd(device.socket_path) as front_end:
            front_end.start(features)
            Gpu(front_end).create_2d(1, 8, 8)
            queue = front_end.queues[0]
            at = queue.used + 4 + 8 * queue.size
            assert struct.unpack("<H", front_end.ram.get(at, 2))[0] == expected


def test_indirect_descriptors_are_understood_though_not_negotiated(running):
    queue, ram = running.queues[0], running.ram
    request = header(GET_EDID) + bytes(8)
    at = ram.allocate(4096)
    table = ram.allocate(4096)
    ram.put(at, request)
    ram.put(table, struct.pack("<QIHH", at, len(request), NEXT, 1)
            + struct.pack("<QIHH", at + 64, 2048, WRITE, 0))
    queue.describe(0, table, 32, INDIRECT)
    queue.offer(0)
    running.kick(0)
    running.wait_for_call(0)
    assert queue.used_entry(0)[1] == 24 + 8 + 1024


@pytest.mark.parametrize("size", [1, 2, 16, 256, 1024])
def test_ring_sizes(front_end, size):
    gpu = Gpu(front_end.start(size=max(size, 2)))
    for _ in range(3):
        assert gpu.create_2d(1, 8, 8) == OK_NODATA
        assert gpu.unref(1) == OK_NODATA
    if size == 1:
        front_end.stop_ring(1)
        front_end.tell(SET_VRING_NUM, struct.pack("<II", 1, 1))


def test_ring_of_what_was_there_before_the_start_is_served(front_end):
    front_end.start()
    base = front_end.stop_ring(0)
    request = header(GET_EDID) + bytes(8)
    front_end.offer_command(request, 2048)
    os.eventfd_read(front_end.kicks[0])  # nobody tells the device
    front_end.start_ring(0, front_end.queues[0], base)
    front_end.wait_for_call(0)
    assert front_end.queues[0].used_index() == 1


def test_ring_is_served_once_enabled(front_end):
    front_end.start()
    front_end.tell(SET_VRING_ENABLE, struct.pack("<II", 0, 0))
    front_end.offer_command(header(GET_EDID) + bytes(8), 2048)
    front_end.ask(GET_QUEUE_NUM)
    assert front_end.queues[0].used_index() == 0
    front_end.tell(SET_VRING_ENABLE, struct.pack("<II", 0, 1))
    front_end.wait_for_call(0)
    assert front_end.queues[0].used_index() == 1


def test_rings_are_enabled_when_protocol_features_are_not_acknowledged(front_end):
    front_end.start()
    for index in range(2):
        front_end.stop_ring(index)
        front_end.tell(SET_VRING_ENABLE, struct.pack("<II", index, 0))
    front_end.tell(SET_FEATURES, struct.pack("<Q", VERSION_1))
    for index in range(2):
        front_end.start_ring(index, front_end.queues[index], enable=False)
    assert Gpu(front_end).create_2d(1, 8, 8) == OK_NODATA


def test_call_and_error_fds_may_be_missing(running):
    running.tell(SET_VRING_ERR, struct.pack("<Q", 0), [running.eventfd()])
    running.tell(SET_VRING_ERR, struct.pack("<Q", NO_FD))
    running.tell(SET_VRING_CALL, struct.pack("<Q", NO_FD))
    running.offer_command(header(GET_EDID) + bytes(8), 2048)
    wait_until(lambda: running.queues[0].used_index() == 1, "the answer")
    with pytest.raises(BlockingIOError):
        os.eventfd_read(running.calls[0])


def test_kicks_and_calls_may_be_pipes(front_end):
    front_end.start()
    base = front_end.stop_ring(0)
    kick, kick_end = os.pipe()
    call, call_end = os.pipe()
    front_end.start_ring(0, front_end.queues[0], base)
    front_end.tell(SET_VRING_KICK, struct.pack("<Q", 0), [kick])
    front_end.tell(SET_VRING_CALL, struct.pack("<Q", 0), [call_end])
    os.close(kick)
    os.close(call_end)
    front_end.offer_command(header(GET_EDID) + bytes(8), 2048)
    os.write(kick_end, struct.pack("<Q", 1))
    assert len(os.read(call, 8)) == 8
    os.close(call)  # the next interrupt finds nobody
    front_end.offer_command(header(GET_EDID) + bytes(8), 2048)
    os.write(kick_end, struct.pack("<Q", 1))
    wait_until(lambda: front_end.queues[0].used_index() == 2, "the answer")
    os.close(kick_end)


# --- stop, pause, reset ---

def test_paused_guest_goes_on_with_its_resources(running):
    gpu = Gpu(running)
    assert gpu.create_2d(5, 8, 8) == OK_NODATA
    bases = [running.stop_ring(index) for index in range(2)]
    assert bases == [1, 0]
    running.send(SET_FEATURES, struct.pack("<Q", running.features))
    for index, base in enumerate(bases):
        running.start_ring(index, running.queues[index], base)
    assert gpu.unref(5) == OK_NODATA


def test_new_driver_finds_nothing_of_the_last(running):
    """QEMU's generic device tells no reset: the rings start at 0 after they had not."""
    gpu = Gpu(running)
    assert gpu.create_2d(5, 8, 8) == OK_NODATA
    for index in range(2):
        running.stop_ring(index)
    running.start()
    assert gpu.unref(5) != OK_NODATA
    assert gpu.create_2d(5, 8, 8) == OK_NODATA


def test_reset_device_forgets_all(running):
    gpu = Gpu(running)
    assert gpu.create_2d(5, 8, 8) == OK_NODATA
    running.tell(RESET_DEVICE)
    running.kick(0)
    running.start()
    assert gpu.unref(5) != OK_NODATA


def test_reset_device_many_times(running):
    for _ in range(50):
        running.send(RESET_DEVICE)
    running.tell(RESET_DEVICE)
    running.start()
    assert Gpu(running).create_2d(5, 8, 8) == OK_NODATA


def test_reboots_leave_nothing(running, device):
    files = device.files()
    for _ in range(30):
        gpu = Gpu(running)
        assert gpu.create_2d(5, 64, 64) == OK_NODATA
        for index in range(2):
            running.stop_ring(index)
        running.start(size=2)
    assert device.files() == files


# --- memory ---

def test_memory_by_slots(front_end):
    front_end.start()
    for index in range(2):
        front_end.stop_ring(index)
    front_end.set_mem_table([])
    front_end.add_region()
    front_end.start_ring(0, front_end.queues[0])
    assert Gpu(front_end).create_2d(1, 8, 8) == OK_NODATA


def test_hot_plug_while_the_guest_runs(running, device):
    gpu = Gpu(running)
    page = running.ram.allocate(4096)
    running.ram.put(page, b"\x55" * 4096)
    assert gpu.create_2d(1, 32, 32) == OK_NODATA
    assert gpu.attach_backing(1, [(page, 4096)]) == OK_NODATA
    more = Ram(1 << 20, base=1 << 32)
    maps = device.mapped_files()
    running.set_mem_table([running.region(), running.region(more.base, more.size)],
                          [running.ram.fd, more.fd])
    assert device.mapped_files() == maps + 1
    assert gpu.transfer(1, 0, 0, 32, 32) == OK_NODATA, "the first region's memory is still there"
    assert gpu.create_2d(2, 32, 32) == OK_NODATA
    assert gpu.attach_backing(2, [(more.base, 4096)]) == OK_NODATA
    assert gpu.transfer(2, 0, 0, 32, 32) == OK_NODATA
    running.remove_region(running.region(more.base, more.size))
    assert device.mapped_files() == maps
    assert gpu.transfer(2, 0, 0, 32, 32) != OK_NODATA
    assert gpu.transfer(1, 0, 0, 32, 32) == OK_NODATA
    running.add_region(running.region(more.base, more.size), [more.fd])
    assert gpu.detach_backing(2) == OK_NODATA
    assert gpu.attach_backing(2, [(more.base, 4096)]) == OK_NODATA
    assert gpu.transfer(2, 0, 0, 32, 32) == OK_NODATA
    more.close()


def test_rings_wait_for_memory_that_went_away(running):
    running.remove_region()
    running.kick(0)
    running.ask(GET_QUEUE_NUM)
    running.add_region()
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


def test_table_with_room_for_eight_as_some_front_ends_send_it(front_end):
    front_end.set_mem_table([front_end.region()] + [bytes(32)] * 7, [front_end.ram.fd], count=1)


def test_all_slots(front_end, device):
    files = device.mapped_files()
    for slot in range(512):
        front_end.add_region(front_end.region((1 << 40) + slot * 8192, 4096))
    assert device.mapped_files() == files + 512
    with pytest.raises(Refused):
        front_end.add_region(front_end.region(1 << 50, 4096))


def test_region_removal_with_a_file_as_old_front_ends_send_it(front_end, device):
    front_end.add_region()
    files = sum(device.files().values())
    front_end.remove_region(fds=[front_end.ram.fd])
    assert sum(device.files().values()) == files - 1


def test_thirty_two_regions_at_once(front_end):
    regions = [front_end.region((1 << 32) + slot * 8192, 4096) for slot in range(32)]
    front_end.set_mem_table(regions)
    front_end.set_mem_table(regions[:7])


# --- back-end channel ---

def test_resize_is_told_over_the_back_end_channel(device, tmp_path):
    folder = tmp_path
    control = folder / "control.sock"
    program = build_folder() / "src" / "swede" / "swede"
    path = folder / "own.sock"
    with subprocess.Popen([program, "device", "--socket-path", path, "--transport", "vhost-user",
                           "--display", "none", "--hostmem", "256M", "--control-path", control],
                          stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: path.exists() and control.exists(), "the start of the device")
            with FrontEnd(path) as front_end:
                front_end.give_backend_channel()
                front_end.start()
                subprocess.run([program, "control", control, "resize", "0", "800x600"], check=True)
                assert front_end.backend_request() == (BACKEND_CONFIG_CHANGE, 1, b"", [])
                assert front_end.get_config()[:4] == struct.pack("<I", 1)
                front_end.set_config(0, struct.pack("<4I", 1, 1, 1, 0))
                assert front_end.get_config()[:4] == bytes(4)
                info = Gpu(front_end).display_info()[0]
                assert info[2:] == (800, 600, 1)
        finally:
            process.terminate()
    assert process.returncode == 0
    assert device.is_alive()


def test_back_end_channel_may_be_replaced(running, device):
    first = running.give_backend_channel()
    files = device.files()
    running.give_backend_channel()
    assert device.files() == files
    first.close()
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


def test_back_end_channel_that_closes_is_survived(running):
    running.give_backend_channel().close()
    running.backend = None
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA


# --- clients ---

def test_second_client_waits_for_the_first(device):
    with FrontEnd(device.socket_path) as first:
        first.start()
        second = Connection(device.socket_path)
        second.send(GET_FEATURES)
        assert Gpu(first).create_2d(1, 8, 8) == OK_NODATA
        second.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            second.receive(GET_FEATURES)
        second.socket.settimeout(10)
    assert len(second.receive(GET_FEATURES)) == 8
    second.close()


def test_messages_may_come_in_pieces(device):
    with Connection(device.socket_path) as connection:
        for byte in struct.pack("<III", GET_FEATURES, 1, 0):
            connection.socket.send(bytes([byte]))
        assert len(connection.receive(GET_FEATURES)) == 8


def test_messages_may_come_all_at_once(device):
    with Connection(device.socket_path) as connection:
        connection.socket.sendall(struct.pack("<III", GET_FEATURES, 1, 0) * 500)
        for _ in range(500):
            connection.receive(GET_FEATURES)


def wake_ups(device):
    status = pathlib.Path(f"/proc/{device.process.pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def test_idle_client_wakes_nobody(running, device):
    Gpu(running).create_2d(1, 8, 8)
    before = []
    wait_until(lambda: before.append(wake_ups(device)) or before[-2:-1] == before[-1:], "quiet")
    time.sleep(0.5)
    assert wake_ups(device) == before[-1]


def test_connected_socket_is_served_and_its_end_is_the_programs(device):
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [build_folder() / "src" / "swede" / "swede", "device", "--fd", str(theirs.fileno()),
             "--transport", "vhost-user", "--display", "none", "--hostmem", "256M"],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    with FrontEnd(sock=ours) as front_end:
        front_end.start()
        assert Gpu(front_end).create_2d(1, 8, 8) == OK_NODATA
        assert process.poll() is None
    assert process.wait(10) == 0
    assert device.is_alive()


def test_running_ring_takes_the_same_configuration_again(running):
    queue = running.queues[0]
    running.set_addresses(0, queue)
    running.tell(SET_VRING_NUM, struct.pack("<II", 0, queue.size))
    running.tell(SET_VRING_KICK, struct.pack("<Q", 0), [running.kicks[0]])
    assert Gpu(running).create_2d(1, 8, 8) == OK_NODATA
