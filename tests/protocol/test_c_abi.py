# SPDX-License-Identifier: Apache-2.0
"""Every function of the C interface, through the library that is installed: what a VMM gets, and what
it gets for bad arguments. 2D: what needs a renderer is in the unit tests of the instance."""

import ctypes
import errno
import gc
import os
import pathlib
import struct
import threading

import pytest

import c_abi
from c_abi import U32, U64, Instance, by_reference, memory

MAX32 = 0xFFFFFFFF
MAX64 = 0xFFFFFFFFFFFFFFFF
BAD_HANDLES = [None, 1, 8, 15, 17, 1 << 30, MAX64 - 15]


@pytest.fixture(name="library", scope="module")
def _library():
    return c_abi.load()


@pytest.fixture(name="gpu")
def _gpu(library):
    with Instance(library) as instance:
        yield instance


def pixels(width, height, value=lambda x, y: y << 16 | x | 1 << 31):
    made = memory(width * height * 4)
    for y in range(height):
        for x in range(width):
            struct.pack_into("<I", made, (y * width + x) * 4, value(x, y))
    return made


def pixel(buffer, width, x, y):
    return struct.unpack_from("<I", buffer, (y * width + x) * 4)[0]


# --- init and finish ----------------------------------------------------------------------------

def test_init_gives_an_instance_and_finish_takes_it(library):
    instance = Instance(library, user_data=77)
    assert instance.result == 0 and instance.handle.value
    assert instance.fence(5) == 0
    assert instance.fences == [(77, c_abi.FLAG_FENCE, 5, 0, 0)]
    assert instance.finish() == 0
    assert instance.handle.value is None
    assert instance.finish() == errno.EINVAL


@pytest.mark.parametrize("change", [{"wsi": 0}, {"wsi": 2}, {"wsi": MAX64},
                                    {"fence_cb": c_abi.FenceCallback()}])
def test_init_refuses_bad_builders(library, change):
    good = Instance(library)
    builder = good.builder
    for name, value in change.items():
        setattr(builder, name, value)
    handle = ctypes.c_void_p(1234)
    assert library.rutabaga_init(ctypes.byref(builder), ctypes.byref(handle)) == -errno.EINVAL
    assert handle.value is None
    assert good.finish() == 0


def test_init_refuses_null(library):
    good = Instance(library)
    handle = ctypes.c_void_p(1234)
    assert library.rutabaga_init(None, ctypes.byref(handle)) == -errno.EINVAL
    assert handle.value is None
    assert library.rutabaga_init(ctypes.byref(good.builder), None) == -errno.EINVAL
    assert good.finish() == 0


@pytest.mark.parametrize("channels", [
    c_abi.Channels(None, 1), c_abi.Channels(None, MAX64),
    c_abi.Channels((c_abi.Channel * 1)(c_abi.Channel(None, 1)), 1),
    c_abi.Channels((c_abi.Channel * 1)(c_abi.Channel(b"x" * 5000, 1)), 1),
    c_abi.Channels((c_abi.Channel * 65)(*[c_abi.Channel(b"/a", 1)] * 65), 65)])
def test_init_refuses_bad_channels(library, channels):
    good = Instance(library)
    good.builder.channels = ctypes.pointer(channels)
    handle = ctypes.c_void_p()
    assert library.rutabaga_init(ctypes.byref(good.builder), ctypes.byref(handle)) == -errno.EINVAL
    assert good.messages[-1][1] == c_abi.DEBUG_ERROR
    assert good.finish() == 0


def test_channels_and_features_may_be_empty(library):
    good = Instance(library)
    good.builder.channels = ctypes.pointer(c_abi.Channels(None, 0))
    good.builder.renderer_features = b"what:ever"
    handle = ctypes.c_void_p()
    assert library.rutabaga_init(ctypes.byref(good.builder), ctypes.byref(handle)) == 0
    assert library.rutabaga_finish(ctypes.byref(handle)) == 0
    assert good.finish() == 0


@pytest.mark.parametrize("mask", [1 << 6, 1 << 1, 1 << 20, 1 << 63, 1])
def test_init_fails_with_an_errno_when_no_capset_is_left(library, mask):
    """QEMU crashes on an instance that has none."""
    instance = Instance(library, capset_mask=mask)
    assert instance.result == errno.ENOTSUP
    assert instance.handle.value is None
    kinds = [kind for _, kind, _ in instance.messages]
    assert kinds == [c_abi.DEBUG_WARN, c_abi.DEBUG_ERROR]
    assert "is not to be had" in instance.messages[0][2]


