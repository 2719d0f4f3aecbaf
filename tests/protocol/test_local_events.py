# SPDX-License-Identifier: Apache-2.0
"""Events of polled rings on the local socket: what a program reads from the GPU's file, and what it cannot
make of them."""

import errno
import itertools
import socket
import subprocess
import sys
import textwrap

import pytest

from local_client import (CAPSET, CONTEXT_INIT, DELAY, EVENT, EXEC_RING, EXECBUFFER, REFUSE, SECONDS, STALL_RING,
                          Gone, LocalClient, Refused, command, is_reached)
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import
from test_local_bad import open_files

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
FENCES = 3000
DEVICE_ARGUMENTS = ["--max-pending-fences", str(FENCES), "--renderer", "in-process"]
RING = 1


@pytest.fixture(name="client")
def connected_client(device):
    with LocalClient(device.socket_path) as client:
        yield client


def submit(client, commands=b"", ring=RING):
    """Without an answer: the event is all that comes."""
    client.send(EXECBUFFER, client.execbuffer_body(commands, (), EXEC_RING, ring), number=0)


def events_of(file, count):
    """Reads so many events, which have to come, and looks that they are whole."""
    data = b""
    while len(data) < count * len(EVENT):
        part = file.recv(count * len(EVENT) - len(data))
        assert part, "the file ended"
        data += part
    assert data == EVENT * count


def test_each_fence_of_a_polled_ring_is_an_event(client):
    with client.context_that_polls(1 << RING) as events:
        submit(client)
        events_of(events, 1)
        for _ in range(20):
            submit(client)
        events_of(events, 20)
        client.execbuffer(ring=RING + 1)
        client.execbuffer()
        client.execbuffer(ring=RING)  # with an answer as well
        events_of(events, 1)
        assert not is_reached(events)


def test_events_keep_the_order_of_their_ring(client):
    with client.context_that_polls(1 << 1 | 1 << 2) as events:
        submit(client, command(DELAY, value=200), 1)
        submit(client, b"", 1)
        submit(client, b"", 2)
        events_of(events, 1)
        assert not is_reached(events), "ring 1 is busy"
        events_of(events, 2)


def test_all_64_rings_can_be_polled(client):
    with client.context_that_polls(2**64 - 1) as events:
        for ring in (0, 31, 32, 63):
            submit(client, b"", ring)
        events_of(events, 4)


def test_event_and_file_of_one_fence(client):
    with client.context_that_polls(1 << RING) as events:
        with client.fence(command(DELAY, value=50), ring=RING) as fence:
            assert fence.recv(1) == b""
        events_of(events, 1)


def test_commands_that_fail_are_an_event_too(device, client):
    """Nothing else would tell the program, which waits."""
    with client.context_that_polls(1 << RING) as events:
        submit(client, command(REFUSE))
        submit(client)
        events_of(events, 2)
        device.wait_for_log("request 6 fails")
        # Who is answered has an error instead, as an ioctl that fails.
        with pytest.raises(Refused):
            client.execbuffer(command(REFUSE), ring=RING)
        assert not is_reached(events)


def test_events_that_are_not_read_wait_and_are_bounded(device, client):
    with client.context_that_polls(1 << RING) as events:
        for _ in range(FENCES // 2):
            submit(client)
        client.execbuffer()  # all of them were heard
        events_of(events, FENCES // 2)
        submit(client)
        events_of(events, 1)
        start = len(device.log())
        for _ in range(2 * FENCES):
            submit(client)
        gone = client.wait_for_end()
        assert isinstance(gone, Gone)
        device.wait_for_log("is ended: .*pending fences", start)
        while events.recv(1 << 16):  # what was told, and then the end
            pass


def test_program_that_closes_its_file_goes_on(client):
    with client.context_that_polls(1 << RING) as events:
        pass
    assert events.fileno() == -1
    for _ in range(100):
        submit(client)
    client.execbuffer(ring=RING)
    client.wait(client.create_blob(4096))


def test_end_of_the_connection_is_the_end_of_the_file(client):
    events = client.context_that_polls(1 << RING)
    with events:
        submit(client, command(STALL_RING))
        client.close()
        assert events.recv(1) == b""


# --- what is refused ---

@pytest.mark.parametrize("rings, poll_rings", [(0, 1), (1, 2), (2, 4), (2, 2**64 - 1), (63, 2**63)])
def test_ring_that_there_is_not(client, rings, poll_rings):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(Refused) as refused:
            client.ask(CONTEXT_INIT, client.context_body(CAPSET, rings, poll_rings=poll_rings), [theirs.fileno()])
        assert refused.value.errno == errno.EINVAL
    client.context_init()


def ends(client):
    assert isinstance(client.wait_for_end(), Gone)


def test_polled_rings_without_a_file(client):
    client.send(CONTEXT_INIT, client.context_body(poll_rings=2))
    ends(client)


def test_file_without_a_polled_ring(client):
    client.send(CONTEXT_INIT, client.context_body(), [client.socket.fileno()])
    ends(client)


def test_file_of_the_wrong_kind(device):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lonely:
        for fd in itertools.chain([lonely.fileno()], open_files()):
            with LocalClient(device.socket_path) as client:
                client.send(CONTEXT_INIT, client.context_body(poll_rings=2), [fd])
                ends(client)


def test_socket_of_another_process(device, client, tmp_path):
    """What we write there would be heard as ours: that of a listening service, and the device's own."""
    service = textwrap.dedent("""
        import socket, sys
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1])
        listener.listen()
        print("ready", flush=True)
        connection, _ = listener.accept()
        print(connection.recv(100), flush=True)
    """)
    path = str(tmp_path / "service")
    with subprocess.Popen([sys.executable, "-c", service, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            client.send(CONTEXT_INIT, client.context_body(poll_rings=2), [connection.fileno()])
            ends(client)
        assert process.stdout.readline() == "b''\n"
    with LocalClient(device.socket_path) as other:
        other.send(CONTEXT_INIT, other.context_body(poll_rings=2), [other.socket.fileno()])
        ends(other)


def test_context_that_fails_keeps_no_file(device, client):
    ours, theirs = socket.socketpair()
    ours.settimeout(SECONDS)
    with ours:
        with theirs:
            with pytest.raises(Refused):
                client.ask(CONTEXT_INIT, client.context_body(29, 2, poll_rings=2), [theirs.fileno()])
        assert ours.recv(1) == b"", "the device holds no end of it"
    with client.context_that_polls(2) as events:
        submit(client)
        events_of(events, 1)
