# SPDX-License-Identifier: Apache-2.0
"""A program on the local socket, as src/wire/local_socket.h has it, and the test renderer's commands
(tests/programs/test_renderer_commands.h)."""

import array
import errno
import mmap
import os
import select
import socket
import struct

VERSION = 2
(HELLO, CONTEXT_INIT, CREATE_BLOB, CREATE_3D, MAP, EXECBUFFER, WAIT, EXPORT, IMPORT,
 TRANSFER_TO_HOST, TRANSFER_FROM_HOST, CLOSE) = range(1, 13)
WELCOME, ANSWER, LOST = 0x100, 0x101, 0x102
HEADER = struct.Struct("<IIQ")
ANSWER_BODY = struct.Struct("<IIIIQQI4x")
CONTEXT_INIT_BODY = struct.Struct("<IIQII64s")
MAY_READ, MAY_WRITE = 1, 2
EVENT = struct.pack("<II", 0x90000000, 8)
EXEC_FENCE, EXEC_RING = 1, 2
WAIT_NOT = 1
MAX_COMMANDS = 4 << 20
MAX_RESOURCES = 4096

CAPSET = 30
BLOB_GUEST, BLOB_HOST3D, BLOB_HOST3D_GUEST = 1, 2, 3
MAPPABLE = 1

(ECHO, ADD, FILL, DELAY, STALL_RING, SLOW, FAIL, NEVER_ANSWER, REFUSE, LOSE_CONTEXT, CRASH,
 HANG) = range(1, 13)
NEW_FILE = 15

SECONDS = 20


class Refused(Exception):
    """The answer was an error."""

    def __init__(self, number, text):
        super().__init__(f"{errno.errorcode.get(number, number)}: {text}")
        self.errno = number
        self.text = text


class Gone(Exception):
    """The device ended the connection."""


class Lost(Gone):
    """It said why."""


def command(operation, resource=0, value=0, offset=0, argument=0, data=b""):
    return struct.pack("<IIIIQQ", operation, 32 + len(data), resource, value, offset,
                       argument) + data


