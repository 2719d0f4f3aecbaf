# SPDX-License-Identifier: Apache-2.0
"""A vhost-user front end (QEMU 11.1, docs/interop/vhost-user.rst), good or bad as the test wants."""

import array
import mmap
import os
import select
import socket
import struct

from vfio_user_client import NEXT, WRITE, Queue, Ram

TIMEOUT_SECONDS = 10

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD,
 SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
 SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM,
 SET_VRING_ENABLE) = range(1, 19)
SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG, GPU_SET_SOCKET, RESET_DEVICE = 21, 24, 25, 33, 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, GET_SHMEM_CONFIG = 36, 37, 38, 44

VERSION, REPLY, NEED_REPLY = 1, 4, 8
MQ, REPLY_ACK, BACKEND_REQ, CONFIG, BACKEND_SEND_FD = (1 << bit for bit in (0, 3, 5, 9, 10))
RESET, MEM_SLOTS, SHMEM = 1 << 13, 1 << 15, 1 << 22
PROTOCOL_FEATURES = 1 << 30
INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_RESET = 1 << 28, 1 << 29, 1 << 32, 1 << 40

BACKEND_CONFIG_CHANGE, BACKEND_SHMEM_MAP, BACKEND_SHMEM_UNMAP = 2, 9, 10

NO_FD = 0x100
USER = 0x7f0000000000  # user address of guest address 0


class Refused(Exception):
    """The device answered NEED_REPLY with a status that is not 0."""


class Closed(Exception):
    """The device closed the connection."""


def send_with_fds(sock, data, fds=()):
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sent = sock.sendmsg([data], ancillary)
        while sent < len(data):
            sent += sock.send(data[sent:])
    except (BrokenPipeError, ConnectionResetError) as gone:
        raise Closed from gone


