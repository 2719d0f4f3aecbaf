# SPDX-License-Identifier: Apache-2.0
"""The local socket against programs that break its protocol: what cannot be read ends the
connection, what cannot be done is refused, and the device serves on."""

import contextlib
import errno
import os
import select
import socket
import struct

import pytest

from conftest import wait_until
from lingering import Lingering, stopped
from local_client import (BLOB_GUEST, BLOB_HOST3D, CAPSET, CLOSE, CONTEXT_INIT, CREATE_3D,
                          CREATE_BLOB, EXEC_FENCE, EXEC_RING, EXECBUFFER, EXPORT, FAIL, HEADER,
                          HELLO, IMPORT, Lost, MAP, MAX_COMMANDS, MAX_RESOURCES, NEVER_ANSWER,
                          NEW_FILE, REFUSE, STALL_RING, TRANSFER_FROM_HOST, TRANSFER_TO_HOST, VERSION, WAIT, Gone, LocalClient,
                          Refused, command)
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
DEVICE_ARGUMENTS = ["--max-host-memory", "64M", "--max-resources", "100",
                    "--max-pending-fences", "50", "--max-pending-commands", "20",
                    "--max-files", "8"]

FIXED_SIZES = {HELLO: 8, CONTEXT_INIT: 88, CREATE_BLOB: 24, CREATE_3D: 48, MAP: 8, EXECBUFFER: 16,
               WAIT: 8, EXPORT: 8, IMPORT: 0, TRANSFER_TO_HOST: 48, TRANSFER_FROM_HOST: 48,
               CLOSE: 8}
NEED_A_NUMBER = [request for request in FIXED_SIZES if request not in (EXECBUFFER, CLOSE)]


