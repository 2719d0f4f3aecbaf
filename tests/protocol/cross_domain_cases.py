# SPDX-License-Identifier: Apache-2.0
"""cross-domain against a compositor's socket of the test's own: one list of cases for every door. A test
module imports all of it, says SOCKET, where the device looks for the compositor, and has a fixture `door`:

    channel(context)             a context that is not connected yet (a CrossDomain)
    map(channel, resource, size) the memory of a blob as a program in the guest has it: slices
    MOST_BYTES                   that a guest may have of a file at once

The fixture's end shows that nothing was left behind."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import sys

import pytest

from cross_domain_client import BLOB, MAX_DATA, READ, READ_PIPE, WRITE_PIPE, send_command
from scripted_compositor import PATIENCE_SECONDS, ScriptedCompositor
from virtio_gpu_driver import OK_NODATA

MIB = 1 << 20
GIB = 1 << 30
PIPE = 0x80000001  # an id of the guest's choice
MOST_FILES = 28    # in one message
READ_ONLY = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE


@pytest.fixture
def compositor(request):
    made = ScriptedCompositor(request.module.SOCKET)
    yield made
    made.stop()


def connect(door, compositor, context):  # pylint: disable=redefined-outer-name
    """A connected context; `compositor` is the other end of it."""
    channel = door.channel(context)
    assert channel.init() == OK_NODATA
    channel.compositor = compositor.accept()
    return channel


@pytest.fixture
def guest(door, compositor):  # pylint: disable=redefined-outer-name
    return connect(door, compositor, 1)


@pytest.fixture
def other(door, guest, compositor):  # pylint: disable=redefined-outer-name,unused-argument
    """A second context on the same device."""
    return connect(door, compositor, 2)


@contextlib.contextmanager
def memory_file(contents, seals=0):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, contents)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


def talks(channel, word):
    """Both ways, in turn."""
    assert channel.send(word) == OK_NODATA
    assert channel.compositor.recv(100) == word
    channel.compositor.sendall(word[::-1])
    assert channel.receive().data == word[::-1]


def received_until(channel, size):
    data = b""
    while len(data) < size:
        message = channel.receive()
        assert 0 < len(message.data) <= MAX_DATA and not message.identifiers
        data += message.data
    return data


# --- bytes ---

def test_bytes_go_both_ways(guest):
    for word in (b"hello", b"welcome"):
        talks(guest, word)


def test_half_messages(guest):
    """A stream is cut anywhere, inside a header as well: what is there goes on at once."""
    message = struct.pack("<IIII", 1, 16 << 16, 2, 3)
    pieces = message[:1], message[1:7], message[7:13], message[13:]
    for piece in pieces:
        guest.compositor.sendall(piece)
        assert guest.receive().data == piece
    for piece in pieces:
        assert guest.send(piece) == OK_NODATA
        assert guest.compositor.recv(100) == piece
    with memory_file(b"half") as file:
        socket.send_fds(guest.compositor, [message[:3]], [file])
    half = guest.receive()
    assert half.data == message[:3] and len(half.identifiers) == 1
    guest.compositor.sendall(message[3:])
    rest = guest.receive()
    assert rest.data == message[3:] and not rest.identifiers, "the file came with the first half"


def test_a_message_larger_than_the_ring(guest):
    text = bytes(range(256)) * 40
    guest.compositor.sendall(text)
    assert received_until(guest, len(text)) == text


def test_half_a_message_before_the_end(guest):
    guest.compositor.sendall(b"half")
    guest.compositor.close()
    assert guest.receive().data == b"half"
    assert guest.receive().is_end


def test_commands_that_are_wrong_end_nothing(guest):
    for data in (b"\0" * 4, b"\0" * 8, b"\4\0\7\0\0\0\0\0", b"\4\0\xff\xff\0\0\0\0", b"\x63\0\x08\0\0\0\0\0",
                 send_command(b"half a command")[:-1], send_command(b"")[:100],
                 struct.pack("<BBHI", 4, 0, 352, 0) + b"\xff" * 344):
        guest.submit(data)
    talks(guest, b"still here")


# --- files ---

@pytest.mark.parametrize("length", [5000, 8192])
def test_a_keymap(door, guest, length):
    contents = b"keymap".ljust(length, b".")
    with memory_file(contents, READ_ONLY) as keymap:
        socket.send_fds(guest.compositor, [b"keymap"], [keymap])
    (identifier, kind, size), = guest.receive().identifiers
    assert (kind, size) == (BLOB, length)
    memory = door.map(guest, guest.create_blob(identifier, size), length)
    assert bytes(memory[0:length]) == contents


def test_an_image_of_the_guest_reaches_the_compositor(door, guest):
    stride, size, blob = guest.image(320, 200, "XR24")
    assert (stride, size) == (1280, 258048)
    resource = guest.create_blob(blob, size)
    memory = door.map(guest, resource, size)
    memory[1000:1005] = b"pixel"
    assert guest.send(b"create_pool", [(resource, BLOB)]) == OK_NODATA
    data, (received,), _, _ = socket.recv_fds(guest.compositor, 100, 4)
    assert data == b"create_pool"
    with mmap.mmap(received, size) as mapping:
        os.close(received)
        assert mapping[1000:1005] == b"pixel"
        mapping[2000:2004] = b"back"
        assert bytes(memory[2000:2004]) == b"back"


def test_30_files_in_one_message(door, guest):
    with contextlib.ExitStack() as open_files:
        files = [open_files.enter_context(memory_file(b"file %d." % i)) for i in range(30)]
        socket.send_fds(guest.compositor, [b"0123456789"], files)
    first, second = guest.receive(), guest.receive()
    assert (len(first.identifiers), len(second.identifiers)) == (MOST_FILES, 2)
    assert (first.data, second.data) == (b"012345678", b"9"), "files without a byte would be the end"
    identifiers = [*first.identifiers, *second.identifiers]
    assert len({identifier for identifier, _, _ in identifiers}) == 30
    for i, (identifier, kind, size) in enumerate(identifiers):
        text = b"file %d." % i
        assert (kind, size) == (BLOB, len(text))
        assert bytes(door.map(guest, guest.create_blob(identifier, size), size)[0:size]) == text
    talks(guest, b"after")


def test_a_file_of_6_gib(door, guest):
    """The guest has as much of it as its limit allows."""
    size = door.MOST_BYTES
    with memory_file(b"start", fcntl.F_SEAL_SHRINK) as file:
        os.ftruncate(file, 6 * GIB)
        os.pwrite(file, b"end", size - 3)
        socket.send_fds(guest.compositor, [b"large"], [file])
    (identifier, kind, told), = guest.receive().identifiers
    assert (kind, told) == (BLOB, 0xfffff000), "the field has 32 bits"
    memory = door.map(guest, guest.create_blob(identifier, size), size)
    assert bytes(memory[0:5]) == b"start"
    assert bytes(memory[size - 3:size]) == b"end"
    talks(guest, b"after")


def odd_files():
    """{what: file}: what a compositor may hold and no guest has a word for."""
    memory = os.memfd_create("memory")
    reader, writer = os.pipe()
    os.close(writer)
    files = {
        "the read end of a pipe": reader,
        "a regular file": os.open(sys.executable, os.O_RDONLY),
        "a directory": os.open("/", os.O_RDONLY),
        "a path": os.open("/", os.O_PATH),
        "a device": os.open("/dev/null", os.O_RDWR),
        "a process": os.pidfd_open(os.getpid()),
        "a timer": ctypes.CDLL(None).timerfd_create(1, 0),
        "memory that cannot be read": os.open(f"/proc/self/fd/{memory}", os.O_WRONLY)}
    os.close(memory)
    assert min(files.values()) >= 0
    return files


def test_files_that_no_guest_knows_are_pipes_to_it(guest):
    """And a file of the same message that it knows keeps its place."""
    files = odd_files()
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_SECONDS)
    with ours, memory_file(b"known") as known:
        with theirs:
            socket.send_fds(guest.compositor, [b"odd"], [*files.values(), theirs.fileno(), known])
        for fd in files.values():
            os.close(fd)
        message = guest.receive()
        assert message.data == b"odd"
        assert [kind for _, kind, _ in message.identifiers] == [WRITE_PIPE] * (len(files) + 1) + [BLOB]
        for identifier, kind, _ in message.identifiers:
            if kind == WRITE_PIPE:
                guest.write(identifier, b"into nothing")
                guest.write(identifier, b"", hang_up=True)
        assert ours.recv(100) == b"", "the device has closed it, and written nothing"
    identifier, _, size = message.identifiers[-1]
    guest.create_blob(identifier, size)
    talks(guest, b"after")


def test_an_event_is_a_pipe_to_a_wayland_client(guest):
    event = os.eventfd(0, os.EFD_CLOEXEC)
    socket.send_fds(guest.compositor, [b"event"], [event])
    (identifier, kind, _), = guest.receive().identifiers
    assert kind == WRITE_PIPE
    guest.write(identifier, struct.pack("<Q", 7))
    assert select.select([event], [], [], PATIENCE_SECONDS)[0], "the write arrives"
    assert os.eventfd_read(event) == 7
    os.close(event)


# --- pipes ---

def test_a_paste_and_its_end(guest):
    assert guest.send(b"receive", [(PIPE, READ_PIPE)]) == OK_NODATA
    _, (pipe,), _, _ = socket.recv_fds(guest.compositor, 100, 4)
    os.write(pipe, b"text")
    message = guest.receive()
    assert (message.kind, message.identifier, message.hang_up, message.data) == (READ, PIPE, 0, b"text")
    os.close(pipe)
    message = guest.receive()
    assert (message.kind, message.identifier, message.hang_up, message.data) == (READ, PIPE, 1, b"")


def test_a_copy_and_its_end(guest):
    reader, writer = os.pipe()
    socket.send_fds(guest.compositor, [b"send"], [writer])
    os.close(writer)
    (identifier, kind, _), = guest.receive().identifiers
    assert kind == WRITE_PIPE
    guest.write(identifier, b"te")
    guest.write(identifier, b"xt", hang_up=True)
    with os.fdopen(reader, "rb") as text:
        assert text.read() == b"text"


# --- slow readers ---

LINE = b"0123456789abcdef" * 234  # fills a message
assert len(LINE) == MAX_DATA


def test_a_compositor_that_does_not_read_ends_its_channel_alone(guest, other):
    guest.flood(LINE, 6 * MIB // len(LINE))
    talks(other, b"meanwhile")
    assert guest.receive().is_end
    assert guest.receive().is_end
    taken = 0
    while part := guest.compositor.recv(MIB):
        taken += len(part)
    assert 0 < taken < 4 * MIB, "what the socket took; the rest was given up"
    talks(other, b"afterwards")


def test_a_compositor_that_reads_late_gets_all_of_it(guest):
    _, size, blob = guest.image(64, 64)
    resource = guest.create_blob(blob, size)
    lines = 2 * MIB // len(LINE)
    guest.flood(LINE, lines)
    assert guest.send(b"file", [(resource, BLOB)]) == OK_NODATA
    guest.flood(LINE, 10)
    expected = LINE * lines + b"file" + LINE * 10
    got, files = b"", 0
    while len(got) < len(expected):
        data, fds, _, _ = socket.recv_fds(guest.compositor, MIB, MOST_FILES)
        assert data
        got += data
        files += len(fds)
        if fds:  # the kernel ends a read behind the bytes that files came with
            assert len(got) == len(LINE) * lines + 4, "the file came with its bytes"
        for fd in fds:
            os.close(fd)
    assert got == expected and files == 1


def test_a_guest_that_does_not_ask_holds_up_nobody_else(guest, other):
    """It stalls its own connection: the device reads nothing for it."""
    guest.compositor.setblocking(False)
    said = b""
    with contextlib.suppress(BlockingIOError):
        while len(said) < 64 * MIB:
            said += LINE[:guest.compositor.send(LINE)]
    assert MAX_DATA < len(said) < 64 * MIB
    talks(other, b"meanwhile")
    assert received_until(guest, len(said)) == said
    guest.compositor.settimeout(PATIENCE_SECONDS)
    talks(guest, b"afterwards")


# --- fences ---

def test_contexts_have_fences_of_their_own(guest, other):
    first, second = guest.ask(), other.ask()
    other.compositor.sendall(b"to the second")
    other.wait(second)
    assert other.message().data == b"to the second"
    assert not guest.is_reached(first), "nothing was said to the first"
    third = other.ask()
    guest.compositor.sendall(b"to the first")
    guest.wait(first)
    assert guest.message().data == b"to the first"
    assert not other.is_reached(third)
    other.compositor.sendall(b"again")
    other.wait(third)
    assert other.message().data == b"again"


def test_the_end_of_a_context_is_its_own(guest, other):
    first, second = guest.ask(), other.ask()
    other.destroy()
    other.wait(second)
    assert other.compositor.recv(1) == b""
    assert not guest.is_reached(first)
    guest.compositor.sendall(b"still here")
    guest.wait(first)
    assert guest.message().data == b"still here"
    talks(guest, b"afterwards")


# --- the end ---

def test_a_compositor_that_ends_and_starts_again(door, guest, compositor):
    asked = guest.ask()
    compositor.stop()
    guest.wait(asked)
    assert guest.message().is_end
    assert guest.receive().is_end
    late = door.channel(2)
    late.init()
    assert late.receive().is_end, "the guest's program hears of it"
    compositor.listen()
    assert late.init() == OK_NODATA
    late.compositor = compositor.accept()
    talks(late, b"again")


def test_a_guest_that_goes_in_the_middle_leaves_nothing(door, guest):
    """With a fence out, a paste under way, a mapped image and what the compositor did not read."""
    guest.ask()
    assert guest.send(b"receive", [(PIPE, READ_PIPE)]) == OK_NODATA
    _, fds, _, _ = socket.recv_fds(guest.compositor, 100, 4)
    _, size, blob = guest.image(64, 64)
    resource = guest.create_blob(blob, size)
    door.map(guest, resource, size)
    guest.flood(LINE, MIB // len(LINE))
    assert guest.send(b"file", [(resource, BLOB)]) == OK_NODATA
    for fd in fds:
        os.close(fd)
