# SPDX-License-Identifier: Apache-2.0
"""librutabaga_gfx_ffi as a VMM has it, by ctypes: structures by hand, so that they are compared with
the header and not made from it."""

import ctypes
import errno
import mmap
import threading

from conftest import build_folder

U32 = ctypes.c_uint32
U64 = ctypes.c_uint64
LIBRARY = "src/transports/c_abi/librutabaga_gfx_ffi.so.0"

FLAG_FENCE = 1
FLAG_INFO_RING_IDX = 2
FLAG_FENCE_SHAREABLE = 4
DEBUG_ERROR = 1
DEBUG_WARN = 2
BLOB_MEM_GUEST = 1
BLOB_MEM_HOST3D = 2
HANDLE_TYPE_MEM_SHM = 4


class CreateBlob(ctypes.Structure):
    _fields_ = [("blob_mem", U32), ("blob_flags", U32), ("blob_id", U64), ("size", U64)]


class Create3d(ctypes.Structure):
    _fields_ = [(name, U32) for name in ("target", "format", "bind", "width", "height", "depth",
                                         "array_size", "last_level", "nr_samples", "flags")]


class Transfer(ctypes.Structure):
    _fields_ = [*((name, U32) for name in ("x", "y", "z", "w", "h", "d", "level", "stride",
                                           "layer_stride")), ("offset", U64)]