def test_several_instances_hear_their_own_messages(library):
    with Instance(library, user_data=1) as first, Instance(library, user_data=2) as second:
        assert second.unref(9) == errno.ENOENT
        assert first.messages == []
        assert [user for user, _, _ in second.messages] == [2]
        assert second.finish() == 0
        assert first.unref(9) == errno.ENOENT
        assert len(first.messages) == 1 and len(second.messages) == 1


def test_ids_of_several_instances_are_their_own(library):
    with Instance(library) as first, Instance(library) as second:
        assert first.create_2d(1, 4, 4) == 0
        assert second.create_2d(1, 8, 8) == 0
        assert first.unref(1) == 0
        assert second.unref(1) == 0


def test_finish_of_nothing(library):
    assert library.rutabaga_finish(None) == -errno.EINVAL
    for value in BAD_HANDLES:
        handle = ctypes.c_void_p(value)
        assert library.rutabaga_finish(ctypes.byref(handle)) == -errno.EINVAL


def arguments_of_all(library):
    """(function, good arguments behind the instance), for each function that takes one."""
    word, byte = ctypes.pointer(U32()), memory(4096)
    vectors = c_abi.iovecs(byte)
    blob = c_abi.CreateBlob(c_abi.BLOB_MEM_GUEST, 1, 1, 4096)
    transfer = c_abi.Transfer(w=1, h=1, d=1)
    handle, mapping = c_abi.Handle(), c_abi.MappingOf()
    picture = c_abi.Create3d(2, 1, 2, 4, 4, 1, 1, 0, 0, 1)
    command = c_abi.Command(1, 0, None, 0, None)
    data = c_abi.ImportData()
    yield library.rutabaga_get_num_capsets, [word]
    yield library.rutabaga_get_capset_info, [U32(0), word, word, word]
    yield library.rutabaga_get_capset, [U32(0), U32(0), byte, U32(16)]
    yield library.rutabaga_context_create, [U32(1), U32(0), byte, U32(4)]
    yield library.rutabaga_context_destroy, [U32(1)]
    yield library.rutabaga_context_attach_resource, [U32(1), U32(1)]
    yield library.rutabaga_context_detach_resource, [U32(1), U32(1)]
    yield library.rutabaga_resource_create_3d, [U32(1), picture]
    yield library.rutabaga_resource_attach_backing, [U32(1), vectors]
    yield library.rutabaga_resource_detach_backing, [U32(1)]
    yield library.rutabaga_resource_transfer_read, [U32(0), U32(1), transfer, c_abi.iovec(byte)]
    yield library.rutabaga_resource_transfer_write, [U32(0), U32(1), transfer]
    yield library.rutabaga_resource_create_blob, [U32(0), U32(2), blob, vectors, handle]
    yield library.rutabaga_resource_unref, [U32(1)]
    yield library.rutabaga_resource_export_blob, [U32(1), handle]
    yield library.rutabaga_resource_map, [U32(1), mapping]
    yield library.rutabaga_resource_unmap, [U32(1)]
    yield library.rutabaga_resource_map_info, [U32(1), word]
    yield library.rutabaga_submit_command, [command]
    yield library.rutabaga_create_fence, [c_abi.Fence(1, 1, 0, 0)]
    yield library.rutabaga_snapshot, [memory(1)]
    yield library.rutabaga_restore, [memory(1)]
    yield library.rutabaga_resource_import, [U32(1), handle, data]


def test_no_function_takes_what_is_no_instance(library):
    stale = Instance(library)
    old = stale.handle.value
    assert stale.finish() == 0
    count = 0
    for function, arguments in arguments_of_all(library):
        for value in [*BAD_HANDLES, old]:
            assert function(ctypes.c_void_p(value), *map(by_reference, arguments)) == -errno.EINVAL
        count += 1
    assert count == len(c_abi.FUNCTIONS) - 3  # init, finish, calculate_capset_mask


# Null says something there.
NULL_IS_FINE = {("rutabaga_context_create", 2), ("rutabaga_resource_transfer_read", 3),
                ("rutabaga_resource_create_blob", 3), ("rutabaga_resource_create_blob", 4)}


