# SPDX-License-Identifier: Apache-2.0
"""The C library with cross-domain and without a compositor: what a VMM has besides the channel, and what
rutabaga_gfx, read and run at 0.1.85, gets wrong there."""

import ctypes
import errno
import mmap
import socket
import struct
import tempfile

import pytest

import c_abi
from c_abi import U32, Instance, memory
from c_abi_cross_domain import CLibraryContext
from cross_domain_client import CAPSET, OK_NODATA, POLL, command

INIT, GET_IMAGE_REQUIREMENTS = 1, 2
NO_CHANNEL, WAYLAND = 0, 1
FOREIGN_CAPSETS = (1, 2, 3, 4, 6, 77, 255)


@pytest.fixture(name="library", scope="module")
def _library():
    return c_abi.load()


@pytest.fixture(name="gpu")
def _gpu(library):
    with Instance(library, capset_mask=1 << CAPSET) as instance:
        yield instance


@pytest.fixture(name="guest")
def _guest(gpu):
    """A context that allocates and connects to nothing."""
    context = CLibraryContext(gpu)
    assert context.submit(command(INIT, struct.pack("<III", context.query, context.channel,
                                                    NO_CHANNEL))) == OK_NODATA
    return context


def test_2d_is_there_with_cross_domain_alone(gpu):
    """rutabaga_gfx makes a dummy and leaves the console black."""
    guest, shown = memory(16 * 16 * 4, 0x5A), memory(16 * 16 * 4)
    assert gpu.create_2d(1, 16, 16) == 0
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, 0, 0, 16, 16) == 0
    assert gpu.read(1, 0, 0, 16, 16, shown) == 0
    assert shown.raw == guest.raw
    assert gpu.fence(1) == 0 and len(gpu.fences) == 1


@pytest.mark.parametrize("capset", FOREIGN_CAPSETS)
def test_contexts_of_other_capsets_are_refused(gpu, capset):
    """rutabaga_gfx gives them to its default component."""
    assert gpu.context_create(U32(1), U32(capset), None, U32(0)) == errno.EINVAL
    data = memory(16, 0xEE)
    assert gpu.get_capset(U32(capset), U32(0), data, U32(16)) == errno.EINVAL
    assert data.raw == bytes(16)


def test_context_0_and_resource_0_are_none(gpu):
    assert gpu.context_create(U32(0), U32(CAPSET), None, U32(0)) == errno.ENOENT
    assert gpu.create_2d(0, 4, 4) == errno.ENOENT
    assert gpu.blob(0, 4096, [memory(4096)]) == errno.ENOENT


def test_context_names_may_be_no_text(gpu):
    for number, name in enumerate((b"\xff\xfe\x00\x01", b"", b"x" * 64), 1):
        assert gpu.context_create(U32(number), U32(CAPSET), name, U32(len(name))) == 0


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("mem", [2, 3])
def test_host_memory_without_a_context_is_refused(gpu, mem, flags):
    """rutabaga_gfx makes a blob of any kind whose flags are those of a ring."""
    pieces = [memory(4096)] if mem == 3 else []
    assert gpu.blob(1, 4096, pieces, mem=mem, flags=flags) != 0
    assert gpu.unref(1) == errno.ENOENT


@pytest.mark.parametrize("kind", [2, 3, 0x11, 0x12, 0xFFFFFFFF])
def test_capset_names_no_channel_that_is_not_served(library, kind):
    """Type 2 is the path of a GPU to rutabaga_gfx, and a camera to its guests at the same time."""
    channel = c_abi.Channel(b"/dev/null", kind)
    channels = c_abi.Channels(ctypes.pointer(channel), 1)
    with Instance(library, capset_mask=1 << CAPSET,
                  builder=lambda **words: c_abi.Builder(**words, channels=ctypes.pointer(channels))) as gpu:
        data = memory(16)
        assert gpu.get_capset(U32(CAPSET), U32(0), data, U32(16)) == 0
        assert struct.unpack_from("<I", data, 4)[0] & ~(1 << 1 | 1 << 0x10) == 0


@pytest.mark.parametrize("channel, offered", [(None, 0), (c_abi.Channel(b"/dev/null", 0x10), 1 << 0x10),
                                              (c_abi.Channel(b"", 1), 0)],
                         ids=["none", "pipewire", "no-path"])
