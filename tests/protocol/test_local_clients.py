# SPDX-License-Identifier: Apache-2.0
"""Many programs on one local socket, programs that are killed, and the limit of their number."""

import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from conftest import wait_until
from local_client import Gone, LocalClient, Lost, Refused, command
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
LIMIT = 40
DEVICE_ARGUMENTS = ["--max-clients", str(LIMIT)]


def test_hundred_programs_come_and_forty_are_served(device):
    clients = [LocalClient(device.socket_path, greet=False) for _ in range(100)]
    served = 0
    for client in clients:
        try:
            client.hello()
            served += 1
        except Lost as lost:
            assert str(lost) == f"The device serves {LIMIT} connections, which is its limit."
        except Gone:
            pass  # it was closed before its greeting was read
    assert served == LIMIT
    for client in clients:
        client.close()
    device.settles()


def _is_served(device):
    try:
        with LocalClient(device.socket_path):
            return True
    except Gone:
        return False


def test_programs_do_not_see_one_another(device):
    clients = []
    for i in range(12):
        client = LocalClient(device.socket_path)
        client.context_init()
        resource = client.create_blob(4096)
        assert resource == 1
        client.echo(resource, b"%08d" % i)
        clients.append(client)
    for i, client in enumerate(clients):
        assert client.map(1)[:8] == b"%08d" % i
        client.close()


KILLED = textwrap.dedent("""
    import sys
    sys.path.insert(0, sys.argv[2])
    from local_client import LocalClient, command
    client = LocalClient(sys.argv[1])
    client.context_init()
    resource = client.create_blob(1 << 20)
    memory = client.map(resource)
    fence = client.fence(command(5), [resource], ring=1)
    waiting = client.start_waiting(resource)
    fd = client.export(client.create_3d())
    print("ready", flush=True)
    sys.stdin.read()
""")


def test_killed_program_leaves_nothing(device):
    folder = os.path.dirname(__file__)
    programs = [subprocess.Popen([sys.executable, "-c", KILLED, str(device.socket_path), folder],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for _ in range(5)]
    for program in programs:
        assert program.stdout.readline() == b"ready\n"
        program.send_signal(signal.SIGKILL)
        program.wait()
        program.stdin.close()
        program.stdout.close()
    device.settles()


# The device then holds the program's end of the socket, which so is never closed.
SENDS_ITS_SOCKET = {
    "half-message": "client.send_bytes(HEADER.pack(IMPORT, 0, 9)[:8], [client.socket.fileno()])",
    "unreached-fence": "client.execbuffer(command(STALL_RING), ring=2, fds=[client.socket.fileno()])",
}


@pytest.mark.parametrize("way", SENDS_ITS_SOCKET)
def test_killed_program_that_sent_its_own_socket(device, way):
    code = KILLED.replace("import LocalClient, command",
                          "import HEADER, IMPORT, STALL_RING, LocalClient, command")
    code = code.replace('print("ready"', SENDS_ITS_SOCKET[way] + '\nprint("ready"')
    with subprocess.Popen([sys.executable, "-c", code, str(device.socket_path),
                           os.path.dirname(__file__)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"ready\n"
        program.kill()
    device.settles()


ENDS_AT_ONCE = textwrap.dedent("""
    import sys
    sys.path.insert(0, sys.argv[2])
    from local_client import HEADER, IMPORT, LocalClient
    client = LocalClient(sys.argv[1], greet=False)
    client.send_bytes(HEADER.pack(IMPORT, 0, 9)[:8], [client.socket.fileno()])
""")


def test_program_that_ended_before_it_was_served(device):
    """It keeps its own end open in the queue of the device, where no hang-up can come any more."""
    device.process.send_signal(signal.SIGSTOP)
    try:
        subprocess.run([sys.executable, "-c", ENDS_AT_ONCE, str(device.socket_path),
                        os.path.dirname(__file__)], check=True, timeout=20)
    finally:
        device.process.send_signal(signal.SIGCONT)
    device.settles()


def test_stopped_program_holds_up_nobody(device):
    program = subprocess.Popen([sys.executable, "-c", KILLED, str(device.socket_path),
                                os.path.dirname(__file__)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert program.stdout.readline() == b"ready\n"
        program.send_signal(signal.SIGSTOP)
        serves_next_client(device)
    finally:
        program.kill()
        program.wait()
        program.stdin.close()
        program.stdout.close()


@pytest.mark.parametrize("count", [200])
def test_programs_in_quick_succession(device, count):
    for i in range(count):
        with LocalClient(device.socket_path, greet=i % 3 != 0 or i % 10 == 1) as client:
            if i % 10 == 1:
                client.context_init()
                client.send(3, client.blob_body(4096))


def test_connections_that_say_nothing_count(device):
    silent = [socket.socket(socket.AF_UNIX) for _ in range(LIMIT)]
    for connection in silent:
        connection.connect(str(device.socket_path))
    with pytest.raises(Gone):
        LocalClient(device.socket_path)
    silent.pop().close()
    wait_until(lambda: _is_served(device), "room for one")
    for connection in silent:
        connection.close()
    device.settles()


def test_one_that_exports_much_leaves_room_for_others(device):
    with LocalClient(device.socket_path) as client, LocalClient(device.socket_path) as other:
        client.context_init()
        other.context_init()
        made = [client.create_3d() for _ in range(1025)]
        for resource in made[:1024]:
            os.close(client.export(resource))
        with pytest.raises(Refused) as refusal:
            client.export(made[1024])
        assert refusal.value.errno == errno.ENOMEM
        os.close(other.export(other.create_3d()))
        client.close_resource(made[0])
        os.close(client.export(made[1024]))


def test_reset_of_one_does_not_touch_the_fences_of_others(device):
    with LocalClient(device.socket_path) as client:
        client.context_init()
        fence = client.fence(command(5), ring=1)
        for _ in range(3):
            serves_next_client(device)
        fence.setblocking(False)
        with pytest.raises(BlockingIOError):
            fence.recv(1)