def test_no_function_follows_a_null_pointer(library, gpu):
    assert gpu.create_2d(1, 4, 4) == 0
    for function, arguments in arguments_of_all(library):
        for position, argument in enumerate(arguments):
            if isinstance(argument, U32) or (function.__name__, position) in NULL_IS_FINE:
                continue
            given = [by_reference(other) for other in arguments]
            given[position] = None
            assert function(gpu.handle, *given) == -errno.EINVAL, (function.__name__, position)


# --- capsets ------------------------------------------------------------------------------------

@pytest.mark.parametrize("names, mask", [
    (b"cross-domain:gfxstream-vulkan", 1 << 5 | 1 << 3), (b":gfxstream-vulkan", 1 << 3),
    (b"cross-domain:", 1 << 5), (b"", 0), (b":", 0), (b"fake", 0), (b"magma", 1 << 7),
    (b"gfxstream-magma", 1 << 7), (b"virgl:virgl2:venus:drm", 0b1010110), (b"\xff\xfe:drm", 1 << 6),
    (b"x" * 100000, 0)])
def test_calculate_capset_mask(library, names, mask):
    result = U64(MAX64)
    assert library.rutabaga_calculate_capset_mask(names, ctypes.byref(result)) == 0
    assert result.value == mask


def test_calculate_capset_mask_refuses_null(library):
    result = U64(3)
    assert library.rutabaga_calculate_capset_mask(None, ctypes.byref(result)) == -errno.EINVAL
    assert library.rutabaga_calculate_capset_mask(b"drm", None) == -errno.EINVAL


def test_2d_has_no_capsets(gpu):
    count = U32(9)
    assert gpu.get_num_capsets(ctypes.byref(count)) == 0
    assert count.value == 0
    words = [U32(7) for _ in range(3)]
    for index in (0, 1, MAX32):
        assert gpu.get_capset_info(U32(index), *map(ctypes.byref, words)) == errno.EINVAL
    buffer = memory(16, 0xEE)
    for capset in (0, 5, 77, MAX32):
        assert gpu.get_capset(U32(capset), U32(0), buffer, U32(16)) == errno.EINVAL
        assert buffer.raw == bytes(16)  # QEMU sends it to the guest all the same


def test_2d_has_no_contexts(gpu):
    for context, init in ((1, 0), (1, 5), (1, MAX32)):
        assert gpu.context_create(U32(context), U32(init), None, U32(0)) == errno.ENOTSUP
    assert gpu.context_create(U32(0), U32(5), None, U32(0)) == errno.ENOENT
    assert gpu.context_destroy(U32(1)) == errno.ENOENT
    assert gpu.create_2d(1, 4, 4) == 0
    assert gpu.context_attach_resource(U32(1), U32(1)) == errno.ENOENT
    assert gpu.context_detach_resource(U32(1), U32(1)) == 0  # guests do it late
    command = c_abi.Command(1, 0, None, 0, None)
    assert gpu.submit_command(ctypes.byref(command)) == errno.ENOENT


# --- pixels -------------------------------------------------------------------------------------

def test_picture_goes_there_and_back(gpu):
    guest, shown = pixels(17, 13), memory(17 * 13 * 4, 0xEE)
    assert gpu.create_2d(1, 17, 13) == 0
    assert gpu.read(1, 0, 0, 17, 13, shown) == 0
    assert shown.raw == bytes(17 * 13 * 4)
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, 0, 0, 17, 13) == 0
    assert gpu.read(1, 0, 0, 17, 13, shown) == 0
    assert shown.raw == guest.raw


def test_picture_in_scattered_memory(gpu):
    guest = pixels(32, 32)
    cuts = [0, 5, 6, 4000, 4001, len(guest)]
    pieces = [memory(end - start) for start, end in zip(cuts, cuts[1:])]
    for piece, (start, end) in zip(pieces, zip(cuts, cuts[1:])):
        ctypes.memmove(piece, guest.raw[start:end], end - start)
    shown = memory(len(guest))
    assert gpu.create_2d(1, 32, 32) == 0
    assert gpu.attach(1, *pieces) == 0
    assert gpu.write(1, 0, 0, 32, 32) == 0
    assert gpu.read(1, 0, 0, 32, 32, shown) == 0
    assert shown.raw == guest.raw


def test_rectangle_of_qemu_comes_without_its_offset(gpu):
    guest, shown = pixels(16, 16), memory(16 * 16 * 4)
    assert gpu.create_2d(1, 16, 16) == 0
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, 4, 4, 3, 2) == 0
    assert gpu.read(1, 0, 0, 16, 16, shown) == 0
    for y in range(16):
        for x in range(16):
            inside = 4 <= x < 7 and 4 <= y < 6
            assert pixel(shown, 16, x, y) == (pixel(guest, 16, x, y) if inside else 0)


