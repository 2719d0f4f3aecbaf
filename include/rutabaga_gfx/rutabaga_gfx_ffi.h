/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUTABAGA_GFX_FFI_H
#define RUTABAGA_GFX_FFI_H

/*
 * Swede's virtual GPU as a C library, for VMMs that decode virtio-gpu themselves and host the GPU
 * in their own process: QEMU's virtio-gpu-rutabaga device, for one. Names, values and layouts are
 * those of rutabaga_gfx 0.1.2 to 0.1.85 (ffi/src/include/rutabaga_gfx_ffi.h), so that programs
 * built with that header run on this library, and the other way round. docs/c-library.md says the
 * rest.
 *
 * Every function returns 0 or a negative errno, and tells why through the debug callback:
 *  - EINVAL: an argument is no good: a null pointer, a value out of range, an instance that is over
 *  - ENOENT: no resource or context has this id, or the id cannot be used
 *  - ENOMEM: a limit of the guest's, or the host's memory, is used up
 *  - EEXIST: it is there already
 *  - ENOTSUP: this library does not do that
 *  - ENODEV: the renderer that held the object is gone
 *  - EPIPE: the host's socket that the context speaks to has closed
 *  - EIO: the system failed
 *
 * Calls may come from any thread; those of one instance wait for one another. Callbacks may come on
 * any thread, also inside a call; they may call this library, and must not throw.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RUTABAGA_VERSION_MAJOR 0
#define RUTABAGA_VERSION_MINOR 1
#define RUTABAGA_VERSION_PATCH 6

/* Capability sets: ids of virtio-gpu, and bit numbers of rutabaga_builder.capset_mask. */
#define RUTABAGA_CAPSET_VIRGL 1
#define RUTABAGA_CAPSET_VIRGL2 2
#define RUTABAGA_CAPSET_GFXSTREAM_VULKAN 3
#define RUTABAGA_CAPSET_VENUS 4
#define RUTABAGA_CAPSET_CROSS_DOMAIN 5
#define RUTABAGA_CAPSET_DRM 6
#define RUTABAGA_CAPSET_GFXSTREAM_MAGMA 7
#define RUTABAGA_CAPSET_GFXSTREAM_GLES 8
#define RUTABAGA_CAPSET_GFXSTREAM_COMPOSER 9

/* Where a blob's memory is (virtio 1.3, 5.7.6.8). */
#define RUTABAGA_BLOB_MEM_GUEST 1
#define RUTABAGA_BLOB_MEM_HOST3D 2
#define RUTABAGA_BLOB_MEM_HOST3D_GUEST 3

#define RUTABAGA_BLOB_FLAG_USE_MAPPABLE 1
#define RUTABAGA_BLOB_FLAG_USE_SHAREABLE 2
#define RUTABAGA_BLOB_FLAG_USE_CROSS_DEVICE 4

/* rutabaga_resource_map_info(): how the guest must cache the memory, as virtio-gpu says it, and
 * what it may do with it, which virtio-gpu does not know. */
#define RUTABAGA_MAP_CACHE_MASK 0x0f
#define RUTABAGA_MAP_CACHE_CACHED 0x01
#define RUTABAGA_MAP_CACHE_UNCACHED 0x02
#define RUTABAGA_MAP_CACHE_WC 0x03
#define RUTABAGA_MAP_ACCESS_MASK 0xf0
#define RUTABAGA_MAP_ACCESS_READ 0x10
#define RUTABAGA_MAP_ACCESS_WRITE 0x20
#define RUTABAGA_MAP_ACCESS_RW 0x30

/* What the descriptor of a rutabaga_handle is. */
#define RUTABAGA_HANDLE_TYPE_MEM_OPAQUE_FD 0x1
#define RUTABAGA_HANDLE_TYPE_MEM_DMABUF 0x2
#define RUTABAGA_HANDLE_TYPE_MEM_OPAQUE_WIN32 0x3
#define RUTABAGA_HANDLE_TYPE_MEM_SHM 0x4
#define RUTABAGA_HANDLE_TYPE_MEM_ZIRCON 0x5

