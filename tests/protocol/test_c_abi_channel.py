# SPDX-License-Identifier: Apache-2.0
"""cross-domain through the C library, against a compositor's socket of the test's own: the list of cases,
and what a VMM sees of the channel."""

import ctypes
import errno
import fcntl
import os
import pathlib
import shutil
import socket
import tempfile

import pytest

import c_abi
from c_abi import U32
from c_abi_cross_domain import VmmDoor
from cross_domain_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import
from cross_domain_cases import memory_file
from cross_domain_client import BLOB, CAPSET, POLL, command
from virtio_gpu_driver import OK_NODATA

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(FOLDER)


@pytest.fixture
def door():
    with VmmDoor(SOCKET) as made:
        yield made


def test_the_capset(guest):
    number = U32()
    assert guest.instance.get_num_capsets(ctypes.byref(number)) == 0 and number.value == 1
    words = [U32(), U32(), U32()]
    assert guest.instance.get_capset_info(U32(0), *map(ctypes.byref, words)) == 0
    assert [word.value for word in words] == [5, 0, 16]


def test_a_keymap_is_for_reading(guest):
    """map_info says so; rutabaga_gfx does too."""
    with memory_file(b"keymap".ljust(5000, b"."), fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE) as keymap:
        socket.send_fds(guest.compositor, [b"keymap"], [keymap])
    (blob, _, size), = guest.receive().identifiers
    resource = guest.create_blob(blob, size)
    info = U32()
    assert guest.instance.resource_map_info(U32(resource), ctypes.byref(info)) == 0
    assert info.value == 0x11
    mapping = c_abi.MappingOf()
    assert guest.instance.resource_map(U32(resource), ctypes.byref(mapping)) == 0
    assert mapping.size == 8192
    assert guest.instance.resource_unmap(U32(resource)) == 0
    assert guest.instance.unref(resource) == 0
    _, size, blob = guest.image(64, 64)
    assert guest.instance.resource_map_info(U32(guest.create_blob(blob, size)), ctypes.byref(info)) == 0
    assert info.value == 0x31


def test_a_fence_waits_while_the_console_goes_on(guest):
    asked = guest.ask()
    for resource in range(500, 520):
        assert guest.instance.create_2d(resource, 4, 4) == 0
    assert not guest.is_reached(asked)
    guest.compositor.sendall(b"now")
    guest.wait(asked)
    assert guest.message().data == b"now"


def test_send_to_a_compositor_that_is_gone(guest):
    guest.compositor.close()
    guest.wait(guest.ask())  # the end of the stream
    for _ in range(2):
        assert guest.send(b"late") == errno.EPIPE
    assert guest.submit(command(POLL, bytes(8))) == OK_NODATA, "the context is there"


def test_finish_completes_its_fences(door, guest):
    asked = guest.ask()
    assert door.instance.finish() == 0
    assert guest.is_reached(asked)
    assert guest.compositor.recv(1) == b""


def test_a_ring_that_is_gone_is_not_written(guest):
    """rutabaga_gfx writes to memory that the VMM has freed."""
    assert guest.instance.unref(guest.channel) == 0
    asked = guest.ask()
    guest.compositor.sendall(b"to nowhere")
    guest.wait(asked)
    assert guest.channel_at.raw == bytes(4096)
    assert guest.compositor.recv(1) == b"", "the channel is closed"


def test_memory_of_the_vmm_reaches_the_compositor(guest):
    """A blob that comes with a file, which all of them then have."""
    with memory_file(b"picture".ljust(8192, b"."), fcntl.F_SEAL_SHRINK) as file:
        resource = guest.new_id()
        request = c_abi.CreateBlob(c_abi.BLOB_MEM_HOST3D, 3, 0, 8192)
        handle = c_abi.Handle(os.dup(file), c_abi.HANDLE_TYPE_MEM_SHM)
        assert guest.instance.resource_create_blob(U32(guest.context), U32(resource), ctypes.byref(request),
                                                   None, ctypes.byref(handle)) == 0
        guest.attach(resource)
        mapping = c_abi.MappingOf()
        assert guest.instance.resource_map(U32(resource), ctypes.byref(mapping)) == 0
        ctypes.memset(mapping.ptr, ord("P"), 1)
        assert guest.send(b"buffer", [(resource, BLOB)]) == OK_NODATA
        data, (theirs,), _, _ = socket.recv_fds(guest.compositor, 100, 4)
        assert data == b"buffer"
        assert os.pread(theirs, 7, 0) == b"Picture"
        os.close(theirs)
        assert guest.instance.resource_unmap(U32(resource)) == 0
        assert guest.instance.unref(resource) == 0
        assert os.pread(file, 7, 0) == b"Picture"


def test_a_ring_in_two_contexts(guest):
    """rutabaga_gfx takes it from the first."""
    assert guest.instance.context_create(U32(2), U32(CAPSET), b"b", U32(1)) == 0
    assert guest.instance.context_attach_resource(U32(2), U32(guest.channel)) == 0
    guest.compositor.sendall(b"still mine")
    assert guest.receive().data == b"still mine"
