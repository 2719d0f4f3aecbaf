# SPDX-License-Identifier: Apache-2.0
"""cross-domain beside another renderer on one device: each context goes to its own, and memory of the
other renderer reaches the compositor."""

import mmap
import os
import pathlib
import shutil
import socket
import struct
import tempfile

import pytest

import vhost_user_fixtures
from cross_domain_client import BLOB, CrossDomain
from vhost_user_fixtures import serves_next_client  # pylint: disable=unused-import
from virtio_gpu_driver import (
    BLOB_FLAG_MAPPABLE, BLOB_FLAG_SHAREABLE, FLAG_FENCE, GET_CAPSET_INFO, OK_NODATA, RESOURCE_CREATE_BLOB,
    RESOURCE_UNREF, Gpu)

TRANSPORT = "vhost-user"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"
DEVICE_ARGUMENTS = (*vhost_user_fixtures.DEVICE_ARGUMENTS, "--wayland-socket-path", str(SOCKET))
CTX_CREATE, CTX_ATTACH, SUBMIT_3D = 0x200, 0x202, 0x207
TEST_CAPSET, FILL, HOST3D, OTHER = 30, 3, 2, 2  # OTHER: the test renderer's context
PAGE = 4096


@pytest.fixture(scope="module")
def listener():
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(20)
        made.bind(str(SOCKET))
        made.listen()
        yield made
    shutil.rmtree(FOLDER)


@pytest.fixture
def front_end(device):
    with vhost_user_fixtures.FrontEnd(device.socket_path) as connected:
        connected.give_backend_channel()
        yield connected.start(size=1024)


def make_blob(gpu, resource, words):
    """A blob of the test renderer, whose words count from 0xab."""
    assert gpu.status(CTX_CREATE, struct.pack("<II64s", 4, TEST_CAPSET, b"test"), context=OTHER) == OK_NODATA
    assert gpu.status(RESOURCE_CREATE_BLOB, struct.pack(
        "<4IQQ", resource, HOST3D, BLOB_FLAG_MAPPABLE | BLOB_FLAG_SHAREABLE, 0, resource, PAGE),
        context=OTHER) == OK_NODATA
    assert gpu.status(CTX_ATTACH, struct.pack("<II", resource, 0), context=OTHER) == OK_NODATA
    fill = struct.pack("<4IQQ", FILL, 32, resource, 0xab, 0, words)
    assert gpu.status(SUBMIT_3D, struct.pack("<II", len(fill), 0) + fill, context=OTHER, flags=FLAG_FENCE,
                      fence=1) == OK_NODATA


def test_both_capsets_are_offered(front_end):
    gpu = Gpu(front_end)
    found = [struct.unpack_from("<I", gpu.send(GET_CAPSET_INFO, struct.pack("<II", index, 0),
                                               response_size=40)[1], 24)[0] for index in range(2)]
    assert found == [TEST_CAPSET, 5]


def test_the_other_renderers_memory_reaches_the_compositor(front_end, listener):
    gpu = Gpu(front_end)
    make_blob(gpu, 50, 100)
    guest = CrossDomain(gpu, front_end.ram)
    assert guest.init() == OK_NODATA
    compositor, _ = listener.accept()
    with compositor:
        assert guest.send(b"pool", [(50, BLOB)]) != OK_NODATA, "it is not attached"
        guest.attach(50)
        assert guest.send(b"pool", [(50, BLOB)]) == OK_NODATA
        compositor.settimeout(20)
        data, (fd,), _, _ = socket.recv_fds(compositor, 100, 4)
        assert data == b"pool"
        with mmap.mmap(fd, PAGE) as mapping:
            assert struct.unpack_from("<101I", mapping) == (*range(0xab, 0xab + 100), 0)
        os.close(fd)
        # The compositor keeps what it has; the guest's id is gone.
        assert gpu.status(RESOURCE_UNREF, struct.pack("<II", 50, 0)) == OK_NODATA
        assert guest.send(b"pool", [(50, BLOB)]) != OK_NODATA


def test_guest_memory_cannot_be_sent(front_end, listener):
    guest = CrossDomain(Gpu(front_end), front_end.ram)
    assert guest.init() == OK_NODATA
    compositor, _ = listener.accept()
    with compositor:
        assert guest.send(b"pool", [(guest.channel, BLOB)]) != OK_NODATA
        assert guest.send(b"fine") == OK_NODATA
        assert compositor.recv(100) == b"fine"