#define RUTABAGA_HANDLE_TYPE_SIGNAL_OPAQUE_FD 0x10
#define RUTABAGA_HANDLE_TYPE_SIGNAL_SYNC_FD 0x20
#define RUTABAGA_HANDLE_TYPE_SIGNAL_OPAQUE_WIN32 0x30
#define RUTABAGA_HANDLE_TYPE_SIGNAL_ZIRCON 0x40
#define RUTABAGA_HANDLE_TYPE_SIGNAL_EVENT_FD 0x50

#define RUTABAGA_HANDLE_TYPE_PLATFORM_SCREEN_BUFFER_QNX 0x01000000
#define RUTABAGA_HANDLE_TYPE_PLATFORM_EGL_NATIVE_PIXMAP 0x02000000
#define RUTABAGA_HANDLE_TYPE_PLATFORM_AHB 0x03000000

/* Sockets of the host that guests may talk to. */
#define RUTABAGA_CHANNEL_TYPE_WAYLAND 1
#define RUTABAGA_CHANNEL_TYPE_PIPEWIRE 0x10
#define RUTABAGA_CHANNEL_TYPE_X11 0x11
#define RUTABAGA_CHANNEL_TYPE_DBUS_SESSION 0x12
#define RUTABAGA_CHANNEL_TYPE_DBUS_SYSTEM 0x13

/* The only window system there is: none. */
#define RUTABAGA_WSI_SURFACELESS 0x1

/* rutabaga_fence.flags: those of virtio-gpu's command header, and one more. */
#define RUTABAGA_FLAG_FENCE (1 << 0)
#define RUTABAGA_FLAG_INFO_RING_IDX (1 << 1)
#define RUTABAGA_FLAG_FENCE_SHAREABLE (1 << 2)

/* rutabaga_debug.debug_type. */
#define RUTABAGA_DEBUG_ERROR 0x1
#define RUTABAGA_DEBUG_WARN 0x2
#define RUTABAGA_DEBUG_INFO 0x3

#ifdef RUTABAGA_GFX_FFI_UNSTABLE
/* rutabaga_import_data.flags. */
#define RUTABAGA_IMPORT_FLAG_3D_INFO (1 << 0)
#define RUTABAGA_IMPORT_FLAG_VULKAN_INFO (1 << 1)
#define RUTABAGA_IMPORT_FLAG_RESOURCE_EXISTS (1 << 30)
#define RUTABAGA_IMPORT_FLAG_PRESERVE_CONTENT (1 << 31)
#endif

/* One virtual GPU of one guest. */
struct rutabaga;

struct rutabaga_create_blob {
    uint32_t blob_mem;   /* RUTABAGA_BLOB_MEM_* */
    uint32_t blob_flags; /* RUTABAGA_BLOB_FLAG_* */
    uint64_t blob_id;    /* the context's own name for the memory */
    uint64_t size;       /* bytes, not 0 */
};

/* The words of virtio-gpu's RESOURCE_CREATE_3D. A 2D resource is target 2 with one of virtio-gpu's
 * formats; a depth of 0 is taken as 1. */
struct rutabaga_create_3d {
    uint32_t target;
    uint32_t format;
    uint32_t bind;
    uint32_t width;
    uint32_t height;
    uint32_t depth;
    uint32_t array_size;
    uint32_t last_level;
    uint32_t nr_samples;
    uint32_t flags;
};

#ifdef RUTABAGA_GFX_FFI_UNSTABLE
struct rutabaga_import_data {
    uint32_t flags;
    struct {
        uint32_t width;  /* px */
        uint32_t height; /* px */
        uint32_t drm_fourcc;
        uint32_t strides[4]; /* bytes */
        uint32_t offsets[4]; /* bytes */
        uint64_t modifier;   /* of DRM */
    } info_3d;
};
#endif

/* A box of a resource, and where it lies in the memory on the other side. */
struct rutabaga_transfer {
    uint32_t x;
    uint32_t y;
    uint32_t z;
    uint32_t w;
    uint32_t h;
    uint32_t d;
    uint32_t level;
    uint32_t stride;       /* bytes from row to row; 0: without gaps */
    uint32_t layer_stride; /* bytes */
    uint64_t offset; /* bytes, of the box's first pixel; 0 of a 2D resource's backing: where the
                        box lies in a picture that begins with the backing */
};

struct rutabaga_iovecs {
    struct iovec* iovecs;
    size_t num_iovecs;
};

