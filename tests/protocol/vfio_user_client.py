# SPDX-License-Identifier: Apache-2.0
"""A vfio-user client, the PCI function behind it, and its virtqueues, as a VMM and a guest's driver
see them. Made to break rules too: every message, register and ring can be written as one likes."""

import array
import errno
import json
import mmap
import os
import select
import socket
import struct
import time

# vfio-user protocol 0.1, QEMU: docs/interop/vfio-user.rst.
VERSION = 1
DMA_MAP = 2
DMA_UNMAP = 3
GET_INFO = 4
GET_REGION_INFO = 5
GET_REGION_IO_FDS = 6
GET_IRQ_INFO = 7
SET_IRQS = 8
REGION_READ = 9
REGION_WRITE = 10
DMA_READ = 11
DMA_WRITE = 12
DEVICE_RESET = 13
REGION_WRITE_MULTI = 15
DEVICE_FEATURE = 16
REPLY = 1
NO_REPLY = 0x10
ERROR = 0x20

DATA_NONE, DATA_BOOL, DATA_EVENTFD = 1, 2, 4
MASK, UNMASK, TRIGGER = 8, 16, 32
INTX, MSI, MSIX, ERR_IRQ, REQ_IRQ = range(5)
BAR0, BAR2, BAR4, ROM, CONFIG, VGA = 0, 2, 4, 6, 7, 8

TIMEOUT_SECONDS = 20
CAPABILITIES = {"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1 << 20,
                                 "max_dma_maps": 65535, "pgsizes": 4096, "write_multiple": True}}


class Refused(Exception):
    """An error reply; `number` is its errno."""

    def __init__(self, number):
        super().__init__(f"error reply: {errno.errorcode.get(number, number)}")
        self.number = number


class Closed(Exception):
    """The server has ended the connection."""


class Connection:
    """The socket and its messages."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))  # without a timeout: with one, a full backlog is an error
        self.socket.settimeout(TIMEOUT_SECONDS)
        self._number = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_bytes(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.socket.sendmsg([data], ancillary)
            if sent < len(data):
                self.socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def message(self, command, payload=b"", *, flags=0, size=None, number=None):
        """The bytes of a message; `size` lies about its length."""
        if number is None:
            self._number = number = (self._number + 1) & 0xffff
        total = 16 + len(payload) if size is None else size
        return struct.pack("<HHIII", number, command, total, flags, 0) + payload

    def send(self, command, payload=b"", fds=(), **kwargs):
        self.send_bytes(self.message(command, payload, **kwargs), fds)

    def _receive_bytes(self, size, fds):
        data = b""
        while len(data) < size:
            try:
                part, ancillary, _, _ = self.socket.recvmsg(size - len(data), 1024)
            except ConnectionResetError as error:
                raise Closed from error
            for level, kind, rights in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(rights[:len(rights) - len(rights) % 4])
                    fds.extend(received)
            if not part:
                raise Closed
            data += part
        return data

    def receive(self):
        """(message id, command, flags, error, payload, fds) of the next reply."""
        fds = []
        header = self._receive_bytes(16, fds)
        number, command, size, flags, error = struct.unpack("<HHIII", header)
        payload = self._receive_bytes(size - 16, fds)
        return number, command, flags, error, payload, fds

    def request(self, command, payload=b"", fds=(), **kwargs):
        """Sends a command and returns (payload, fds) of its reply; Refused if that is an error."""
        self.send(command, payload, fds, **kwargs)
        number, answered, flags, error, answer, received = self.receive()
        assert answered == command
        assert number == self._number or "number" in kwargs
        assert flags & 0xf == REPLY
        if flags & ERROR:
            assert answer == b"" and not received and error != 0
            raise Refused(error)
        assert error == 0
        return answer, received

    def is_closed_by_server(self):
        """True once the server has ended the connection; what it still said is dropped."""
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


class Client(Connection):
    """A well-behaved client with one method for each message."""

    def __init__(self, path, negotiate=True):
        super().__init__(path)
        if negotiate:
            self.version()

    def version(self, major=0, minor=1, capabilities=CAPABILITIES):
        text = b"" if capabilities is None else json.dumps(capabilities).encode() + b"\0"
        answer, _ = self.request(VERSION, struct.pack("<HH", major, minor) + text)
        assert answer[-1:] == b"\0"
        return struct.unpack("<HH", answer[:4]), json.loads(answer[4:-1])

    def dma_map(self, address, size, fd=None, offset=0, flags=3, argsz=32):
        self.request(DMA_MAP, struct.pack("<IIQQQ", argsz, flags, offset, address, size),
                     [] if fd is None else [fd])

    def dma_unmap(self, address, size, flags=0, argsz=24):
        answer, _ = self.request(DMA_UNMAP, struct.pack("<IIQQ", argsz, flags, address, size))
        assert answer == struct.pack("<IIQQ", argsz, flags, address, size)

    def info(self, argsz=16):
        answer, _ = self.request(GET_INFO, struct.pack("<IIII", argsz, 0, 0, 0))
        return struct.unpack("<IIII", answer)

    def region_info(self, index, argsz=32):
        """((argsz, flags, index, cap_offset, size, offset), fds)"""
        answer, fds = self.request(GET_REGION_INFO,
                                   struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))
        return struct.unpack("<IIIIQQ", answer), fds

    def irq_info(self, index, argsz=16):
        answer, _ = self.request(GET_IRQ_INFO, struct.pack("<IIII", argsz, 0, index, 0))
        return struct.unpack("<IIII", answer)

    def set_irqs(self, flags, index, start, count, fds=(), data=b"", argsz=None):
        argsz = 20 + len(data) if argsz is None else argsz
        self.request(SET_IRQS, struct.pack("<IIIII", argsz, flags, index, start, count) + data, fds)

    def read(self, region, offset, count):
        answer, _ = self.request(REGION_READ, struct.pack("<QII", offset, region, count))
        assert answer[:16] == struct.pack("<QII", offset, region, count)
        assert len(answer) == 16 + count
        return answer[16:]

    def write(self, region, offset, data):
        answer, _ = self.request(REGION_WRITE,
                                 struct.pack("<QII", offset, region, len(data)) + data)
        assert answer == struct.pack("<QII", offset, region, len(data))

    def reset(self):
        assert self.request(DEVICE_RESET) == (b"", [])

    def get(self, form, region, offset):
        return struct.unpack("<" + form, self.read(region, offset, struct.calcsize("<" + form)))[0]

    def put(self, form, region, offset, value):
        self.write(region, offset, struct.pack("<" + form, value))

    def capabilities(self):
        """{virtio capability type: offset}, and the MSI-X capability's offset."""
        found, msix = {}, None
        at = self.get("B", CONFIG, 0x34)
        while at:
            identifier, following = self.read(CONFIG, at, 2)
            if identifier == 9:
                found[self.get("B", CONFIG, at + 3)] = at
            elif identifier == 0x11:
                msix = at
            at = following
        return found, msix


