# SPDX-License-Identifier: Apache-2.0
"""The local socket, used as it is meant: every message, with the test renderer behind it."""

import errno
import os
import socket
import struct

import pytest

from local_client import (BLOB_GUEST, BLOB_HOST3D_GUEST, CAPSET, CRASH, DELAY, ECHO, EXECBUFFER,
                          FILL, Gone, LOSE_CONTEXT, Lost, MAPPABLE, NEVER_ANSWER, Refused, SECONDS, SLOW,
                          STALL_RING, TRANSFER_FROM_HOST, TRANSFER_TO_HOST, WAIT_NOT, LocalClient,
                          command, is_reached)

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"


def serves_next_client(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        resource = client.create_blob(4096)
        client.echo(resource, b"next")
        assert client.map(resource)[:4] == b"next"


@pytest.fixture(name="client")
def connected_client(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        yield client


def test_hello_tells_what_getparam_and_get_caps_need(device):
    with LocalClient(device.socket_path) as client:
        assert client.params == {1: 1, 2: 1, 3: 1, 4: 1, 5: 0, 6: 1, 7: 1 << CAPSET, 8: 1}
        magic, rings, largest = struct.unpack("<IIQ", client.capsets[CAPSET])
        assert (magic, rings, largest) == (0x74736574, 64, 1 << 30)


def test_blob_is_made_filled_mapped_and_closed(client):
    resource = client.create_blob(65536)
    memory = client.map(resource)
    assert len(memory) == 65536 and memory[:16] == bytes(16)
    client.run(command(FILL, resource, 7, 4096, 1024))
    assert struct.unpack_from("<3I", memory, 4096) == (7, 8, 9)
    memory[0:4] = b"both"
    assert client.map(resource)[:4] == b"both"
    client.close_resource(resource)
    with pytest.raises(Refused) as refused:
        client.map(resource)
    assert refused.value.errno == errno.ENOENT


def test_blob_of_an_odd_size_is_mapped_in_whole_pages(client):
    resource = client.create_blob(5000)
    assert len(client.map(resource)) == 8192


def test_resource_ids_are_not_used_again(client):
    first = client.create_blob(4096)
    client.close_resource(first)
    assert client.create_blob(4096) > first


@pytest.mark.parametrize("memory", [BLOB_GUEST, BLOB_HOST3D_GUEST])
def test_blob_of_guest_memory_is_the_renderers_too(client, memory):
    resource = client.create_blob(8192, memory)
    mapped = client.map(resource)
    assert len(mapped) == 8192
    if memory == BLOB_GUEST:
        client.echo(resource, b"guest", 4096)
        assert mapped[4096:4101] == b"guest"
    client.close_resource(resource)


def test_commands_of_create_blob_run_first(client):
    target = client.create_blob(4096)
    client.create_blob(4096, commands=command(ECHO, target, data=b"before  "))
    client.execbuffer()
    assert client.map(target)[:6] == b"before"


def test_context_is_made_by_the_first_need(device):
    with LocalClient(device.socket_path) as client:
        client.create_3d()
        with pytest.raises(Refused) as refused:
            client.context_init()
        assert refused.value.errno == errno.EEXIST


def test_3d_resource_is_memory(client):
    resource = client.create_3d(width=64, height=64)
    memory = client.map(resource)
    client.echo(resource, b"pixels  ", 128)
    assert memory[128:134] == b"pixels"
    for request in (TRANSFER_TO_HOST, TRANSFER_FROM_HOST):
        client.ask(request, client.transfer_body(resource))


def test_wait_is_over_when_the_fence_is(client):
    resource = client.create_blob(4096)
    client.wait(resource)  # nothing is out
    client.execbuffer(command(DELAY, value=100), [resource])
    with pytest.raises(Refused) as refused:
        client.wait(resource, WAIT_NOT)
    assert refused.value.errno == errno.EBUSY
    client.wait(resource)
    client.wait(resource, WAIT_NOT)


def test_wait_waits_for_every_ring(client):
    resource = client.create_blob(4096)
    client.execbuffer(command(DELAY, value=200), [resource], ring=1)
    client.execbuffer(command(DELAY, value=1), [resource], ring=2)
    client.execbuffer(b"", [resource], ring=2)
    client.wait(resource)
    assert not client.has_answer()
    with pytest.raises(Refused):
        client.execbuffer(command(STALL_RING), [resource], ring=1)
        client.wait(resource, WAIT_NOT)


def test_waiting_does_not_hold_up_other_requests(client):
    resource = client.create_blob(4096)
    client.execbuffer(command(STALL_RING), [resource], ring=5)
    waits = [client.start_waiting(resource) for _ in range(3)]
    other = client.create_blob(4096)
    client.echo(other, b"goes on ")
    assert client.map(other)[:7] == b"goes on"
    assert not set(waits) & set(client.answers)


def test_wait_ends_when_the_resource_is_closed_meanwhile(client):
    resource = client.create_blob(4096)
    client.execbuffer(command(DELAY, value=100), [resource])
    number = client.start_waiting(resource)
    client.close_resource(resource)
    client.wait_for(number)


def test_fences_of_rings_are_apart_and_in_order(client):
    stalled = client.fence(command(STALL_RING), ring=3)
    late = client.fence(ring=3)
    free = client.fence(ring=4)
    assert free.recv(1) == b""
    assert not is_reached(stalled) and not is_reached(late)


def test_fence_file_is_the_programs_to_give_away(client):
    fence = client.fence(command(DELAY, value=50))
    with socket.socket(fileno=os.dup(fence.fileno())) as twin:
        twin.settimeout(SECONDS)
        assert twin.recv(1) == b"" and fence.recv(1) == b""


def test_execbuffer_without_a_number_has_no_answer(client):
    resource = client.create_blob(4096)
    client.send(EXECBUFFER, client.execbuffer_body(command(ECHO, resource, data=b"bell")), number=0)
    client.run(b"")
    assert client.map(resource)[:4] == b"bell"
    assert not client.answers


def test_exported_resource_comes_back_as_itself(client):
    for resource in (client.create_3d(), client.create_blob(4096),
                     client.create_blob(4096, BLOB_GUEST)):
        fd = client.export(resource)
        assert client.import_fd(fd)["resource"] == resource
        os.close(fd)


def test_3d_resource_is_shared_with_another_program(device, client):
    resource = client.create_3d(width=64, height=64)
    fd = client.export(resource)
    with LocalClient(device.socket_path) as other:
        other.context_init()
        imported = other.import_fd(fd)
        assert other.import_fd(fd)["resource"] == imported["resource"]
        other.echo(imported["resource"], b"across  ", 256)
        assert client.map(resource)[256:262] == b"across"
        again = other.export(imported["resource"])
        assert client.import_fd(again)["resource"] == resource
        os.close(again)
        # It outlives the program that made it.
        client.close_resource(resource)
        client.close()
        other.echo(imported["resource"], b"alone   ", 512)
        assert other.map(imported["resource"])[512:517] == b"alone"
        with LocalClient(device.socket_path) as third:
            third.context_init()
            late = third.import_fd(fd)["resource"]
            assert third.map(late)[512:517] == b"alone"
    os.close(fd)


def test_lost_context_ends_the_connection_with_a_reason(device, client):
    resource = client.create_blob(4096)
    client.execbuffer(command(STALL_RING), [resource], ring=1)
    fence = client.fence(ring=1)
    client.start_waiting(resource)
    client.send(EXECBUFFER, client.execbuffer_body(command(LOSE_CONTEXT)), number=0)
    assert isinstance(client.wait_for_end(), Lost)
    assert fence.recv(1) == b""
    device.wait_for_log("is ended: .*The test asked for it")


def test_crash_of_a_renderer_ends_its_program_alone(device, client):
    with LocalClient(device.socket_path) as other:
        other.context_init()
        resource = other.create_blob(4096)
        client.send(EXECBUFFER, client.execbuffer_body(command(CRASH)), number=0)
        assert isinstance(client.wait_for_end(), Gone)
        other.echo(resource, b"alive   ")
        assert other.map(resource)[:5] == b"alive"


def test_slow_renderer_holds_up_its_program_alone(device, client):
    with LocalClient(device.socket_path) as other:
        other.context_init()
        client.execbuffer(command(SLOW, value=1500))
        number = client.send(3, client.blob_body(4096))
        for _ in range(20):
            other.create_blob(4096)
        assert number not in client.answers and not client.has_answer()
        client.wait_for(number)


def test_program_that_leaves_while_a_request_is_out(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        client.execbuffer(command(NEVER_ANSWER))
        client.send(3, client.blob_body(4096, flags=MAPPABLE))