def test_offset_of_a_guest_points_at_the_rectangle(gpu):
    guest, one = pixels(16, 16), memory(4)
    assert gpu.create_2d(1, 16, 16) == 0
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, 4, 4, 2, 2, offset=(4 * 16 + 4) * 4) == 0
    assert gpu.read(1, 4, 4, 1, 1, one) == 0
    assert pixel(one, 1, 0, 0) == pixel(guest, 16, 4, 4)


def test_read_without_a_stride_has_rows_one_after_the_other(gpu):
    guest, shown = pixels(16, 16), memory(3 * 4 * 4)
    assert gpu.create_2d(1, 16, 16) == 0
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, 0, 0, 16, 16) == 0
    assert gpu.read(1, 2, 5, 3, 4, shown) == 0
    for y in range(4):
        for x in range(3):
            assert pixel(shown, 3, x, y) == pixel(guest, 16, 2 + x, 5 + y)


def test_read_without_memory(gpu):
    guest = pixels(8, 8)
    before = guest.raw
    assert gpu.create_2d(1, 8, 8) == 0
    assert gpu.read(1, 0, 0, 8, 8, None) == errno.EIO  # no backing
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, 0, 0, 8, 8) == 0
    ctypes.memset(guest, 0, len(guest))
    assert gpu.read(1, 0, 0, 8, 8, None) == 0  # TRANSFER_FROM_HOST_3D: to the backing
    assert guest.raw == before
    transfer = c_abi.Transfer(w=8, h=8, d=1)
    nothing = c_abi.Iovec(None, 256)  # RESOURCE_FLUSH before SET_SCANOUT
    assert gpu.resource_transfer_read(U32(0), U32(1), ctypes.byref(transfer),
                                      ctypes.byref(nothing)) == 0


@pytest.mark.parametrize("rectangle", [
    (0, 0, 9, 1), (0, 0, 1, 9), (8, 0, 1, 1), (0, 8, 1, 1), (MAX32, 0, 2, 1), (0, MAX32, 1, 2),
    (1, 1, MAX32, MAX32), (4, 4, 5, 5)])
def test_boxes_outside_are_refused(gpu, rectangle):
    guest = pixels(8, 8)
    shown = memory(256, 0xEE)
    assert gpu.create_2d(1, 8, 8) == 0
    assert gpu.attach(1, guest) == 0
    assert gpu.write(1, *rectangle) == errno.EINVAL
    assert gpu.read(1, *rectangle, shown) == errno.EINVAL
    assert gpu.read(1, *rectangle, None) == errno.EINVAL
    assert shown.raw == b"\xee" * 256
    assert guest.raw == pixels(8, 8).raw


@pytest.mark.parametrize("words", [
    {"z": 1}, {"d": 2}, {"level": 1}, {"offset": MAX64}, {"offset": MAX64 - 255}, {"offset": 1},
    {"stride": 31}, {"stride": MAX32}, {"stride": 1}])
def test_transfers_that_do_not_fit_are_refused(gpu, words):
    guest, shown = pixels(8, 8), memory(256, 0xEE)
    assert gpu.create_2d(1, 8, 8) == 0
    assert gpu.attach(1, guest) == 0
    transfer = c_abi.Transfer(**{**dict(w=8, h=8, d=1), **words})
    assert gpu.resource_transfer_write(U32(0), U32(1), ctypes.byref(transfer)) == errno.EINVAL
    assert gpu.resource_transfer_read(U32(0), U32(1), ctypes.byref(transfer),
                                      ctypes.byref(c_abi.iovec(shown))) == errno.EINVAL
    assert shown.raw == b"\xee" * 256


def test_read_past_the_memory_is_refused(gpu):
    shown = memory(300, 0xEE)
    assert gpu.create_2d(1, 8, 8) == 0
    transfer = c_abi.Transfer(w=8, h=8, d=1)
    for size in (0, 1, 255):
        vector = c_abi.iovec(shown, size)
        assert gpu.resource_transfer_read(U32(0), U32(1), ctypes.byref(transfer),
                                          ctypes.byref(vector)) == errno.EINVAL
    assert shown.raw == b"\xee" * 300


