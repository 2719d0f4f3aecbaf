# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of vhost_user_fuzzer: what the protocol tests' front end says to a real device.

    python3 record_vhost_user_seeds.py [FOLDER]

Needs the program of $SWEDE_BUILD (build-release), as the protocol tests do.
"""

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
GENERIC, GPU, WITH_RENDERER = 0, 1, 2
HOST3D, MAPPABLE, TEST_CAPSET = 2, 1, 30

recorded = bytearray()


def record_messages(send):
    def wrapped(self, request, payload=b"", fds=(), *, flags=vu.VERSION, size=None):
        recorded.extend(struct.pack("<BBBBH", ord("m"), FILES.get(request, 0) << 4 | len(fds),
                                    request, flags, len(payload)) + payload)
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


def answer(status=0):
    """The fuzzer's front end answers the device's oldest request."""
    recorded.extend(struct.pack("<BB", ord("a"), status))


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


class Window:
    """The blobs' way, written down without a device: the plain one has no renderer."""

    def __init__(self, path):
        self.front_end = vu.FrontEnd(path)
        self.front_end.give_backend_channel()
        self.front_end.start()

    def command(self, kind, body=b"", context=0):
        self.front_end.offer_command(vg.header(kind, context=context) + body, 64)
        recorded.extend(b"kk")

    def record(self):
        name = b"test".ljust(64, b"\0")
        self.command(0x200, struct.pack("<II", 4, TEST_CAPSET) + name, 1)
        for blob in range(1, 4):
            self.command(vg.RESOURCE_CREATE_BLOB,
                         struct.pack("<4IQQ", blob, HOST3D, MAPPABLE, 0, blob, 4096), 1)
            self.command(0x208, struct.pack("<IIQ", blob, 0, blob * 4096))
        answer()
        answer(1)
        self.command(0x209, struct.pack("<II", 1, 0))
        answer()
        answer()
        for index in range(2):
            self.front_end.stop_ring(index)
        self.front_end.start()
        self.command(0x200, struct.pack("<II", 4, TEST_CAPSET) + name, 1)
        self.command(vg.RESOURCE_CREATE_BLOB,
                     struct.pack("<4IQQ", 1, HOST3D, MAPPABLE, 0, 1, 8192), 1)
        self.command(0x208, struct.pack("<IIQ", 1, 0, 4096))
        answer(1)
        answer()
        answer()
        self.front_end.close()


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "corpus" / "vhost_user")
    folder.mkdir(parents=True, exist_ok=True)
    vu.Connection.send = record_messages(vu.Connection.send)
    ram.Ram.put = record_pokes(ram.Ram.put)
    vu.FrontEnd.kick = record_kicks(vu.FrontEnd.kick)
    vu.GpuSocket.reply = record_display(vu.GpuSocket.reply)
    seeds = [("vhost-user", GENERIC, handshake), ("vhost-user", GENERIC, memory),
             ("vhost-user", GENERIC, picture), ("vhost-user-gpu", GPU, display),
             ("vhost-user", GENERIC | WITH_RENDERER, lambda path: Window(path).record())]
    for transport, kind, seed in seeds:
        with tempfile.TemporaryDirectory() as temporary:
            arguments = ["--display", "none"]
            if transport == "vhost-user":
                arguments += ["--hostmem", "1M"]
            device = DeviceProcess(pathlib.Path(temporary), transport, arguments)
            recorded.clear()
            recorded.append(kind)
            seed(device.socket_path)
            device.stop()
        name = "window" if kind & WITH_RENDERER else seed.__name__
        (folder / name).write_bytes(recorded)


if __name__ == "__main__":
    main()