def test_no_compositor_is_reached_that_the_vmm_did_not_name(library, monkeypatch, channel, offered):
    channels = c_abi.Channels(ctypes.pointer(channel), 1) if channel else None
    with tempfile.TemporaryDirectory(prefix="swede-compositor-") as folder, socket.socket(socket.AF_UNIX) as host:
        host.bind(f"{folder}/wayland-7")
        host.listen()
        host.setblocking(False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
        builder = lambda **words: c_abi.Builder(**words, channels=channels and ctypes.pointer(channels))
        with Instance(library, capset_mask=1 << CAPSET, builder=builder) as gpu:
            data = memory(16)
            assert gpu.get_capset(U32(CAPSET), U32(0), data, U32(16)) == 0
            assert struct.unpack_from("<I", data, 4)[0] == offered
            context = CLibraryContext(gpu)
            assert context.submit(command(INIT, struct.pack("<III", context.query, context.channel,
                                                            WAYLAND))) == errno.ENOTSUP
            with pytest.raises(BlockingIOError):
                host.accept()


def test_commands_may_lie_in_memory_that_cannot_be_written(guest):
    """rutabaga_gfx takes them as its own to change; a VMM may hand over the guest's."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    commands = (command(GET_IMAGE_REQUIREMENTS, struct.pack("<IIII", 64, 64, 0x34325258, 0))
                + command(POLL, bytes(8)))
    page.write(commands)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(address, mmap.PAGESIZE, mmap.PROT_READ) == 0
    submission = c_abi.Command(guest.context, len(commands), address, 0, None)
    assert guest.instance.submit_command(ctypes.byref(submission)) == 0
    assert ctypes.string_at(address, len(commands)) == commands


def test_memory_for_wl_shm_is_a_memory_file(guest):
    """It is asked for as an image of R8, one pixel high; a dma-buf would be no use for wl_shm."""
    _, size, blob = guest.image(100_000, 1, "R8  ")
    resource = guest.create_blob(blob, size)
    handle = c_abi.Handle()
    assert guest.instance.resource_export_blob(U32(resource), ctypes.byref(handle)) == 0
    assert handle.handle_type == c_abi.HANDLE_TYPE_MEM_SHM
    with open(handle.os_handle, "rb") as file:
        assert len(file.read()) == size


def test_a_blob_is_exported_as_often_as_wanted_and_stays(guest):
    """rutabaga_gfx gives some away for good, and loses others when that fails."""
    _, size, blob = guest.image(4096, 1, "R8  ")
    for flags in (1, 3):
        resource = guest.new_id()
        request = c_abi.CreateBlob(c_abi.BLOB_MEM_HOST3D, flags, blob, size)
        assert guest.instance.resource_create_blob(U32(guest.context), U32(resource),
                                                   ctypes.byref(request), None, None) == 0
        guest.attach(resource)
        for _ in range(3):
            handle = c_abi.Handle()
            assert guest.instance.resource_export_blob(U32(resource), ctypes.byref(handle)) == 0
            with open(handle.os_handle, "rb"):
                pass
        mapping = c_abi.MappingOf()
        assert guest.instance.resource_map(U32(resource), ctypes.byref(mapping)) == 0
        assert guest.instance.resource_unmap(U32(resource)) == 0


def test_guest_memory_needs_no_context_whatever_renderers_there_are(gpu):
    """The ring blobs of a guest come with context 0; rutabaga_gfx gives them to its default component."""
    assert gpu.blob(1, 4096, [memory(4096)]) == 0
    assert gpu.context_create(U32(1), U32(CAPSET), None, U32(0)) == 0
    assert gpu.context_attach_resource(U32(1), U32(1)) == 0
    assert gpu.context_detach_resource(U32(1), U32(1)) == 0
    assert gpu.unref(1) == 0
    assert gpu.context_detach_resource(U32(1), U32(1)) == 0  # late, and no error


def test_shareable_fences_of_a_context_are_reached(guest):
    """A guest's flag; rutabaga_gfx panics if the context gives no descriptor."""
    flags = c_abi.FLAG_FENCE | c_abi.FLAG_FENCE_SHAREABLE
    for number, ring in ((1, None), (2, 0), (3, 1), (4, 63), (5, 257)):
        assert guest.instance.fence(number, context=guest.context, ring=ring, flags=flags) == 0
    assert [entry[2] for entry in guest.instance.fences] == [1, 2, 3, 4, 5]


def test_snapshot_with_a_context_says_what_is_in_the_way(guest, tmp_path):
    assert guest.instance.snapshot(ctypes.c_char_p(str(tmp_path).encode())) == errno.ENOTSUP
    assert "contexts cannot be saved" in guest.instance.messages[-1][2]
    assert not list(tmp_path.iterdir())