def test_empty_box_is_no_error(gpu):
    assert gpu.create_2d(1, 8, 8) == 0
    for box in ((0, 0, 0, 8), (0, 0, 8, 0), (99, 99, 0, 0)):
        assert gpu.write(1, *box) == 0
        assert gpu.read(1, *box, None) == 0
    assert gpu.write(2, 0, 0, 0, 0) == errno.ENOENT


# --- resources ----------------------------------------------------------------------------------

@pytest.mark.parametrize("resource, width, height, words, error", [
    (0, 4, 4, {}, errno.ENOENT), (1, 0, 4, {}, errno.EINVAL), (1, 4, 0, {}, errno.EINVAL),
    (1, 16385, 1, {}, errno.EINVAL), (1, MAX32, MAX32, {}, errno.ENOMEM),
    (1, 1 << 25, 1 << 25, {}, errno.ENOMEM),  # 2^50 pixels: rutabaga_gfx aborts the process
    (1, 4, 4, {"format": 0}, errno.EINVAL), (1, 4, 4, {"format": MAX32}, errno.EINVAL),
    (1, 4, 4, {"target": 3, "depth": 4}, errno.ENOTSUP), (1, 4, 4, {"target": 0}, errno.ENOTSUP),
    (1, 4, 4, {"last_level": 1}, errno.ENOTSUP), (1, 4, 4, {"nr_samples": 4}, errno.ENOTSUP)])
def test_bad_resources_are_refused(gpu, resource, width, height, words, error):
    assert gpu.create_2d(resource, width, height, **words) == error
    assert gpu.unref(resource) == errno.ENOENT
    assert gpu.messages[0][1] == c_abi.DEBUG_ERROR
    assert gpu.messages[0][2].startswith("rutabaga_resource_create_3d: ")


def test_flat_picture_needs_no_depth(gpu):
    assert gpu.create_2d(1, 4, 4, depth=0, array_size=0, flags=0) == 0


def test_id_is_used_once(gpu):
    assert gpu.create_2d(1, 4, 4) == 0
    assert gpu.create_2d(1, 4, 4) == errno.ENOENT
    assert gpu.blob(1, 4096, [memory(4096)]) == errno.ENOENT
    assert gpu.unref(1) == 0
    assert gpu.unref(1) == errno.ENOENT
    assert gpu.create_2d(1, 8, 8) == 0


def test_guest_memory_is_limited(gpu):
    """2 GiB for one guest; afterwards all is as before."""
    made = 0
    while (error := gpu.create_2d(made + 1, 8192, 8192)) == 0:
        made += 1
    assert error == errno.ENOMEM
    assert made == 8
    for resource in range(1, made + 1):
        assert gpu.unref(resource) == 0
    assert gpu.create_2d(1, 8192, 8192) == 0


def test_backings(gpu):
    assert gpu.create_2d(1, 8, 8) == 0
    assert gpu.resource_detach_backing(U32(1)) == 0  # there is none
    first, second = memory(256, 1), memory(256, 2)
    assert gpu.attach(1, first) == 0
    assert gpu.attach(1, second) == 0  # in place of the first
    assert gpu.write(1, 0, 0, 8, 8) == 0
    shown = memory(256)
    assert gpu.read(1, 0, 0, 8, 8, shown) == 0
    assert shown.raw == second.raw
    assert gpu.resource_detach_backing(U32(1)) == 0
    assert gpu.write(1, 0, 0, 8, 8) == errno.EIO
    assert gpu.attach(9, first) == errno.ENOENT
    assert gpu.resource_detach_backing(U32(9)) == errno.ENOENT


