# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of vhost_user_fuzzer: what the protocol tests' front end says to a real device.

    python3 record_vhost_user_seeds.py [FOLDER]

Needs the test device of $SWEDE_BUILD (build), as the protocol tests do.
"""

import os
import pathlib
import struct
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "protocol"))
# pylint: disable=wrong-import-position
import vfio_user_client as ram
import vhost_user_client as vu
import virtio_gpu_driver as vg
from conftest import DeviceProcess

# The kind of file that a message carries, as the fuzzer numbers them.
FILES = {vu.SET_MEM_TABLE: 0, vu.ADD_MEM_REG: 0, vu.SET_VRING_KICK: 1, vu.SET_VRING_CALL: 2,
         vu.SET_VRING_ERR: 2, vu.SET_BACKEND_REQ_FD: 3, vu.GPU_SET_SOCKET: 4}
OTHER_KICK = 7  # of the second ring: a kick that both shared would wake only one
GENERIC, GPU, WITH_RENDERER = 0, 1, 2
HOST3D, MAPPABLE, TEST_CAPSET = 2, 1, 30

recorded = bytearray()


def record_messages(send):
    def wrapped(self, request, payload=b"", fds=(), *, flags=vu.VERSION, size=None):
        kind = FILES.get(request, 0)
        if request == vu.SET_VRING_KICK and payload[0] == 1:
            kind = OTHER_KICK
        recorded.extend(struct.pack("<BBBBH", ord("m"), kind << 4 | len(fds), request, flags,
                                    len(payload)) + payload)
        send(self, request, payload, fds, flags=flags, size=size)
    return wrapped


def record_pokes(put):
    def wrapped(self, address, data):
        recorded.extend(struct.pack("<BIH", ord("p"), address - self.base, len(data)) + data)
        put(self, address, data)
    return wrapped


def record_kicks(kick):
    def wrapped(self, index):
        recorded.extend(b"k")
        kick(self, index)
    return wrapped


def record_display(reply):
    def wrapped(self, request, payload, flags=vu.REPLY, size=None):
        data = struct.pack("<III", request, flags, len(payload)) + payload
        recorded.extend(struct.pack("<BH", ord("g"), len(data)) + data)
        reply(self, request, payload, flags, size)
    return wrapped


def handshake(path):
    with vu.FrontEnd(path) as front_end:
        front_end.ask(vu.GET_QUEUE_NUM)
        front_end.ask(vu.GET_MAX_MEM_SLOTS)
        front_end.ask(vu.GET_SHMEM_CONFIG)
        front_end.get_config()
        front_end.set_config(0, bytes(16))
        front_end.give_backend_channel()


def memory(path):
    with vu.FrontEnd(path) as front_end:
        front_end.start()
        front_end.set_mem_table([front_end.region(), front_end.region(1 << 32, 4096)])
        front_end.remove_region(front_end.region(1 << 32, 4096))
        front_end.add_region(front_end.region(1 << 33, 8192))
        front_end.remove_region()
        front_end.add_region()


def picture(path):
    with vu.FrontEnd(path) as front_end:
        front_end.start(vu.VERSION_1 | vu.EVENT_IDX | vu.INDIRECT_DESC)
        draw(front_end)
        for index in range(2):
            base = front_end.stop_ring(index)
            front_end.start_ring(index, front_end.queues[index], base)
        draw(front_end)
        for index in range(2):
            front_end.stop_ring(index)
            front_end.start_ring(index, front_end.queues[index])
        front_end.tell(vu.RESET_DEVICE)


def draw(front_end):
    gpu = vg.Gpu(front_end)
    gpu.display_info()
    gpu.edid()
    at = front_end.ram.allocate(64 * 64 * 4)
    gpu.create_2d(1, 64, 64)
    gpu.attach_backing(1, [(at, 64 * 64 * 4)])
    gpu.transfer(1, 0, 0, 64, 64)
    gpu.set_scanout(0, 1, 0, 0, 64, 64)
    gpu.flush(1, 8, 8, 16, 16)
    gpu.update_cursor(0, 1, 5, 5, 1, 1)
    gpu.set_scanout(0, 0, 0, 0, 0, 0)
    gpu.unref(1)


def display(path):
    with vu.FrontEnd(path) as front_end:
        with vu.GpuSocket(front_end) as gpu_socket:
            gpu_socket.greet()
            front_end.start(vu.VERSION_1 | vu.EVENT_IDX)
            draw(front_end)
            front_end.get_config(0, 20)
            gpu_socket.reply(vu.GpuSocket.GET_DISPLAY_INFO, gpu_socket.display_info((640, 480)))
            draw(front_end)
            front_end.tell(vu.RESET_DEVICE)


def record_answers(reply):
    def wrapped(self, request, status=0, flags=vu.VERSION | vu.REPLY):
        # The turns of the loop that the device needs to get there, then the answer.
        recorded.extend(b"kkkk" + struct.pack("<BB", ord("a"), status))
        reply(self, request, status, flags)
    return wrapped


class Blobs:
    """A driver with host blobs of the test renderer, and a front end that answers or refuses."""

    def __init__(self, front_end):
        self.front_end = front_end
        front_end.start(size=64)
        self.slot = 0
        self.command(0x200, struct.pack("<II64s", 4, TEST_CAPSET, b"test"), context=1)

    def command(self, kind, body, **fields):
        self.slot = (self.slot + 1) % 32
        self.front_end.offer_command(vg.header(kind, **fields) + body, 64, slot=self.slot)
        recorded.extend(b"kk")

    def map(self, blob, offset, pages=1):
        self.command(vg.RESOURCE_CREATE_BLOB,
                     struct.pack("<4IQQ", blob, HOST3D, MAPPABLE, 0, blob, pages * 4096), context=1)
        self.command(0x208, struct.pack("<IIQ", blob, 0, offset))

    def unmap(self, blob):
        self.command(0x209, struct.pack("<II", blob, 0))

    def answer(self, status=0):
        request, _, _, fds = self.front_end.backend_request()
        for fd in fds:
            os.close(fd)
        self.front_end.backend_reply(request, status)


def window(path):
    with vu.FrontEnd(path) as front_end:
        front_end.give_backend_channel()
        blobs = Blobs(front_end)
        for blob in range(1, 4):
            blobs.map(blob, blob * 4096)
        for status in (0, 1, 0):
            blobs.answer(status)
        blobs.unmap(1)
        blobs.answer()
        blobs.map(4, 8 * 4096)
        # A reset with one map answered and one not; the front end kept the first.
        for index in range(2):
            front_end.stop_ring(index)
        blobs = Blobs(front_end)
        blobs.answer()
        blobs.answer()
        blobs.map(1, 3 * 4096)
        blobs.answer(1)
        blobs.answer()
        blobs.answer()


def answers(path):
    """Answers on the back-end channel that are cut, not asked for, or of a wrong form."""
    with vu.FrontEnd(path) as front_end:
        front_end.give_backend_channel()
        blobs = Blobs(front_end)
        blobs.map(1, 0)
        data = struct.pack("<III", vu.BACKEND_SHMEM_MAP, vu.VERSION | vu.REPLY, 8)
        recorded.extend(b"kkkkr" + struct.pack("<H", len(data)) + data)
        data = struct.pack("<Q", 0) + struct.pack("<IIIQ", 10, 5, 8, 0)
        recorded.extend(b"r" + struct.pack("<H", len(data)) + data)


def vanish(path):
    """Both sockets close while something is out on them."""
    with vu.FrontEnd(path) as front_end:
        front_end.give_backend_channel()
        blobs = Blobs(front_end)
        blobs.map(1, 0)
        recorded.extend(b"kkkkx\0kkx\1k")
        blobs.map(2, 4096)
        blobs.unmap(1)


def refused(front_end, request, payload=b"", fds=()):
    try:
        front_end.tell(request, payload, fds)
    except vu.Refused:
        pass


def refusals(path):
    """What is refused and leaves the front end connected."""
    with vu.FrontEnd(path) as front_end:
        files = [front_end.eventfd()]
        refused(front_end, vu.SET_LOG_BASE, bytes(16))
        refused(front_end, 99)
        refused(front_end, vu.SET_OWNER, bytes(4))
        refused(front_end, vu.SET_OWNER, b"", files)
        refused(front_end, vu.SET_FEATURES, struct.pack("<Q", 1 << 34))
        refused(front_end, vu.SET_PROTOCOL_FEATURES, struct.pack("<Q", 1 << 16))
        refused(front_end, vu.GPU_SET_SOCKET, b"", files)
        for request in (vu.SET_VRING_NUM, vu.SET_VRING_BASE, vu.SET_VRING_ENABLE):
            refused(front_end, request, struct.pack("<II", 0, 0xfffff))
            refused(front_end, request, struct.pack("<II", 9, 0))
        for request in (vu.SET_VRING_KICK, vu.SET_VRING_CALL, vu.SET_VRING_ERR):
            refused(front_end, request, struct.pack("<Q", vu.NO_FD))
            refused(front_end, request, struct.pack("<Q", vu.NO_FD), files)
        refused(front_end, vu.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 1, 0, 0, 0, 0))
        refused(front_end, vu.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, 0, 0, 0, 0))
        region = front_end.region()
        for table in ([region, region], [front_end.region(size=0)], [front_end.region(offset=1 << 30)],
                      [region, front_end.region(address=0, user=vu.USER + front_end.ram.base)]):
            refused(front_end, vu.SET_MEM_TABLE, struct.pack("<II", len(table), 0)
                    + b"".join(table), [front_end.ram.fd] * len(table))
        refused(front_end, vu.SET_MEM_TABLE, struct.pack("<II", 2, 0) + region, [front_end.ram.fd])
        refused(front_end, vu.SET_MEM_TABLE, struct.pack("<II", 1, 0) + region + b"x",
                [front_end.ram.fd])
        refused(front_end, vu.REM_MEM_REG, bytes(8) + region)
        refused(front_end, vu.SET_CONFIG, struct.pack("<III", 250, 8, 0) + bytes(8))
        front_end.get_config(250, 8)
        front_end.start()
        refused(front_end, vu.ADD_MEM_REG, bytes(8) + region, [front_end.ram.fd])
        refused(front_end, vu.SET_FEATURES, struct.pack("<Q", vu.VERSION_1))
        refused(front_end, vu.SET_VRING_NUM, struct.pack("<II", 0, 128))
        refused(front_end, vu.SET_VRING_BASE, struct.pack("<II", 0, 5))
        refused(front_end, vu.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, vu.USER, 0, 0, 0))
        front_end.tell(vu.SET_FEATURES, struct.pack("<Q", front_end.features))
        front_end.remove_region()
        front_end.kick(0)
        front_end.add_region()
        queue = front_end.queues[0]
        queue.offer(0, 9999)
        front_end.kick(0)
        front_end.send(vu.SET_VRING_NUM, struct.pack("<II", 7, 7))
        front_end.tell(vu.SET_VRING_CALL, struct.pack("<Q", vu.NO_FD))
        front_end.tell(vu.SET_VRING_ENABLE, struct.pack("<II", 1, 0))
        front_end.tell(vu.SET_VRING_KICK, struct.pack("<Q", 1), [front_end.kicks[1]])


def truncated(path):
    """A region of a file that becomes shorter while the guest draws from it."""
    with vu.FrontEnd(path) as front_end:
        front_end.start()
        region = front_end.region(1 << 33, 16384)
        FILES[vu.ADD_MEM_REG] = 6
        front_end.add_region(region)
        FILES[vu.ADD_MEM_REG] = 0
        gpu = vg.Gpu(front_end)
        gpu.create_2d(1, 64, 64)
        gpu.attach_backing(1, [(1 << 33, 16384)])
        recorded.extend(b"t" + struct.pack("<H", 0))
        gpu.transfer(1, 0, 0, 64, 64)


def pictures(path):
    """Frames that do not fit the socket, a cursor that moves, a mode that changes, a new socket."""
    with vu.FrontEnd(path) as front_end:
        with vu.GpuSocket(front_end) as gpu_socket:
            gpu_socket.greet()
            front_end.start()
            gpu = vg.Gpu(front_end)
            at = front_end.ram.allocate(640 * 480 * 4)
            for resource, width, height in ((1, 640, 480), (2, 320, 200)):
                gpu.create_2d(resource, width, height, 67)
                gpu.attach_backing(resource, [(at, width * height * 4)])
                gpu.transfer(resource, 0, 0, width, height)
            for resource, width, height in ((1, 640, 480), (2, 320, 200), (1, 640, 480)):
                gpu.set_scanout(0, resource, 0, 0, width, height)
                gpu.flush(resource, 1, 1, 9, 9)
                gpu.flush(resource, 50, 50, 90, 90)
            gpu.create_2d(3, 64, 64)
            gpu.update_cursor(0, 3, 1, 1, 2, 2)
            gpu.status(vg.MOVE_CURSOR, struct.pack("<8I", 0, 7, 8, 0, 0, 0, 0, 0), number=1)
            gpu.update_cursor(0, 0)
            gpu.set_scanout(1, 2, 0, 0, 100, 100)
        with vu.GpuSocket(front_end) as gpu_socket:
            gpu_socket.greet((320, 200), (640, 480))
            gpu_socket.reply(vu.GpuSocket.GET_DISPLAY_INFO, b"")
        with vu.GpuSocket(front_end):
            recorded.extend(b"x\1k")
            gpu.display_info()


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "corpus" / "vhost_user")
    folder.mkdir(parents=True, exist_ok=True)
    vu.Connection.send = record_messages(vu.Connection.send)
    ram.Ram.put = record_pokes(ram.Ram.put)
    vu.FrontEnd.kick = record_kicks(vu.FrontEnd.kick)
    vu.GpuSocket.reply = record_display(vu.GpuSocket.reply)
    vu.FrontEnd.backend_reply = record_answers(vu.FrontEnd.backend_reply)
    seeds = [(GENERIC, handshake), (GENERIC, memory), (GENERIC, picture), (GENERIC, refusals),
             (GENERIC, truncated), (GPU, display), (GPU, pictures), (WITH_RENDERER, window),
             (WITH_RENDERER, answers), (WITH_RENDERER, vanish)]
    for kind, seed in seeds:
        with tempfile.TemporaryDirectory() as temporary:
            arguments = ["--display", "none"]
            if kind != GPU:
                arguments += ["--hostmem", "1M"]
            if kind == WITH_RENDERER:
                arguments += ["--renderer", "in-process"]
            program = "tests/programs/swede-test-device" if kind == WITH_RENDERER else None
            device = DeviceProcess(pathlib.Path(temporary),
                                   "vhost-user-gpu" if kind == GPU else "vhost-user", arguments,
                                   program=program)
            recorded.clear()
            recorded.append(kind)
            seed(device.socket_path)
            device.stop()
        (folder / seed.__name__).write_bytes(recorded)


if __name__ == "__main__":
    main()