class Iovec(ctypes.Structure):
    _fields_ = [("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t)]


class Iovecs(ctypes.Structure):
    _fields_ = [("iovecs", ctypes.POINTER(Iovec)), ("num_iovecs", ctypes.c_size_t)]


class Handle(ctypes.Structure):
    _fields_ = [("os_handle", ctypes.c_int64), ("handle_type", U32)]


class MappingOf(ctypes.Structure):
    _fields_ = [("ptr", ctypes.c_void_p), ("size", U64)]


class Command(ctypes.Structure):
    _fields_ = [("ctx_id", U32), ("cmd_size", U32), ("cmd", ctypes.c_void_p),
                ("num_in_fences", U32), ("fence_ids", ctypes.c_void_p)]


class Channel(ctypes.Structure):
    _fields_ = [("channel_name", ctypes.c_char_p), ("channel_type", U32)]


class Channels(ctypes.Structure):
    _fields_ = [("channels", ctypes.POINTER(Channel)), ("num_channels", ctypes.c_size_t)]


class Fence(ctypes.Structure):
    _fields_ = [("flags", U32), ("fence_id", U64), ("ctx_id", U32), ("ring_idx", U32)]


class Debug(ctypes.Structure):
    _fields_ = [("debug_type", U32), ("message", ctypes.c_char_p)]


FenceCallback = ctypes.CFUNCTYPE(None, U64, ctypes.POINTER(Fence))
DebugCallback = ctypes.CFUNCTYPE(None, U64, ctypes.POINTER(Debug))


class OldBuilder(ctypes.Structure):
    """As in rutabaga_gfx 0.1.2 and 0.1.3."""

    _fields_ = [("user_data", U64), ("capset_mask", U64), ("wsi", U64), ("fence_cb", FenceCallback),
                ("debug_cb", DebugCallback), ("channels", ctypes.POINTER(Channels))]


class Builder(ctypes.Structure):
    _fields_ = [*OldBuilder._fields_, ("renderer_features", ctypes.c_char_p)]


class Info3d(ctypes.Structure):
    _fields_ = [("width", U32), ("height", U32), ("drm_fourcc", U32), ("strides", U32 * 4),
                ("offsets", U32 * 4), ("modifier", U64)]


class ImportData(ctypes.Structure):
    _fields_ = [("flags", U32), ("info_3d", Info3d)]


FUNCTIONS = (
    "calculate_capset_mask", "context_attach_resource", "context_create", "context_destroy",
    "context_detach_resource", "create_fence", "finish", "get_capset", "get_capset_info",
    "get_num_capsets", "init", "resource_attach_backing", "resource_create_3d",
    "resource_create_blob", "resource_detach_backing", "resource_export_blob", "resource_import",
    "resource_map", "resource_map_info", "resource_transfer_read", "resource_transfer_write",
    "resource_unmap", "resource_unref", "restore", "snapshot", "submit_command")


def library_path():
    return build_folder() / LIBRARY


def load():
    """The library; a function's result is 0 or an errno, positive."""
    library = ctypes.CDLL(str(library_path()))
    for name in FUNCTIONS:
        function = getattr(library, f"rutabaga_{name}")
        function.restype = ctypes.c_int32
    return library


def versioned(library, name, version):
    """A function by its name and the age of the programs that it is for."""
    libc = ctypes.CDLL(None)
    libc.dlvsym.restype = ctypes.c_void_p
    libc.dlvsym.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    address = libc.dlvsym(library._handle, name.encode(), version.encode())
    assert address, f"there is no {name}@{version}"
    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(address)


def guarded_copy(structure):
    """The address of a copy that ends where a page that cannot be touched begins, and what keeps it
    alive."""
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(start + mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    size = ctypes.sizeof(structure)
    address = start + mmap.PAGESIZE - size
    ctypes.memmove(address, ctypes.addressof(structure), size)
    return address, memory


class Instance:
    """One `struct rutabaga *`. Each function answers 0 or a positive errno."""

    def __init__(self, library, *, capset_mask=0, user_data=0, builder=Builder, init=None):
        self.library = library
        self.fences = []
        self.messages = []
        self.changed = threading.Condition()
        self.on_fence = None
        self.handle = ctypes.c_void_p()
        self._fence_callback = FenceCallback(self._fence)
        self._debug_callback = DebugCallback(self._debug)
        self.builder = builder(user_data=user_data, capset_mask=capset_mask, wsi=1,
                               fence_cb=self._fence_callback, debug_cb=self._debug_callback)
        if init:
            address, self._kept = guarded_copy(self.builder)
            self.result = -init(address, ctypes.addressof(self.handle))
        else:
            self.result = -library.rutabaga_init(ctypes.byref(self.builder),
                                                 ctypes.byref(self.handle))

    def _fence(self, user_data, fence):
        entry = (user_data, fence[0].flags, fence[0].fence_id, fence[0].ctx_id, fence[0].ring_idx)
        with self.changed:
            self.fences.append(entry)
            self.changed.notify_all()
        if self.on_fence:
            self.on_fence(entry)

    def _debug(self, user_data, debug):
        with self.changed:
            self.messages.append((user_data, debug[0].debug_type, debug[0].message.decode()))
            self.changed.notify_all()

    def __getattr__(self, name):
        function = getattr(self.library, f"rutabaga_{name}")

        def call(*arguments):
            return -function(self.handle, *arguments)
        return call

    def finish(self):
        return -self.library.rutabaga_finish(ctypes.byref(self.handle))

    def __enter__(self):
        assert self.result == 0, (errno.errorcode.get(self.result), self.messages)
        return self

    def __exit__(self, *_):
        if self.handle:
            assert self.finish() == 0

    # Short ways to say the usual things.
    def create_2d(self, resource, width, height, **changes):
        words = dict(target=2, format=1, bind=2, width=width, height=height, depth=1, array_size=1,
                     flags=1)
        return self.resource_create_3d(U32(resource), ctypes.byref(Create3d(**(words | changes))))

    def attach(self, resource, *pieces):
        return self.resource_attach_backing(U32(resource), ctypes.byref(iovecs(*pieces)))

    def write(self, resource, x, y, w, h, *, context=0, **changes):
        transfer = Transfer(x=x, y=y, w=w, h=h, d=1, **changes)
        return self.resource_transfer_write(U32(context), U32(resource), ctypes.byref(transfer))

    def read(self, resource, x, y, w, h, to, *, context=0, **changes):
        transfer = Transfer(x=x, y=y, w=w, h=h, d=1, **changes)
        vector = None if to is None else ctypes.byref(iovec(to))
        return self.resource_transfer_read(U32(context), U32(resource), ctypes.byref(transfer),
                                           vector)

    def fence(self, fence_id, *, context=0, ring=None, flags=FLAG_FENCE):
        if ring is not None:
            flags |= FLAG_INFO_RING_IDX
        return self.create_fence(ctypes.byref(Fence(flags, fence_id, context, ring or 0)))

    def blob(self, resource, size, pieces=(), *, mem=BLOB_MEM_GUEST, flags=1, context=0):
        request = CreateBlob(mem, flags, 1, size)
        return self.resource_create_blob(U32(context), U32(resource), ctypes.byref(request),
                                         ctypes.byref(iovecs(*pieces)), None)

    def unref(self, resource):
        return self.resource_unref(U32(resource))


def by_reference(argument):
    """As it is passed to a function: structures by address, all else as it is."""
    return ctypes.byref(argument) if isinstance(argument, ctypes.Structure) else argument


def memory(size, fill=0):
    """Bytes that stay where they are."""
    made = ctypes.create_string_buffer(size)
    ctypes.memset(made, fill, size)
    return made


def iovec(buffer, size=None):
    return Iovec(ctypes.addressof(buffer), ctypes.sizeof(buffer) if size is None else size)


def iovecs(*pieces):
    """Of buffers, or of Iovec."""
    vectors = [piece if isinstance(piece, Iovec) else iovec(piece) for piece in pieces]
    array = (Iovec * max(len(vectors), 1))(*vectors)
    return Iovecs(array, len(vectors))