def receive_exactly(sock, size, fds=None):
    data = b""
    while len(data) < size:
        try:
            part, ancillary, _, _ = sock.recvmsg(size - len(data), socket.CMSG_SPACE(4 * 64))
        except ConnectionResetError as gone:
            raise Closed from gone
        for level, kind, content in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            received = array.array("i", content[:len(content) // 4 * 4])
            if fds is None:
                for fd in received:
                    os.close(fd)
                raise AssertionError("a message carries files")
            fds.extend(received)
        if not part:
            raise Closed
        data += part
    return data


class Connection:
    """The main channel."""

    def __init__(self, path=None, sock=None):
        self.socket = sock or socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_SECONDS)
        if path:
            self.socket.connect(str(path))

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, request, payload=b"", fds=(), *, flags=VERSION, size=None):
        """`size` lies about the payload's length."""
        header = struct.pack("<III", request, flags, len(payload) if size is None else size)
        send_with_fds(self.socket, header + payload, fds)

    def receive(self, request):
        """The payload of the reply to `request`."""
        kind, flags, size = struct.unpack("<III", receive_exactly(self.socket, 12))
        assert (kind, flags) == (request, VERSION | REPLY)
        return receive_exactly(self.socket, size)

    def ask(self, request, payload=b"", form=None):
        self.send(request, payload)
        answer = self.receive(request)
        return struct.unpack(form, answer) if form else answer

    def tell(self, request, payload=b"", fds=(), **kwargs):
        """Sends a request and waits for its status; raises Refused."""
        self.send(request, payload, fds, flags=VERSION | NEED_REPLY, **kwargs)
        status, = struct.unpack("<Q", self.receive(request))
        if status:
            raise Refused(status)

    def is_closed_by_device(self):
        """Waits for the end of the connection; what is still sent is read."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


class FrontEnd(Connection):
    """A front end with guest RAM and two rings. Close it, or the client stays."""

    def __init__(self, path=None, sock=None, ram=None, protocol_features=None, negotiate=True):
        super().__init__(path, sock)
        self.ram = ram or Ram()
        self.queues, self.kicks, self.calls, self.opened = [], [], [], []
        self.backend = None
        self.device_features = self.features = 0
        if negotiate:
            self.negotiate(protocol_features)

    def close(self):
        super().close()
        self.ram.close()
        if self.backend:
            self.backend.close()
        for fd in self.kicks + self.calls + self.opened:
            os.close(fd)
        self.kicks, self.calls, self.opened = [], [], []

    # --- what QEMU does at connection ---

    def negotiate(self, protocol_features=None):
        self.device_features, = self.ask(GET_FEATURES, form="<Q")
        assert self.device_features & PROTOCOL_FEATURES
        offered, = self.ask(GET_PROTOCOL_FEATURES, form="<Q")
        self.send(SET_PROTOCOL_FEATURES,
                  struct.pack("<Q", offered if protocol_features is None else protocol_features))
        self.send(SET_OWNER)
        return offered

    def give_backend_channel(self):
        self.backend, theirs = socket.socketpair()
        self.backend.settimeout(TIMEOUT_SECONDS)
        with theirs:
            self.tell(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        return self.backend

    def eventfd(self):
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.opened.append(fd)
        return fd

    # --- memory ---

    def region(self, address=None, size=None, user=None, offset=0):
        address = self.ram.base if address is None else address
        return struct.pack("<QQQQ", address, self.ram.size if size is None else size,
                           USER + address if user is None else user, offset)

    def set_mem_table(self, regions=None, fds=None, count=None, **kwargs):
        regions = [self.region()] if regions is None else regions
        self.tell(SET_MEM_TABLE, struct.pack("<II", len(regions) if count is None else count, 0)
                  + b"".join(regions), fds=[self.ram.fd] * len(regions) if fds is None else fds,
                  **kwargs)

    def add_region(self, region=None, fds=None):
        self.tell(ADD_MEM_REG, struct.pack("<Q", 0) + (region or self.region()),
                  fds=[self.ram.fd] if fds is None else fds)

    def remove_region(self, region=None, fds=()):
        self.tell(REM_MEM_REG, struct.pack("<Q", 0) + (region or self.region()), fds=fds)

    # --- rings ---

    def set_addresses(self, index, queue, flags=0, **parts):
        at = {"descriptors": queue.descriptors + USER, "used": queue.used + USER,
              "available": queue.available + USER, **parts}
        self.tell(SET_VRING_ADDR, struct.pack("<IIQQQQ", index, flags, at["descriptors"],
                                              at["used"], at["available"], 0))

    def start_ring(self, index, queue, base=0, enable=True):
        """As QEMU starts a ring."""
        self.tell(SET_VRING_NUM, struct.pack("<II", index, queue.size))
        self.tell(SET_VRING_BASE, struct.pack("<II", index, base))
        self.set_addresses(index, queue)
        self.tell(SET_VRING_KICK, struct.pack("<Q", index), [self.kicks[index]])
        self.tell(SET_VRING_CALL, struct.pack("<Q", index), [self.calls[index]])
        if enable:
            self.tell(SET_VRING_ENABLE, struct.pack("<II", index, 1))

    def start(self, features=VERSION_1, size=64):
        """Everything up to DRIVER_OK, from fresh rings, with the device's own features."""
        self.features = features | PROTOCOL_FEATURES | self.device_features & 0xffffff
        self.send(SET_FEATURES, struct.pack("<Q", self.features))
        self.set_mem_table()
        if not self.kicks:
            flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
            self.kicks = [os.eventfd(0, flags) for _ in range(2)]
            self.calls = [os.eventfd(0, flags) for _ in range(2)]
        self.queues = [Queue(self.ram, size) for _ in range(2)]
        for index, queue in enumerate(self.queues):
            self.start_ring(index, queue)
        return self

    def stop_ring(self, index):
        number, base = self.ask(GET_VRING_BASE, struct.pack("<II", index, 0), "<II")
        assert number == index
        return base

    def kick(self, index):
        os.eventfd_write(self.kicks[index], 1)

    def wait_for_call(self, index, timeout=TIMEOUT_SECONDS):
        ready, _, _ = select.select([self.calls[index]], [], [], timeout)
        assert ready, f"no interrupt of ring {index}"
        return os.eventfd_read(self.calls[index])

    def offer_command(self, request, response_size, number=0, slot=0):
        """Offers a command and kicks; returns where its response will be. Commands that are out at
        the same time need slots of their own."""
        queue = self.queues[number]
        at = self.ram.allocate(len(request) + response_size, 16)
        self.ram.put(at, request)
        queue.describe(2 * slot, at, len(request), NEXT, 2 * slot + 1)
        queue.describe(2 * slot + 1, at + len(request), response_size, WRITE)
        if self.features & EVENT_IDX:  # an interrupt for the next used entry, please
            self.ram.put(queue.available + 4 + 2 * queue.size,
                         struct.pack("<H", queue.used_index()))
        queue.offer(2 * slot)
        self.kick(number)
        return at + len(request)

    def command(self, request, response_size, number=0):
        """Gives one command to a ring, waits for its end; returns the response's bytes."""
        queue = self.queues[number]
        seen = queue.used_index()
        at = self.offer_command(request, response_size, number)
        while True:
            while queue.used_index() == seen:
                self.wait_for_call(number)
            head, written = queue.used_entry(seen)
            if head == 0:
                break
            seen = (seen + 1) & 0xffff  # of a command in another slot, which ended meanwhile
        assert written <= response_size
        return self.ram.get(at, written)

    # --- configuration space ---

    def get_config(self, offset=0, size=16, data=None, flags=0):
        answer = self.ask(GET_CONFIG, struct.pack("<III", offset, size, flags)
                          + (bytes(size) if data is None else data))
        return answer[12:] if answer else None

    def set_config(self, offset, data, size=None, flags=0):
        self.tell(SET_CONFIG, struct.pack("<III", offset, len(data) if size is None else size,
                                          flags) + data)

    # --- back-end channel ---

    def backend_request(self):
        """(request, flags, payload, fds) of the device's next request."""
        fds = []
        request, flags, size = struct.unpack("<III", receive_exactly(self.backend, 12, fds))
        return request, flags, receive_exactly(self.backend, size, fds), fds

    def backend_reply(self, request, status=0, flags=VERSION | REPLY):
        self.backend.sendall(struct.pack("<IIIQ", request, flags, 8, status))


