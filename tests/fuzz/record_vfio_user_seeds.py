# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of vfio_user_fuzzer: what the protocol tests' client says to a real device.

    python3 record_vfio_user_seeds.py [FOLDER]

Needs the program of $SWEDE_BUILD (build), as the protocol tests do.
"""

import pathlib
import struct
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "protocol"))
# pylint: disable=wrong-import-position
import vfio_user_client as vu
import virtio_gpu_driver as vg
from conftest import DeviceProcess

recorded = bytearray()
ram_files = set()


def record_messages(send_bytes):
    """Wraps Connection.send_bytes: notes the command step of the message, then sends it."""
    def wrapped(self, data, fds=()):
        _, command, size, flags, _ = struct.unpack_from("<HHIII", data)
        kind = 0 if fds and fds[0] in ram_files else 1
        recorded.extend(struct.pack("<BBHBH", ord("c"), kind << 4 | len(fds), command, flags & 0xff,
                                    size - 16) + data[16:])
        send_bytes(self, data, fds)
    return wrapped


def record_pokes(put):
    def wrapped(self, address, data):
        recorded.extend(struct.pack("<BIH", ord("p"), address - self.base, len(data)) + data)
        put(self, address, data)
    return wrapped


def handshake(path):
    with vu.Client(path) as client:
        client.info()
        for index in range(9):
            client.region_info(index)
        for index in range(5):
            client.irq_info(index)
        client.read(vu.CONFIG, 0, 256)


def interrupts(path):
    with vu.Function(path) as function:
        function.use_msix()
        function.client.set_irqs(vu.DATA_BOOL | vu.TRIGGER, vu.MSIX, 0, 3, data=b"\1\0\1")
        function.client.set_irqs(vu.DATA_NONE | vu.MASK, vu.MSIX, 0, 3)
        function.client.set_irqs(vu.DATA_NONE | vu.UNMASK, vu.MSIX, 1, 2)
        function.client.set_irqs(vu.DATA_EVENTFD | vu.TRIGGER, vu.INTX, 0, 1, function.events[:1])
        function.client.set_irqs(vu.DATA_EVENTFD | vu.UNMASK, vu.INTX, 0, 1, function.events[1:2])
        function.client.set_irqs(vu.DATA_NONE | vu.TRIGGER, vu.MSIX, 0, 0)


def memory(path):
    ram = new_ram()
    with vu.Client(path) as client:
        client.dma_map(0x1000, 1 << 20, ram.fd)
        client.dma_map(1 << 32, 4096)
        client.dma_unmap(0x1000, 1 << 20)
        client.dma_unmap(0, 0, flags=2)
        client.write(vu.BAR4, 0x1000, bytes(64))
        client.read(vu.BAR4, 0x1000, 64)
    ram.close()


def driver(path):
    with vu.Function(path, new_ram()) as function:
        gpu = vg.Gpu(function.start(vu.VERSION_1 | vg.FEATURES))
        gpu.display_info()
        gpu.edid()
        function.client.reset()


def picture(path):
    with vu.Function(path, new_ram()) as function:
        gpu = vg.Gpu(function.start(vu.VERSION_1 | vu.EVENT_IDX | vg.FEATURES))
        at = function.ram.allocate(64 * 64 * 4)
        gpu.create_2d(1, 64, 64, vg.FORMAT_B8G8R8A8)
        gpu.attach_backing(1, [(at, 64 * 64 * 4)])
        gpu.set_scanout(0, 1, 0, 0, 64, 64)
        gpu.transfer(1, 0, 0, 64, 64)
        gpu.flush(1, 0, 0, 64, 64)
        gpu.create_blob(2, 64 * 64 * 4, [(at, 64 * 64 * 4)])
        gpu.set_scanout_blob(0, 2, 64, 64, 256)
        function.reset()


def window(path):
    with vu.Function(path, new_ram()) as function:
        at = function.client.capabilities()[0][5]
        function.client.put("B", vu.CONFIG, at + 4, vu.BAR2)
        function.client.put("I", vu.CONFIG, at + 8, vu.COMMON + 0x14)
        function.client.put("I", vu.CONFIG, at + 12, 1)
        function.client.put("B", vu.CONFIG, at + 16, 1)
        writes = struct.pack("<QQIIQ", 1, vu.COMMON + 0x16, vu.BAR2, 2, 1)
        function.client.request(vu.REGION_WRITE_MULTI, writes)
        function.client.request(vu.GET_REGION_IO_FDS, struct.pack("<IIII", 16, 0, vu.BAR2, 0))


def new_ram():
    ram = vu.Ram()
    ram_files.add(ram.fd)
    return ram


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus" / "vfio_user"
    folder.mkdir(parents=True, exist_ok=True)
    vu.Connection.send_bytes = record_messages(vu.Connection.send_bytes)
    vu.Ram.put = record_pokes(vu.Ram.put)
    with tempfile.TemporaryDirectory() as temporary:
        device = DeviceProcess(pathlib.Path(temporary), "vfio-user",
                               ("--hostmem", "1M", "--display", "none"))
        try:
            for scenario in (handshake, interrupts, memory, driver, picture, window):
                recorded.clear()
                scenario(device.socket_path)
                (folder / scenario.__name__).write_bytes(recorded)
        finally:
            device.stop()


if __name__ == "__main__":
    main()