@pytest.mark.parametrize("pieces, count", [
    ([], None), ([c_abi.Iovec(None, 4096)], None), ([c_abi.Iovec(4096, 0)], None),
    ([c_abi.Iovec(4096, MAX64)], None), ([c_abi.Iovec(1, MAX64 // 2)] * 3, None), (None, 1),
    (None, MAX64)])
def test_backings_without_memory_are_refused(gpu, pieces, count):
    assert gpu.create_2d(1, 8, 8) == 0
    vectors = c_abi.Iovecs(None, count) if pieces is None else c_abi.iovecs(*pieces)
    assert gpu.resource_attach_backing(U32(1), ctypes.byref(vectors)) == errno.EINVAL
    assert gpu.write(1, 0, 0, 8, 8) == errno.EIO


def test_too_many_pieces_are_refused_before_they_are_looked_at(gpu):
    assert gpu.create_2d(1, 8, 8) == 0
    vectors = c_abi.iovecs(memory(16))
    vectors.num_iovecs = 1 << 60
    assert gpu.resource_attach_backing(U32(1), ctypes.byref(vectors)) == errno.ENOMEM


def test_memory_is_left_alone_once_it_is_given_back(gpu):
    """A page that cannot be touched any more, so that touching it ends this process."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    for give_back in (lambda: gpu.resource_detach_backing(U32(1)), lambda: gpu.unref(1)):
        if gpu.create_2d(1, 32, 32) not in (0, errno.ENOENT):
            pytest.fail("no resource")
        page = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
        assert gpu.attach(1, c_abi.Iovec(page, 4096)) == 0
        assert gpu.write(1, 0, 0, 32, 32) == 0
        assert give_back() == 0
        assert libc.munmap(page, 4096) == 0
        assert gpu.write(1, 0, 0, 32, 32) in (errno.EIO, errno.ENOENT)


# --- blobs --------------------------------------------------------------------------------------

def test_blobs_of_guest_memory(gpu):
    pages = memory(8192)
    assert gpu.blob(1, 8192, [pages]) == 0
    assert gpu.blob(2, 5000, [pages]) == 0
    assert gpu.write(1, 0, 0, 4, 4) == 0
    assert gpu.resource_detach_backing(U32(1)) == 0
    assert gpu.attach(1, pages) == 0
    assert gpu.attach(1, memory(100)) == errno.EINVAL  # smaller than the blob
    mapping, handle, info = c_abi.MappingOf(), c_abi.Handle(), U32()
    assert gpu.resource_map(U32(1), ctypes.byref(mapping)) == errno.EINVAL
    assert gpu.resource_unmap(U32(1)) == errno.EINVAL
    assert gpu.resource_map_info(U32(1), ctypes.byref(info)) == errno.EINVAL
    assert gpu.resource_export_blob(U32(1), ctypes.byref(handle)) == errno.EINVAL
    for resource in (0, 99, MAX32):
        assert gpu.resource_map(U32(resource), ctypes.byref(mapping)) == errno.ENOENT
        assert gpu.resource_map_info(U32(resource), ctypes.byref(info)) == errno.ENOENT
        assert gpu.resource_export_blob(U32(resource), ctypes.byref(handle)) == errno.ENOENT
        assert gpu.resource_unmap(U32(resource)) == errno.EINVAL
    assert gpu.unref(1) == 0
    assert gpu.unref(2) == 0


@pytest.mark.parametrize("mem, flags, size, with_memory, error", [
    (0, 1, 4096, True, errno.EINVAL), (4, 1, 4096, True, errno.EINVAL),
    (1, 8, 4096, True, errno.EINVAL), (1, 1, 0, True, errno.EINVAL),
    (1, 1, 4097, True, errno.EINVAL), (1, 1, MAX64, True, errno.EINVAL),
    (1, 1, 4096, False, errno.EINVAL), (2, 1, 4096, False, errno.ENOENT),
    (2, 1, 4096, True, errno.EINVAL), (3, 1, 4096, True, errno.ENOENT)])
def test_bad_blobs_are_refused(gpu, mem, flags, size, with_memory, error):
    pieces = [memory(4096)] if with_memory else []
    assert gpu.blob(1, size, pieces, mem=mem, flags=flags) == error
    assert gpu.unref(1) == errno.ENOENT


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("of_instance", [True, False])
def test_descriptors_that_are_given_away_are_closed(library, gpu, of_instance):
    instance = gpu.handle if of_instance else None
    pages = memory(4096)
    before = open_files()
    for kind in (0, 1, 2, 4):
        request = c_abi.CreateBlob(c_abi.BLOB_MEM_GUEST, 1, 1, 4096)
        handle = c_abi.Handle(os.memfd_create("a test"), kind)
        assert library.rutabaga_resource_create_blob(
            instance, U32(0), U32(1), ctypes.byref(request), ctypes.byref(c_abi.iovecs(pages)),
            ctypes.byref(handle)) == -(errno.ENOTSUP if of_instance else errno.EINVAL)
        handle = c_abi.Handle(os.memfd_create("a test"), kind)
        assert library.rutabaga_resource_import(
            instance, U32(1), ctypes.byref(handle), ctypes.byref(c_abi.ImportData())) < 0
        assert open_files() == before
    for handle in (c_abi.Handle(0, 0), c_abi.Handle(-1, 4), c_abi.Handle(1 << 40, 4)):
        request = c_abi.CreateBlob(c_abi.BLOB_MEM_GUEST, 1, 1, 4096)
        library.rutabaga_resource_create_blob(
            instance, U32(0), U32(1), ctypes.byref(request), ctypes.byref(c_abi.iovecs(pages)),
            ctypes.byref(handle))
        assert open_files() == before  # a handle of zeroes is not standard input


def test_import_says_what_is_missing(gpu):
    fourcc = int.from_bytes(b"XR24", "little")
    info = c_abi.Info3d(16, 16, fourcc, (U32 * 4)(64), (U32 * 4)(), 0)
    for flags, error in ((0, errno.ENOTSUP), (2, errno.ENOTSUP), (1, errno.EINVAL)):
        handle = c_abi.Handle(os.memfd_create("loose"), c_abi.HANDLE_TYPE_MEM_SHM)
        data = c_abi.ImportData(flags, info)
        assert gpu.resource_import(U32(1), ctypes.byref(handle), ctypes.byref(data)) == error
    assert gpu.unref(1) == errno.ENOENT


# --- fences -------------------------------------------------------------------------------------

def test_fences_are_reached_in_order_with_what_was_given(gpu):
    flags = c_abi.FLAG_FENCE | c_abi.FLAG_INFO_RING_IDX | c_abi.FLAG_FENCE_SHAREABLE
    for index, (fence_id, context, ring) in enumerate(
            [(1, 0, 0), (MAX64, 7, 1), (3, MAX32, 63), (2, 1, 257), (2, 1, MAX32)]):
        assert gpu.fence(fence_id, context=context, ring=ring, flags=flags) == 0
        assert gpu.fences[index] == (0, flags, fence_id, context, ring)
    assert gpu.fence(9, flags=MAX32 & ~c_abi.FLAG_INFO_RING_IDX) == 0
    assert gpu.fences[-1][2] == 9
    assert any("there is no ring 257" in text for _, _, text in gpu.messages)


def test_callback_may_call(gpu):
    results = []

    def on_fence(entry):
        if entry[2] < 4:
            results.append(gpu.fence(entry[2] + 1))
            results.append(gpu.create_2d(entry[2], 4, 4))
            results.append(gpu.unref(77))
    gpu.on_fence = on_fence
    assert gpu.fence(1) == 0
    assert [entry[2] for entry in gpu.fences] == [1, 2, 3, 4]
    assert results == [0, 0, errno.ENOENT] * 3


def test_callback_may_finish(library):
    instance = Instance(library)
    results = []
    instance.on_fence = lambda _: results.append(instance.finish())
    assert instance.fence(1) == 0
    assert results == [0]
    assert instance.fence(2) == errno.EINVAL
    assert len(instance.fences) == 1


def test_calls_come_from_many_threads(gpu):
    each = 100
    failures = []

    def work(number):
        guest, shown = pixels(8, 8, lambda x, y: number << 16 | y << 8 | x), memory(256)
        for step in range(each):
            resource = 1 + number * each + step
            results = [gpu.create_2d(resource, 8, 8), gpu.attach(resource, guest),
                       gpu.write(resource, 0, 0, 8, 8), gpu.read(resource, 0, 0, 8, 8, shown),
                       gpu.fence(resource), gpu.unref(resource)]
            if results != [0] * 6 or shown.raw != guest.raw:
                failures.append((number, step, results))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(gpu.fences) == 4 * each


# --- the process --------------------------------------------------------------------------------

def heap_bytes():
    class Mallinfo2(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost")]
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo2
    gc.collect()
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd


def test_a_thousand_instances_leave_nothing(library):
    guest = memory(64 * 64 * 4)
    template = Instance(library)

    def one_life():
        handle = ctypes.c_void_p()
        assert library.rutabaga_init(ctypes.byref(template.builder), ctypes.byref(handle)) == 0
        picture = c_abi.Create3d(2, 1, 2, 64, 64, 1, 1, 0, 0, 1)
        vectors = c_abi.iovecs(guest)
        transfer = c_abi.Transfer(w=64, h=64, d=1)
        for resource in (1, 2):
            assert library.rutabaga_resource_create_3d(handle, resource, ctypes.byref(picture)) == 0
            assert library.rutabaga_resource_attach_backing(handle, resource,
                                                            ctypes.byref(vectors)) == 0
            assert library.rutabaga_resource_transfer_write(handle, 0, resource,
                                                            ctypes.byref(transfer)) == 0
        assert library.rutabaga_resource_unref(handle, 1) == 0
        assert library.rutabaga_resource_unref(handle, 3) == -errno.ENOENT
        assert library.rutabaga_finish(ctypes.byref(handle)) == 0

    for _ in range(20):
        one_life()
    template.messages.clear()
    files, threads = open_files(), len(os.listdir("/proc/self/task"))
    maps = len(pathlib.Path("/proc/self/maps").read_text().splitlines())
    heap = heap_bytes()
    for _ in range(1000):
        one_life()
    template.messages.clear()
    assert open_files() == files
    assert len(os.listdir("/proc/self/task")) <= threads  # one of an earlier test may have ended
    assert len(pathlib.Path("/proc/self/maps").read_text().splitlines()) <= maps + 2
    assert heap_bytes() < heap + 64 * 1024
    assert template.finish() == 0


def test_child_has_no_instance_of_its_parent(library, gpu):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            inherited = gpu.create_2d(1, 4, 4)
            with Instance(library) as own:
                status = 0 if (inherited, own.create_2d(1, 4, 4)) == (errno.EINVAL, 0) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gpu.create_2d(1, 4, 4) == 0


def test_builder_of_48_bytes_is_read_no_further(library):
    init = c_abi.versioned(library, "rutabaga_init", "RUTABAGA_0.1.2")
    with Instance(library, builder=c_abi.OldBuilder, init=init) as old:
        assert old.create_2d(1, 4, 4) == 0
        assert old.fence(1) == 0
        assert len(old.fences) == 1


def test_command_of_16_bytes_is_read_no_further(library, gpu):
    submit = c_abi.versioned(library, "rutabaga_submit_command", "RUTABAGA_0.1.2")

    class OldCommand(ctypes.Structure):
        _fields_ = c_abi.Command._fields_[:3]
    address, _kept = c_abi.guarded_copy(OldCommand(1, 0, None))
    assert submit(gpu.handle, address) == -errno.ENOENT


def test_fences_to_wait_for_are_for_new_programs(library, gpu):
    command = c_abi.Command(1, 0, None, 3, None)
    assert gpu.submit_command(ctypes.byref(command)) == errno.ENOTSUP
    old = c_abi.versioned(library, "rutabaga_submit_command", "RUTABAGA_0.1.2")
    assert old(gpu.handle, ctypes.addressof(command)) == -errno.ENOENT  # not looked at


# --- snapshots ----------------------------------------------------------------------------------

def folder_text(path):
    return ctypes.c_char_p(os.fsencode(path))


def test_snapshot_brings_pixels_back(library, tmp_path):
    guest = pixels(100, 50)
    with Instance(library) as before:
        assert before.create_2d(3, 100, 50) == 0
        assert before.attach(3, guest) == 0
        assert before.write(3, 0, 0, 100, 50) == 0
        assert before.blob(4, 4096, [memory(4096)]) == 0
        assert before.snapshot(folder_text(tmp_path)) == 0
        assert before.snapshot(folder_text(tmp_path)) == errno.EEXIST
        assert before.restore(folder_text(tmp_path)) == errno.EEXIST
    with Instance(library) as after:
        assert after.restore(folder_text(tmp_path)) == 0
        shown = memory(len(guest))
        assert after.read(3, 0, 0, 100, 50, shown) == 0
        assert shown.raw == guest.raw
        assert after.write(3, 0, 0, 100, 50) == errno.EIO  # backings are attached anew
        assert after.attach(4, memory(4096)) == 0


def test_snapshots_that_are_no_good_leave_nothing(library, tmp_path):
    with Instance(library) as gpu:
        assert gpu.restore(folder_text(tmp_path)) == errno.EIO
        assert gpu.restore(folder_text(tmp_path / "nowhere")) == errno.EIO
        assert gpu.snapshot(folder_text(tmp_path / "nowhere")) == errno.EIO
        assert gpu.create_2d(1, 8, 8) == 0
        assert gpu.snapshot(folder_text(tmp_path)) == 0
    file, = tmp_path.iterdir()
    good = file.read_bytes()
    for bad in (b"", good[:-1], good + b"x", b"x" * len(good), good[:20] + b"\xff" + good[21:]):
        file.write_bytes(bad)
        with Instance(library) as gpu:
            assert gpu.restore(folder_text(tmp_path)) != 0
            assert gpu.unref(1) == errno.ENOENT
            assert gpu.messages