class GpuSocket:
    """QEMU's end of the display socket (docs/interop/vhost-user-gpu.rst)."""

    (GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_DISPLAY_INFO, CURSOR_POS, CURSOR_POS_HIDE,
     CURSOR_UPDATE, SCANOUT, UPDATE) = range(1, 9)

    def __init__(self, front_end):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(TIMEOUT_SECONDS)
        with theirs:
            front_end.tell(GPU_SET_SOCKET, fds=[theirs.fileno()])

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def receive(self):
        """(request, payload)"""
        request, flags, size = struct.unpack("<III", receive_exactly(self.socket, 12))
        assert flags == 0
        return request, receive_exactly(self.socket, size)

    def expect(self, request):
        kind, payload = self.receive()
        assert kind == request
        return payload

    def reply(self, request, payload, flags=REPLY, size=None):
        self.socket.sendall(struct.pack("<III", request, flags,
                                        len(payload) if size is None else size) + payload)

    @staticmethod
    def display_info(*sizes):
        modes = b"".join(struct.pack("<6I", 0, 0, width, height, 1, 0) for width, height in sizes)
        return struct.pack("<IIQIB3x", 0x1101, 0, 0, 0, 0) + modes.ljust(16 * 24, b"\0")

    def greet(self, *sizes):
        """What QEMU does once its main loop runs again."""
        self.expect(self.GET_PROTOCOL_FEATURES)
        self.expect(self.GET_DISPLAY_INFO)
        self.reply(self.GET_PROTOCOL_FEATURES, struct.pack("<Q", 3))
        assert self.expect(self.SET_PROTOCOL_FEATURES) == bytes(8)
        self.reply(self.GET_DISPLAY_INFO, self.display_info(*(sizes or [(1024, 768)])))

    def has_message(self, timeout=0.2):
        return bool(select.select([self.socket], [], [], timeout)[0])

    def is_closed_by_device(self):
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


def file_of(size):
    """A memfd of `size` bytes, to be closed by the caller."""
    fd = os.memfd_create("file")
    os.ftruncate(fd, size)
    return fd


def mapping_of(fd, size):
    return mmap.mmap(fd, size)