class Ram:
    """Guest RAM: a memfd, mapped here and at guest address `base`."""

    def __init__(self, size=16 << 20, base=0x100000):
        self.base, self.size = base, size
        self.fd = os.memfd_create("guest-ram")
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        self._next = 0

    def allocate(self, size, alignment=4096):
        """Guest address of fresh zeroed bytes."""
        start = (self._next + alignment - 1) // alignment * alignment
        assert start + size <= self.size, "guest RAM is full"
        self._next = start + size
        return self.base + start

    def forget(self):
        """Gives all that was allocated back, as zeros."""
        self.memory[:self._next] = bytes(self._next)
        self._next = 0

    def put(self, address, data):
        start = address - self.base
        self.memory[start:start + len(data)] = data

    def get(self, address, size):
        start = address - self.base
        return self.memory[start:start + size]

    def close(self):
        self.memory.close()
        os.close(self.fd)


# virtio 1.3: 2.1, 4.1.4.3 and 6.
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
INDIRECT_DESC, EVENT_IDX, VERSION_1 = 1 << 28, 1 << 29, 1 << 32
COMMON, ISR, DEVICE_CONFIG, NOTIFY = 0x0000, 0x1000, 0x2000, 0x3000
NEXT, WRITE, INDIRECT = 1, 2, 4


class Queue:
    """A driver's split queue in `ram`. Chains are written into the table from descriptor 0 on."""

    def __init__(self, ram, size):
        self.ram, self.size = ram, size
        self.descriptors = ram.allocate(16 * size)
        self.available = ram.allocate(6 + 2 * size)
        self.used = ram.allocate(6 + 8 * size)
        self.index = 0

    def describe(self, number, address, length, flags=0, follow=0):
        self.ram.put(self.descriptors + 16 * number,
                     struct.pack("<QIHH", address, length, flags, follow))

    def offer(self, head, index=None):
        """Puts a chain into the available ring; `index` lies about the ring's index."""
        self.ram.put(self.available + 4 + 2 * (self.index % self.size), struct.pack("<H", head))
        self.index = (self.index + 1) & 0xffff
        self.ram.put(self.available + 2, struct.pack("<H", self.index if index is None else index))

    def want_interrupt(self, index):
        """With EVENT_IDX: one when used entry `index` is there (2.7.7)."""
        self.ram.put(self.available + 4 + 2 * self.size, struct.pack("<H", index))

    def used_index(self):
        return struct.unpack("<H", self.ram.get(self.used + 2, 2))[0]

    def used_entry(self, number):
        return struct.unpack("<II", self.ram.get(self.used + 4 + 8 * (number % self.size), 8))