struct rutabaga_handle {
    int64_t os_handle;    /* a file descriptor */
    uint32_t handle_type; /* RUTABAGA_HANDLE_TYPE_* */
};

struct rutabaga_mapping {
    void* ptr;
    uint64_t size; /* bytes, whole pages */
};

struct rutabaga_command {
    uint32_t ctx_id;
    uint32_t cmd_size; /* bytes */
    uint8_t* cmd;
#ifdef RUTABAGA_GFX_FFI_UNSTABLE
    uint32_t num_in_fences;
    uint64_t* fence_ids;
#else
    uint32_t _reserved_1; /* 0 */
    uint64_t* _reserved_2;
#endif
};

struct rutabaga_channel {
    const char* channel_name; /* path of a Unix socket */
    uint32_t channel_type;    /* RUTABAGA_CHANNEL_TYPE_* */
};

struct rutabaga_channels {
    struct rutabaga_channel* channels;
    size_t num_channels;
};

struct rutabaga_fence {
    uint32_t flags; /* RUTABAGA_FLAG_* */
    uint64_t fence_id;
    uint32_t ctx_id;
    uint32_t ring_idx; /* with RUTABAGA_FLAG_INFO_RING_IDX */
};

struct rutabaga_debug {
    uint32_t debug_type; /* RUTABAGA_DEBUG_* */
    const char* message;
};

/* A fence is reached: once for each that rutabaga_create_fence() took, in order for each (context,
 * ring) and for those without a ring, with the fields that it was given. */
typedef void (*rutabaga_fence_callback)(uint64_t user_data, const struct rutabaga_fence* fence);

/* A sentence for people, valid during the call. At most a few dozen in a second. */
typedef void (*rutabaga_debug_callback)(uint64_t user_data, const struct rutabaga_debug* debug);

struct rutabaga_builder {
    uint64_t user_data;                 /* for the callbacks */
    uint64_t capset_mask;               /* bit RUTABAGA_CAPSET_*; 0: 2D only */
    uint64_t wsi;                       /* RUTABAGA_WSI_SURFACELESS */
    rutabaga_fence_callback fence_cb;   /* not NULL */
    rutabaga_debug_callback debug_cb;   /* may be NULL */
    struct rutabaga_channels* channels; /* guests reach these sockets and no other; may be NULL */
    const char* renderer_features;      /* may be NULL */
};

/* Bits for names between colons, such as "cross-domain:gfxstream-vulkan"; others are left out. */
int32_t rutabaga_calculate_capset_mask(const char* capset_names, uint64_t* capset_mask);

/* A new instance, or NULL in `*ptr`. Nothing of `builder` is used after the call. Capsets that are
 * not to be had are left out, and told; if none of a mask is left, that is an error. */
int32_t rutabaga_init(const struct rutabaga_builder* builder, struct rutabaga** ptr);

/* Completes the fences that are out, gives back all memory, files and threads, and sets `*ptr` to
 * NULL. No callback comes after it. Not to be called with a lock that a callback waits for. */
int32_t rutabaga_finish(struct rutabaga** ptr);

int32_t rutabaga_get_num_capsets(struct rutabaga* ptr, uint32_t* num_capsets);

int32_t rutabaga_get_capset_info(struct rutabaga* ptr, uint32_t capset_index, uint32_t* capset_id,
                                 uint32_t* capset_version, uint32_t* capset_size);

/* Fills `capset` with as much as there is and fits, and zeroes behind it. */
int32_t rutabaga_get_capset(struct rutabaga* ptr, uint32_t capset_id, uint32_t version,
                            uint8_t* capset, uint32_t capset_size);

/* `context_init`: the capset in its low byte. At most 64 bytes of the name are read. A context that
 * exists is destroyed first: QEMU forgets contexts when the guest reboots, without a word. */
int32_t rutabaga_context_create(struct rutabaga* ptr, uint32_t ctx_id, uint32_t context_init,
                                const char* context_name, uint32_t context_name_len);

/* Detaches its resources and completes its fences. */
int32_t rutabaga_context_destroy(struct rutabaga* ptr, uint32_t ctx_id);

/* Attaching what is attached, and detaching what is not, is no error. */
int32_t rutabaga_context_attach_resource(struct rutabaga* ptr, uint32_t ctx_id,
                                         uint32_t resource_id);

