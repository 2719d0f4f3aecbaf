# SPDX-License-Identifier: Apache-2.0
"""The C library on a real compositor: the tests of test_cross_domain_sway.py with the library in the place
of the device, and what a VMM sees of the channel."""

import ctypes
import socket

import pytest

import c_abi
from c_abi import U32, Instance
from c_abi_cross_domain import CLibraryContext
from cross_domain_client import CAPSET
from test_cross_domain_sway import *  # pylint: disable=wildcard-import,unused-wildcard-import
from test_cross_domain_sway import LINK
from virtio_gpu_driver import OK_NODATA


def make_instance(path):
    """An instance with the channel, as QEMU makes it."""
    channel = c_abi.Channel(str(path).encode(), 1)
    channels = c_abi.Channels(ctypes.pointer(channel), 1)
    library = c_abi.load()
    builder = lambda **words: c_abi.Builder(**words, channels=ctypes.pointer(channels))
    return Instance(library, capset_mask=1 << CAPSET, builder=builder)


class VmmDoor:
    """The VMM, as the tests of Wayland want it."""

    def __init__(self, instance):
        self.instance = instance

    def channel(self, context):
        return CLibraryContext(self.instance, context, 1000 * context)

    def map(self, channel, resource, size):  # pylint: disable=unused-argument
        mapping = c_abi.MappingOf()
        assert self.instance.resource_map(U32(resource), ctypes.byref(mapping)) == 0
        assert mapping.size >= size and mapping.size % 4096 == 0
        return memoryview((ctypes.c_char * size).from_address(mapping.ptr)).cast("B")


@pytest.fixture
def door(sway):  # pylint: disable=redefined-outer-name,unused-argument,function-redefined
    with make_instance(LINK) as instance:
        yield VmmDoor(instance)


@pytest.fixture
def guest(tmp_path):
    """A connected context and its compositor's end, which is the test's."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wayland-0"))
        listener.listen()
        listener.settimeout(20)
        with make_instance(tmp_path / "wayland-0") as instance:
            context = CLibraryContext(instance)
            assert context.init() == OK_NODATA
            context.compositor, _ = listener.accept()
            with context.compositor:
                yield context


def test_the_capset(guest):
    number = U32()
    assert guest.instance.get_num_capsets(ctypes.byref(number)) == 0 and number.value == 1
    words = [U32(), U32(), U32()]
    assert guest.instance.get_capset_info(U32(0), *map(ctypes.byref, words)) == 0
    assert [word.value for word in words] == [5, 0, 16]


def test_a_keymap_is_for_reading(guest):
    """map_info says so; rutabaga_gfx does too."""
    import fcntl  # pylint: disable=import-outside-toplevel
    import os     # pylint: disable=import-outside-toplevel
    keymap = os.memfd_create("keymap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(keymap, b"keymap".ljust(5000, b"."))
    fcntl.fcntl(keymap, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
    socket.send_fds(guest.compositor, [b"keymap"], [keymap])
    os.close(keymap)
    (blob, _, size), = guest.receive().identifiers
    resource = guest.create_blob(blob, size)
    info = U32()
    assert guest.instance.resource_map_info(U32(resource), ctypes.byref(info)) == 0
    assert info.value == 0x11
    mapping = c_abi.MappingOf()
    assert guest.instance.resource_map(U32(resource), ctypes.byref(mapping)) == 0
    assert mapping.size == 8192
    assert ctypes.string_at(mapping.ptr, 6) == b"keymap"
    assert guest.instance.resource_unmap(U32(resource)) == 0
    assert guest.instance.unref(resource) == 0
    _, size, blob = guest.image(64, 64)
    assert guest.instance.resource_map_info(U32(guest.create_blob(blob, size)), ctypes.byref(info)) == 0
    assert info.value == 0x31


def test_a_fence_waits_for_its_message(guest):
    fence = guest.ask()
    for resource in range(500, 520):
        assert guest.instance.create_2d(resource, 4, 4) == 0
    assert not guest.is_reached(fence)
    guest.compositor.sendall(b"now")
    with guest.instance.changed:
        assert guest.instance.changed.wait_for(lambda: guest.is_reached(fence), 20)
    assert guest.message().data == b"now"


def test_destroying_the_context_completes_its_fences(guest):
    fence = guest.ask()
    assert guest.instance.context_destroy(U32(guest.context)) == 0
    assert guest.is_reached(fence)
    assert guest.compositor.recv(1) == b""


def test_finish_completes_its_fences(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wayland-0"))
        listener.listen()
        instance = make_instance(tmp_path / "wayland-0")
        context = CLibraryContext(instance)
        assert context.init() == OK_NODATA
        fence = context.ask()
        assert instance.finish() == 0
        assert context.is_reached(fence)
        connection, _ = listener.accept()
        assert connection.recv(1) == b""
        connection.close()


def test_a_ring_that_is_gone_is_not_written(guest):
    """rutabaga_gfx writes to memory that the VMM has freed."""
    assert guest.instance.unref(guest.channel) == 0
    fence = guest.ask()
    guest.compositor.sendall(b"to nowhere")
    with guest.instance.changed:
        assert guest.instance.changed.wait_for(lambda: guest.is_reached(fence), 20)
    assert guest.channel_at.raw == bytes(4096)
    assert guest.compositor.recv(1) == b"", "the channel is closed"


def test_a_ring_in_two_contexts(guest):
    """rutabaga_gfx takes it from the first."""
    assert guest.instance.context_create(U32(2), U32(CAPSET), b"b", U32(1)) == 0
    assert guest.instance.context_attach_resource(U32(2), U32(guest.channel)) == 0
    guest.compositor.sendall(b"still mine")
    assert guest.receive().data == b"still mine"