class Function:
    """The PCI function as a virtio driver uses it. Close it, or the client stays."""

    def __init__(self, path, ram=None):
        self.client = Client(path)
        self.ram = ram or Ram()
        self.client.dma_map(self.ram.base, self.ram.size, self.ram.fd)
        self.events = []
        self.queues = []

    def close(self):
        self.client.close()
        self.ram.close()
        for event in self.events:
            os.close(event)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def get(self, form, offset):
        return self.client.get(form, BAR2, offset)

    def put(self, form, offset, value):
        self.client.put(form, BAR2, offset, value)

    @property
    def status(self):
        return self.get("B", COMMON + 0x14)

    @status.setter
    def status(self, value):
        self.put("B", COMMON + 0x14, value)

    def features(self):
        value = 0
        for half in range(2):
            self.put("I", COMMON, half)
            value |= self.get("I", COMMON + 4) << 32 * half
        return value

    def reset(self):
        """Writes 0 to the status and waits until it reads as 0 (4.1.4.3.2)."""
        self.status = 0
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.status != 0:
            assert time.monotonic() < deadline, "the reset does not end"

    def negotiate(self, features=VERSION_1):
        self.reset()
        self.status = ACKNOWLEDGE
        self.status = ACKNOWLEDGE | DRIVER
        for half in range(2):
            self.put("I", COMMON + 8, half)
            self.put("I", COMMON + 12, features >> 32 * half & 0xffffffff)
        self.status = ACKNOWLEDGE | DRIVER | FEATURES_OK

    def use_msix(self):
        self.events = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(3)]
        self.client.set_irqs(DATA_EVENTFD | TRIGGER, MSIX, 0, 3, self.events)
        self.put("H", COMMON + 0x10, 0)

    def select(self, number):
        self.put("H", COMMON + 0x16, number)

    def enable(self, number, size, descriptors, available, used, vector=None):
        """Describes and enables a queue; returns whether the device took it."""
        self.select(number)
        self.put("H", COMMON + 0x18, size)
        if vector is not None:
            self.put("H", COMMON + 0x1a, vector)
        for offset, address in ((0x20, descriptors), (0x28, available), (0x30, used)):
            self.put("I", COMMON + offset, address & 0xffffffff)
            self.put("I", COMMON + offset + 4, address >> 32)
        self.put("H", COMMON + 0x1c, 1)
        return self.get("H", COMMON + 0x1c) == 1

    def start(self, features=VERSION_1, size=16, msix=True):
        """All that a driver does up to DRIVER_OK."""
        if msix and not self.events:
            self.use_msix()
        self.negotiate(features)
        if msix:
            self.put("H", COMMON + 0x10, 0)
        assert self.status == ACKNOWLEDGE | DRIVER | FEATURES_OK
        self.queues = [Queue(self.ram, size) for _ in range(2)]
        for number, queue in enumerate(self.queues):
            assert self.enable(number, size, queue.descriptors, queue.available, queue.used,
                               number + 1 if msix else None)
        self.status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
        return self

    def notify(self, number):
        self.put("H", NOTIFY + 4 * number, number)

    def wait_for_event(self, vector):
        """Waits for an interrupt; returns how often it fired."""
        ready, _, _ = select.select([self.events[vector]], [], [], TIMEOUT_SECONDS)
        assert ready, f"no interrupt on vector {vector}"
        return os.eventfd_read(self.events[vector])

    def has_event(self, vector):
        return bool(select.select([self.events[vector]], [], [], 0)[0])

    def command(self, request, response_size, number=0):
        """Gives one command to a queue, waits for its end; returns the response's bytes."""
        queue = self.queues[number]
        at = self.ram.allocate(len(request) + response_size, 16)
        self.ram.put(at, request)
        queue.describe(0, at, len(request), NEXT, 1)
        queue.describe(1, at + len(request), response_size, WRITE)
        before = queue.used_index()
        queue.want_interrupt(before)
        queue.offer(0)
        self.notify(number)
        # Others that were offered may come back first.
        while True:
            while queue.used_index() == before:
                self.wait_for_event(number + 1)
            head, written = queue.used_entry(before)
            if head == 0:
                break
            before = (before + 1) & 0xffff
            queue.want_interrupt(before)
        assert written <= response_size
        return self.ram.get(at + len(request), written)