@pytest.fixture(name="client")
def connected_client(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        yield client


@pytest.fixture(name="null")
def null_file():
    fd = os.open("/dev/null", os.O_RDWR)
    yield fd
    os.close(fd)


def refused(client, request, body=b"", fds=(), number=errno.EINVAL):
    with pytest.raises(Refused) as refusal:
        client.ask(request, body, fds)
    assert refusal.value.errno == number, refusal.value
    assert refusal.value.text.endswith(".")
    client.wait(client.create_blob(4096))  # it goes on


def ends(client):
    assert isinstance(client.wait_for_end(), Gone)


# --- what ends a connection ---

@pytest.mark.parametrize("request_type", sorted(FIXED_SIZES))
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_size(device, request_type, change):
    size = FIXED_SIZES[request_type] + change
    if size < 0 or (change > 0 and request_type in (CREATE_BLOB, EXECBUFFER)):
        return
    with LocalClient(device.socket_path, greet=request_type != HELLO) as client:
        fds = [client.socket.fileno()] if request_type == IMPORT else []
        client.send(request_type, bytes(size), fds)
        ends(client)


@pytest.mark.parametrize("request_type", sorted(set(FIXED_SIZES) - {CONTEXT_INIT, IMPORT, EXECBUFFER}))
def test_file_where_none_belongs(device, null, request_type):
    with LocalClient(device.socket_path, greet=request_type != HELLO) as client:
        client.send(request_type, bytes(FIXED_SIZES[request_type]), [null])
        ends(client)


@pytest.mark.parametrize("count", [0, 2, 100, 253])
def test_import_with_another_count_of_files(client, null, count):
    client.send(IMPORT, fds=[null] * count)
    ends(client)


@pytest.mark.parametrize("request_type", [0, 13, 0x100, 0x101, 0xffffffff])
def test_unknown_request(client, request_type):
    client.send(request_type)
    ends(client)


@pytest.mark.parametrize("size", [MAX_COMMANDS + 65537, 0x7fffffff, 0xffffffff])
def test_claim_of_a_huge_message(client, size):
    client.send_bytes(HEADER.pack(CREATE_BLOB, size, 7))
    ends(client)


@pytest.mark.parametrize("request_type", NEED_A_NUMBER)
def test_request_that_wants_no_answer_but_has_one(device, request_type):
    with LocalClient(device.socket_path, greet=request_type != HELLO) as client:
        fds = [client.socket.fileno()] if request_type == IMPORT else []
        client.send(request_type, bytes(FIXED_SIZES[request_type]), fds, number=0)
        ends(client)


@pytest.mark.parametrize("version", [0, VERSION - 1, VERSION + 1, 0xffffffff])
def test_other_version(device, version):
    with LocalClient(device.socket_path, greet=False) as client:
        client.send(HELLO, struct.pack("<II", version, 0))
        ends(client)


@pytest.mark.parametrize("request_type", sorted(set(FIXED_SIZES) - {HELLO, IMPORT}))
def test_request_before_the_greeting(device, request_type):
    with LocalClient(device.socket_path, greet=False) as client:
        client.send(request_type, bytes(FIXED_SIZES[request_type]))
        ends(client)


def test_second_greeting(client):
    client.send(HELLO, struct.pack("<II", VERSION, 0))
    ends(client)


@pytest.mark.parametrize("cut", range(1, 16))
def test_truncated_header(device, cut):
    with LocalClient(device.socket_path) as client:
        client.send_bytes(HEADER.pack(WAIT, 8, 1)[:cut])


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n" * 4, b"\xff" * 4096, bytes(4096)])
def test_noise(device, data):
    with LocalClient(device.socket_path, greet=False) as client:
        client.send_bytes(data)
        ends(client)


def test_fence_file_without_a_fence(client):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client.send(EXECBUFFER, client.execbuffer_body(), [theirs.fileno()])
        ends(client)


def open_files():
    """Files that are no stream socket of the Unix family."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams, \
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as internet:
        read, write = os.pipe()
        memory = os.memfd_create("file")
        for fd in (datagrams.fileno(), internet.fileno(), read, write, memory):
            yield fd
        for fd in (read, write, memory):
            os.close(fd)


def test_fence_file_of_the_wrong_kind(device):
    for fd in open_files():
        with LocalClient(device.socket_path) as client:
            client.context_init()
            client.send(EXECBUFFER, client.execbuffer_body(flags=EXEC_FENCE), [fd])
            ends(client)


# --- what is refused ---

@pytest.mark.parametrize("capset, rings, name_size", [
    (0, 0, 0), (29, 0, 0), (31, 0, 0), (64, 1, 0), (0x100 + CAPSET, 1, 0), (0xffffffff, 1, 0),
    (CAPSET, 65, 0), (CAPSET, 0xffffffff, 0), (CAPSET, 1, 65), (CAPSET, 1, 0xffffffff)])
def test_context_that_is_not_possible(device, capset, rings, name_size):
    with LocalClient(device.socket_path) as client:
        with pytest.raises(Refused) as refusal:
            client.context_init(capset, rings, b"x", name_size)
        assert refusal.value.errno == errno.EINVAL
        client.context_init()


def test_contexts_that_fail_again_and_again(device):
    """Each may have cost a process."""
    with LocalClient(device.socket_path) as client:
        numbers = []
        for _ in range(20):
            with pytest.raises(Refused) as refusal:
                client.context_init(name=b"refused")
            numbers.append(refusal.value.errno)
        assert set(numbers[:8]) == {errno.ENOTSUP} and errno.ENOMEM in numbers[8:]


def test_second_context(client):
    refused(client, CONTEXT_INIT, client.context_body(), number=errno.EEXIST)


@pytest.mark.parametrize("size, memory, flags", [
    (0, BLOB_HOST3D, 1), (0, BLOB_GUEST, 1), (4096, 0, 1), (4096, 4, 1), (4096, 0xffffffff, 1),
    (4096, BLOB_HOST3D, 8), (4096, BLOB_HOST3D, 0xffffffff),
    (2**64 - 1, BLOB_GUEST, 1), (2**64 - 4096, BLOB_GUEST, 1)])
def test_blob_that_is_not_possible(client, size, memory, flags):
    with pytest.raises(Refused) as refusal:
        client.create_blob(size, memory, flags)
    assert refusal.value.errno in (errno.EINVAL, errno.ENOMEM)
    client.wait(client.create_blob(4096))


@pytest.mark.parametrize("memory", [BLOB_HOST3D, BLOB_GUEST])
def test_blob_over_the_limit(client, memory):
    for size in (65 << 20, 2**40, 2**63):
        refused(client, CREATE_BLOB, client.blob_body(size, memory), number=errno.ENOMEM)


@pytest.mark.parametrize("shape", [
    {"width": 0}, {"height": 0}, {"depth": 0}, {"width": 0xffffffff, "height": 0xffffffff},
    {"width": 65536, "height": 65536}])
def test_3d_resource_that_is_not_possible(client, shape):
    if shape == {"depth": 0}:
        client.create_3d(**shape)  # the renderer's business, and it does not mind
        return
    refused(client, CREATE_3D, client.body_3d(**shape), number=errno.ENOMEM)


def test_more_resources_than_the_limit(client):
    made = [client.create_blob(4096) for _ in range(100)]
    with pytest.raises(Refused) as refusal:
        client.create_blob(4096)
    assert refusal.value.errno == errno.ENOMEM
    client.close_resource(made[0])
    client.create_blob(4096)


@pytest.mark.parametrize("request_type", [MAP, EXPORT, WAIT, CLOSE])
@pytest.mark.parametrize("resource", [0, 1, 77, 0xffffffff])
def test_unknown_resource(client, request_type, resource):
    refused(client, request_type, struct.pack("<II", resource, 0), number=errno.ENOENT)


@pytest.mark.parametrize("request_type", [TRANSFER_TO_HOST, TRANSFER_FROM_HOST])
def test_transfer_of_an_unknown_resource(client, request_type):
    refused(client, request_type, client.transfer_body(9), number=errno.ENOENT)


def test_resource_of_another_program(device, client):
    with LocalClient(device.socket_path) as other:
        other.context_init()
        for _ in range(3):
            theirs = other.create_blob(4096)
        refused(client, MAP, struct.pack("<II", theirs, 0), number=errno.ENOENT)


def test_map_of_what_was_not_made_for_it(client):
    resource = client.create_blob(4096, flags=0)
    refused(client, MAP, struct.pack("<II", resource, 0))


def test_wait_with_unknown_flags(client):
    resource = client.create_blob(4096)
    refused(client, WAIT, struct.pack("<II", resource, 2))


@pytest.mark.parametrize("flags, ring", [(4, 0), (0x80000000, 0), (EXEC_RING, 64),
                                         (EXEC_RING, 256), (EXEC_RING, 0xffffffff)])
def test_submission_that_is_not_possible(client, flags, ring):
    refused(client, EXECBUFFER, client.execbuffer_body(b"", (), flags, ring))


def test_ring_of_a_context_without_rings(device):
    with LocalClient(device.socket_path) as client:
        client.context_init(rings=0)
        refused(client, EXECBUFFER, client.execbuffer_body(b"", (), EXEC_RING, 0))


def test_submission_with_an_unknown_resource(client):
    known = client.create_blob(4096)
    refused(client, EXECBUFFER, client.execbuffer_body(b"", (known, 99), EXEC_FENCE),
            number=errno.ENOENT)
    client.wait(known)


@pytest.mark.parametrize("count", [1, 2, MAX_RESOURCES, MAX_RESOURCES + 1, 0x40000000, 0xffffffff])
def test_submission_whose_list_is_cut(client, count):
    refused(client, EXECBUFFER, client.execbuffer_body(b"abc", (), 0, 0, count))


@pytest.mark.parametrize("commands", [b"x" * 33, command(REFUSE), bytes(MAX_COMMANDS)])
def test_commands_that_the_renderer_refuses(client, commands):
    """They have been taken by then, so they cost the context."""
    client.execbuffer(commands)
    assert isinstance(client.wait_for_end(), Lost)


def test_commands_of_the_largest_size(client):
    resource = client.create_blob(4 << 20)
    longest = bytes(range(256)) * ((MAX_COMMANDS - 32) // 256)
    client.echo(resource, longest)
    assert client.map(resource)[:len(longest)] == longest
    refused(client, EXECBUFFER, client.execbuffer_body(bytes(MAX_COMMANDS + 4)),
            number=errno.ENOMEM)


def test_failure_of_the_renderer_is_the_answer(client):
    client.execbuffer(command(FAIL))
    refused(client, CREATE_BLOB, client.blob_body(4096), number=errno.ENOMEM)


def test_more_fences_than_the_limit(client):
    for _ in range(50):
        client.execbuffer(command(5), ring=1)
    with pytest.raises(Refused) as refusal:
        client.execbuffer(ring=1)
    assert refusal.value.errno == errno.ENOMEM
    client.execbuffer(fence=False)


def test_more_files_of_fences_than_the_limit(client):
    client.execbuffer(command(STALL_RING), ring=1)
    fences = [client.fence(ring=1) for _ in range(8)]
    with pytest.raises(Refused) as refusal:
        client.fence(ring=1)
    assert refusal.value.errno == errno.ENOMEM
    client.execbuffer(ring=1)
    for fence in fences:
        fence.close()


def test_more_memory_of_guests_than_the_limit_of_files(client):
    """Each takes two files."""
    made = [client.create_blob(4096, BLOB_GUEST) for _ in range(4)]
    refused(client, CREATE_BLOB, client.blob_body(4096, BLOB_GUEST), number=errno.ENOMEM)
    client.close_resource(made[0])
    client.create_blob(4096, BLOB_GUEST)


def test_more_waits_than_the_limit(client):
    resource = client.create_blob(4096)
    client.execbuffer(command(5), [resource], ring=1)
    numbers = [client.start_waiting(resource) for _ in range(21)]
    with pytest.raises(Refused) as refusal:
        client.wait_for(numbers[-1])
    assert refusal.value.errno == errno.ENOMEM


# --- PRIME ---

def test_import_of_a_file_that_is_none_of_ours(client, null):
    refused(client, IMPORT, fds=[null])
    for fd in open_files():
        refused(client, IMPORT, fds=[fd])
    refused(client, IMPORT, fds=[client.socket.fileno()])


def test_import_of_a_blob_of_another_program(device, client):
    fd = client.export(client.create_blob(4096))
    with LocalClient(device.socket_path) as other:
        other.context_init()
        refused(other, IMPORT, fds=[fd])
    os.close(fd)


def test_imported_memory_cannot_be_cut(client):
    fd = client.export(client.create_3d())
    for length in (0, 1, 1 << 20):
        with pytest.raises(OSError):
            os.ftruncate(fd, length)
    os.close(fd)


def test_resource_whose_renderer_changes_its_file(device, client):
    """Only the newest is the resource's. The others are its memory of then, as after its end."""
    resource = client.create_3d()
    first = client.export(resource)
    client.run(command(NEW_FILE, resource))
    second = client.export(resource)
    assert not os.path.sameopenfile(first, second)
    assert client.import_fd(second)["resource"] == resource
    assert client.import_fd(first)["resource"] != resource
    with LocalClient(device.socket_path) as other:
        other.context_init()
        other.import_fd(first)
        other.import_fd(second)
    os.close(first)
    os.close(second)


def test_import_is_charged_to_who_imports(device, client):
    """The limit of host memory holds for imported memory too: it is kept alive."""
    fds = [client.export(client.create_3d(width=2048, height=2048)) for _ in range(3)]
    with LocalClient(device.socket_path) as other:
        other.context_init()
        held = other.create_blob(40 << 20)
        other.import_fd(fds[0])
        with pytest.raises(Refused) as refusal:
            other.import_fd(fds[1])
        assert refusal.value.errno == errno.ENOMEM
        other.close_resource(held)
        other.import_fd(fds[1])
    for fd in fds:
        os.close(fd)


# --- files whose close() waits ---

def others_are_served(device):
    for _ in range(3):  # the first may be before what came earlier
        with LocalClient(device.socket_path, greet=False) as other:
            other.socket.settimeout(10)
            other.hello()


@pytest.mark.parametrize("request_type, count", [(CREATE_BLOB, 1), (IMPORT, 1), (IMPORT, 2),
                                                 (IMPORT, 250), (EXECBUFFER, 1)])
def test_file_that_lingers(device, null, request_type, count):
    with Lingering() as lingering, LocalClient(device.socket_path) as client:
        client.context_init()
        body = client.execbuffer_body(flags=EXEC_FENCE) if request_type == EXECBUFFER else bytes(
            FIXED_SIZES[request_type])
        lingering.give(
            device, lambda fd: client.send(request_type, body, [null] * (count - 1) + [fd]))
        others_are_served(device)


def test_file_that_lingers_in_a_fence_file(device):
    with Lingering() as lingering, LocalClient(device.socket_path) as client:
        client.context_init()
        ours, theirs = lingering.in_a_queue()
        with ours:
            with stopped(device), theirs:
                client.send(EXECBUFFER, client.execbuffer_body(flags=EXEC_FENCE), [theirs.fileno()])
            others_are_served(device)
            assert select.select([ours], [], [], 10)[0]


def test_file_that_lingers_in_a_fence_file_to_the_end(device):
    with Lingering() as lingering, LocalClient(device.socket_path) as client:
        client.context_init()
        ours, theirs = lingering.in_a_queue()
        with stopped(device), theirs:
            client.send(EXECBUFFER, client.execbuffer_body(command(STALL_RING), flags=EXEC_FENCE),
                        [theirs.fileno()])
        ours.close()
        client.close()
        others_are_served(device)


def test_file_that_lingers_in_an_event_file(device):
    with Lingering() as lingering, LocalClient(device.socket_path) as client:
        ours, theirs = lingering.in_a_queue()
        with stopped(device), theirs:
            client.send(CONTEXT_INIT, client.context_body(poll_rings=2), [theirs.fileno()])
        ours.close()
        client.close()
        others_are_served(device)


def test_file_that_lingers_in_an_unread_request(device):
    with Lingering() as lingering, LocalClient(device.socket_path) as client:
        client.context_init()
        client.execbuffer(command(NEVER_ANSWER))
        client.send(CREATE_BLOB, client.blob_body())
        lingering.give(device, lambda fd: client.send(IMPORT, fds=[fd]))
        client.close()
        others_are_served(device)


def test_refused_files_that_pile_up(device, null):
    with contextlib.ExitStack() as stack, LocalClient(device.socket_path) as client:
        client.context_init()
        lingering = [stack.enter_context(Lingering()) for _ in range(8)]
        with stopped(device):  # once: that ends the wait of a close()
            for one in lingering:
                client.send(IMPORT, fds=[one.socket.fileno()])
                one.socket.close()
        with pytest.raises(Gone):
            for _ in range(2000):
                with contextlib.suppress(Refused):
                    client.import_fd(null)
        device.wait_for_log("files do not close")


def test_file_that_lingers_with_who_is_turned_away(device):
    clients = [LocalClient(device.socket_path) for _ in range(64)]
    with Lingering() as lingering:
        with stopped(device), LocalClient(device.socket_path, greet=False) as late:
            late.send(IMPORT, fds=[lingering.socket.fileno()])
            lingering.socket.close()
        device.wait_for_log("64 connections, which is its limit")
        clients[0].context_init()
        for client in clients:
            client.close()
    device.settles()


# --- programs that do not behave ---

def test_program_that_never_reads(device):
    """Its answers fill the socket, then a bounded buffer; then it is over."""
    with LocalClient(device.socket_path) as client:
        client.context_init()
        resource = client.create_blob(4096)
        client.socket.settimeout(0.5)
        body = HEADER.pack(WAIT, 8, 5) + struct.pack("<II", resource, 0)
        try:
            for _ in range(2000):
                client.send_bytes(body * 100)
        except TimeoutError:
            pass
        device.wait_for_log("leaves [0-9]+ bytes unread")


def test_program_that_never_reads_files(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        resource = client.create_blob(4096)
        start = len(device.log())
        client.socket.settimeout(0.5)
        body = HEADER.pack(MAP, 8, 5) + struct.pack("<II", resource, 0)
        try:
            for _ in range(2000):
                client.send_bytes(body * 10)
        except TimeoutError:
            pass
        device.wait_for_log("leaves [0-9]+ (bytes unread|file descriptors)", start)


def test_program_that_sends_byte_by_byte(device):
    with LocalClient(device.socket_path, greet=False) as client:
        for byte in HEADER.pack(HELLO, 8, 1) + struct.pack("<II", VERSION, 0):
            assert not select.select([client.socket], [], [], 0)[0]
            client.send_bytes(bytes([byte]))
        assert client.receive()[0] == 0x100


def test_half_closed_connection_ends(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        client.socket.shutdown(socket.SHUT_WR)
        ends(client)
    wait_until(device.is_alive, "life")