int32_t rutabaga_context_detach_resource(struct rutabaga* ptr, uint32_t ctx_id,
                                         uint32_t resource_id);

int32_t rutabaga_resource_create_3d(struct rutabaga* ptr, uint32_t resource_id,
                                    const struct rutabaga_create_3d* create_3d);

/* Gives the resource the memory of the list, in place of what it had. The list is copied; the
 * memory must stay until the backing is detached or the resource unreferenced, and is not touched
 * once that call has returned. */
int32_t rutabaga_resource_attach_backing(struct rutabaga* ptr, uint32_t resource_id,
                                         const struct rutabaga_iovecs* iovecs);

int32_t rutabaga_resource_detach_backing(struct rutabaga* ptr, uint32_t resource_id);

/* From the resource to `iovec`, or, where that is NULL, to the resource's backing. An `iovec` whose
 * iov_base is NULL takes nothing, which is no error. */
int32_t rutabaga_resource_transfer_read(struct rutabaga* ptr, uint32_t ctx_id, uint32_t resource_id,
                                        const struct rutabaga_transfer* transfer,
                                        const struct iovec* iovec);

/* From the backing to the resource. */
int32_t rutabaga_resource_transfer_write(struct rutabaga* ptr, uint32_t ctx_id,
                                         uint32_t resource_id,
                                         const struct rutabaga_transfer* transfer);

/* `iovecs` as for attach_backing, for memory of the guest; may be NULL or empty for the host's. The
 * descriptor of `handle`, which may be NULL, is the library's from then on, also on failure: memory
 * that the VMM made, for a blob of RUTABAGA_BLOB_MEM_HOST3D without iovecs. It is of type SHM, a
 * memory file that is sealed against shrinking (F_SEAL_SHRINK), or DMABUF, and not smaller than the
 * blob; it is not copied, and may be mapped, exported and attached like others. */
int32_t rutabaga_resource_create_blob(struct rutabaga* ptr, uint32_t ctx_id, uint32_t resource_id,
                                      const struct rutabaga_create_blob* rutabaga_create_blob,
                                      const struct rutabaga_iovecs* iovecs,
                                      const struct rutabaga_handle* handle);

/* A resource that is mapped stays so until it is unmapped. */
int32_t rutabaga_resource_unref(struct rutabaga* ptr, uint32_t resource_id);

/* The caller closes the descriptor. */
int32_t rutabaga_resource_export_blob(struct rutabaga* ptr, uint32_t resource_id,
                                      struct rutabaga_handle* handle);

/* Once for each resource, until it is unmapped. */
int32_t rutabaga_resource_map(struct rutabaga* ptr, uint32_t resource_id,
                              struct rutabaga_mapping* mapping);

int32_t rutabaga_resource_unmap(struct rutabaga* ptr, uint32_t resource_id);

int32_t rutabaga_resource_map_info(struct rutabaga* ptr, uint32_t resource_id, uint32_t* map_info);

/* The bytes are copied before the call returns. */
int32_t rutabaga_submit_command(struct rutabaga* ptr, struct rutabaga_command* cmd);

/* Takes every fence: one that stands for nothing is reached at once. */
int32_t rutabaga_create_fence(struct rutabaga* ptr, const struct rutabaga_fence* fence);

#ifdef RUTABAGA_GFX_FFI_UNSTABLE

/* Writes resources with their pixels into the folder, which is there and has no snapshot. Contexts
 * and memory of renderers cannot be saved: -ENOTSUP. */
int32_t rutabaga_snapshot(struct rutabaga* ptr, const char* dir);

/* Into an instance without resources. Backings are attached anew by the caller. */
int32_t rutabaga_restore(struct rutabaga* ptr, const char* dir);

/* Makes a picture of memory that somebody else made and goes on to see: one plane of 4-byte pixels
 * in rows, modifier 0 (linear), at offsets[0] and strides[0] bytes apart. The descriptor is the
 * library's from then on, also on failure; its memory as for create_blob. Without a renderer of 3D
 * only of type SHM; with Vulkan offsets[0] is of whole pages and the memory not for reading. */
int32_t rutabaga_resource_import(struct rutabaga* ptr, uint32_t resource_id,
                                 const struct rutabaga_handle* import_handle,
                                 const struct rutabaga_import_data* import_data);

#endif

#ifdef __cplusplus
}
#endif

#endif