class LocalClient:
    """One connection. What it sends is what the test says; nothing is checked on this side."""

    def __init__(self, path, greet=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.settimeout(SECONDS)
        self.next_request = 1
        self.answers = {}
        self.params = {}
        self.capsets = {}
        if greet:
            self.hello()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # --- messages ---

    def send_bytes(self, data, fds=()):
        """As much as the device reads; what it does not want to read ends in an error of ours."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.socket.sendmsg([data], ancillary)
            self.socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send(self, request, body=b"", fds=(), number=None):
        """Sends a request; its number."""
        if number is None:
            number = self.next_request
            self.next_request += 1
        self.send_bytes(HEADER.pack(request, len(body), number) + body, fds)
        return number

    def _read(self, size):
        data, fds = b"", []
        while len(data) < size:
            try:
                part, ancillary, _, _ = self.socket.recvmsg(size - len(data), 4096)
            except ConnectionResetError as error:
                raise Gone("the connection was reset") from error
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    numbers = array.array("i")
                    numbers.frombytes(value[:len(value) - len(value) % numbers.itemsize])
                    fds += numbers
            if not part:
                raise Gone("the connection was closed")
            data += part
        return data, fds

    def receive(self):
        """One message of the device: type, request, payload, fds."""
        header, fds = self._read(HEADER.size)
        kind, size, request = HEADER.unpack(header)
        payload, more = self._read(size) if size else (b"", [])
        if kind == LOST:
            raise Lost(payload.decode())
        return kind, request, payload, fds + more

    def wait_for(self, number):
        """The answer to that request; others that come before are kept."""
        while number not in self.answers:
            kind, request, payload, fds = self.receive()
            assert kind in (ANSWER, WELCOME)
            self.answers[request] = payload, fds
        payload, fds = self.answers.pop(number)
        error, resource, blob_mem, map_info, size, offset, access = ANSWER_BODY.unpack_from(payload)
        if error:
            assert not fds
            raise Refused(error, payload[ANSWER_BODY.size:].decode())
        assert len(payload) == ANSWER_BODY.size
        return {"resource": resource, "blob_mem": blob_mem, "map_info": map_info, "size": size,
                "offset": offset, "access": access, "fds": fds}

    def has_answer(self, seconds=0.0):
        return bool(select.select([self.socket], [], [], seconds)[0])

    def ask(self, request, body=b"", fds=()):
        return self.wait_for(self.send(request, body, fds))

    def wait_for_end(self):
        """Reads on to the end of the connection, which has to come."""
        try:
            while True:
                self.receive()
        except Gone as gone:
            return gone

    # --- requests ---

    def hello(self, version=VERSION):
        number = self.send(HELLO, struct.pack("<II", version, 0))
        kind, request, payload, _ = self.receive()
        assert (kind, request) == (WELCOME, number)
        version, params, capsets, _ = struct.unpack_from("<IIII", payload)
        assert version == VERSION
        offset = 16
        for _ in range(params):
            param, value = struct.unpack_from("<II", payload, offset)
            self.params[param] = value
            offset += 8
        for _ in range(capsets):
            capset, _, size, _ = struct.unpack_from("<IIII", payload, offset)
            self.capsets[capset] = payload[offset + 16:offset + 16 + size]
            offset += 16 + size
        assert offset == len(payload)

    @staticmethod
    def context_body(capset=CAPSET, rings=64, name=b"test", name_size=None, poll_rings=0):
        return CONTEXT_INIT_BODY.pack(capset, rings, poll_rings,
                                      len(name) if name_size is None else name_size, 0, name)

    def context_init(self, *arguments, **options):
        return self.ask(CONTEXT_INIT, self.context_body(*arguments, **options))

    def context_that_polls(self, poll_rings, capset=CAPSET, rings=64):
        """Makes the context; the file on which events of these rings come."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.ask(CONTEXT_INIT, self.context_body(capset, rings, poll_rings=poll_rings),
                     [theirs.fileno()])
        ours.settimeout(SECONDS)
        return ours

    @staticmethod
    def blob_body(size=65536, memory=BLOB_HOST3D, flags=MAPPABLE, blob_id=1, commands=b""):
        return struct.pack("<IIQQ", memory, flags, blob_id, size) + commands

    def create_blob(self, *arguments, **options):
        return self.ask(CREATE_BLOB, self.blob_body(*arguments, **options))["resource"]

    @staticmethod
    def body_3d(width=64, height=16, size=4096, target=2, depth=1):
        return struct.pack("<12I", target, 1, 2, width, height, depth, 1, 0, 0, 0, size,
                           width * 4 & 0xffffffff)

    def create_3d(self, **options):
        return self.ask(CREATE_3D, self.body_3d(**options))["resource"]

    def map(self, resource):
        """The memory itself."""
        answer = self.ask(MAP, struct.pack("<II", resource, 0))
        (fd,) = answer["fds"]
        try:
            return mmap.mmap(fd, answer["size"], offset=answer["offset"])
        finally:
            os.close(fd)

    def export(self, resource):
        (fd,) = self.ask(EXPORT, struct.pack("<II", resource, 0))["fds"]
        return fd

    def import_fd(self, fd):
        return self.ask(IMPORT, fds=[fd])

    @staticmethod
    def execbuffer_body(commands=b"", resources=(), flags=0, ring=0, count=None):
        return struct.pack("<IIII", flags, ring, len(resources) if count is None else count,
                           0) + struct.pack(f"<{len(resources)}I", *resources) + commands

    def execbuffer(self, commands=b"", resources=(), ring=None, fence=True, fds=()):
        flags = (EXEC_FENCE if fence else 0) | (EXEC_RING if ring is not None else 0)
        return self.ask(EXECBUFFER, self.execbuffer_body(commands, resources, flags, ring or 0),
                        fds)

    def fence(self, commands=b"", resources=(), ring=None):
        """Submits; a socket that reads as ended when the fence is reached."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.execbuffer(commands, resources, ring, fds=[theirs.fileno()])
        ours.settimeout(SECONDS)
        return ours

    def run(self, commands, resources=()):
        with self.fence(commands, resources, ring=0) as fence:
            assert fence.recv(1) == b""

    def wait(self, resource, flags=0):
        return self.ask(WAIT, struct.pack("<II", resource, flags))

    def start_waiting(self, resource):
        return self.send(WAIT, struct.pack("<II", resource, 0))

    def close_resource(self, resource):
        return self.ask(CLOSE, struct.pack("<II", resource, 0))

    @staticmethod
    def transfer_body(resource):
        return struct.pack("<10IQ", resource, 0, 0, 0, 0, 64, 16, 1, 256, 0, 0)

    def echo(self, resource, data, offset=0):
        self.run(command(ECHO, resource, offset=offset, data=data))


def is_reached(fence):
    return bool(select.select([fence], [], [], 0)[0])
