/* SPDX-License-Identifier: Apache-2.0 */
/* The header by itself, as C and as C++: sizes and offsets of rutabaga_gfx 0.1.2 to 0.1.85 on LP64,
 * where programs that run on either library have been built. */
#define RUTABAGA_GFX_FFI_UNSTABLE
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <rutabaga_gfx/rutabaga_gfx_ffi.h> /* twice is no error */
#include <stddef.h>

#ifdef __cplusplus
#define CHECK(condition) static_assert(condition, #condition)
#else
#define CHECK(condition) _Static_assert(condition, #condition)
#endif
#define SIZE(type, size) CHECK(sizeof(struct type) == (size))
#define AT(type, member, offset) CHECK(offsetof(struct type, member) == (offset))

SIZE(rutabaga_create_blob, 24);
AT(rutabaga_create_blob, blob_mem, 0);
AT(rutabaga_create_blob, blob_flags, 4);
AT(rutabaga_create_blob, blob_id, 8);
AT(rutabaga_create_blob, size, 16);

SIZE(rutabaga_create_3d, 40);
AT(rutabaga_create_3d, target, 0);
AT(rutabaga_create_3d, format, 4);
AT(rutabaga_create_3d, bind, 8);
AT(rutabaga_create_3d, width, 12);
AT(rutabaga_create_3d, height, 16);
AT(rutabaga_create_3d, depth, 20);
AT(rutabaga_create_3d, array_size, 24);
AT(rutabaga_create_3d, last_level, 28);
AT(rutabaga_create_3d, nr_samples, 32);
AT(rutabaga_create_3d, flags, 36);

SIZE(rutabaga_transfer, 48);
AT(rutabaga_transfer, x, 0);
AT(rutabaga_transfer, y, 4);
AT(rutabaga_transfer, z, 8);
AT(rutabaga_transfer, w, 12);
AT(rutabaga_transfer, h, 16);
AT(rutabaga_transfer, d, 20);
AT(rutabaga_transfer, level, 24);
AT(rutabaga_transfer, stride, 28);
AT(rutabaga_transfer, layer_stride, 32);
AT(rutabaga_transfer, offset, 40);

SIZE(rutabaga_iovecs, 16);
AT(rutabaga_iovecs, iovecs, 0);
AT(rutabaga_iovecs, num_iovecs, 8);

SIZE(rutabaga_handle, 16);
AT(rutabaga_handle, os_handle, 0);
AT(rutabaga_handle, handle_type, 8);

SIZE(rutabaga_mapping, 16);
AT(rutabaga_mapping, ptr, 0);
AT(rutabaga_mapping, size, 8);

SIZE(rutabaga_command, 32);
AT(rutabaga_command, ctx_id, 0);
AT(rutabaga_command, cmd_size, 4);
AT(rutabaga_command, cmd, 8);
AT(rutabaga_command, num_in_fences, 16);
AT(rutabaga_command, fence_ids, 24);

SIZE(rutabaga_channel, 16);
AT(rutabaga_channel, channel_name, 0);
AT(rutabaga_channel, channel_type, 8);

SIZE(rutabaga_channels, 16);
AT(rutabaga_channels, channels, 0);
AT(rutabaga_channels, num_channels, 8);

SIZE(rutabaga_fence, 24);
AT(rutabaga_fence, flags, 0);
AT(rutabaga_fence, fence_id, 8);
AT(rutabaga_fence, ctx_id, 16);
AT(rutabaga_fence, ring_idx, 20);

SIZE(rutabaga_debug, 16);
AT(rutabaga_debug, debug_type, 0);
AT(rutabaga_debug, message, 8);

SIZE(rutabaga_builder, 56);
AT(rutabaga_builder, user_data, 0);
AT(rutabaga_builder, capset_mask, 8);
AT(rutabaga_builder, wsi, 16);
AT(rutabaga_builder, fence_cb, 24);
AT(rutabaga_builder, debug_cb, 32);
AT(rutabaga_builder, channels, 40);
AT(rutabaga_builder, renderer_features, 48);

SIZE(rutabaga_import_data, 64);
AT(rutabaga_import_data, flags, 0);
AT(rutabaga_import_data, info_3d.width, 8);
AT(rutabaga_import_data, info_3d.height, 12);
AT(rutabaga_import_data, info_3d.drm_fourcc, 16);
AT(rutabaga_import_data, info_3d.strides, 20);
AT(rutabaga_import_data, info_3d.offsets, 36);
AT(rutabaga_import_data, info_3d.modifier, 56);

CHECK(RUTABAGA_VERSION_MAJOR == 0 && RUTABAGA_VERSION_MINOR == 1 && RUTABAGA_VERSION_PATCH == 6);

CHECK(RUTABAGA_CAPSET_VIRGL == 1);
CHECK(RUTABAGA_CAPSET_VIRGL2 == 2);
CHECK(RUTABAGA_CAPSET_GFXSTREAM_VULKAN == 3);
CHECK(RUTABAGA_CAPSET_VENUS == 4);
CHECK(RUTABAGA_CAPSET_CROSS_DOMAIN == 5);
CHECK(RUTABAGA_CAPSET_DRM == 6);
CHECK(RUTABAGA_CAPSET_GFXSTREAM_MAGMA == 7);
CHECK(RUTABAGA_CAPSET_GFXSTREAM_GLES == 8);
CHECK(RUTABAGA_CAPSET_GFXSTREAM_COMPOSER == 9);

CHECK(RUTABAGA_BLOB_MEM_GUEST == 1);
CHECK(RUTABAGA_BLOB_MEM_HOST3D == 2);
CHECK(RUTABAGA_BLOB_MEM_HOST3D_GUEST == 3);
CHECK(RUTABAGA_BLOB_FLAG_USE_MAPPABLE == 1);
CHECK(RUTABAGA_BLOB_FLAG_USE_SHAREABLE == 2);
CHECK(RUTABAGA_BLOB_FLAG_USE_CROSS_DEVICE == 4);

CHECK(RUTABAGA_MAP_CACHE_MASK == 0x0f && RUTABAGA_MAP_CACHE_CACHED == 1);
CHECK(RUTABAGA_MAP_CACHE_UNCACHED == 2 && RUTABAGA_MAP_CACHE_WC == 3);
CHECK(RUTABAGA_MAP_ACCESS_MASK == 0xf0 && RUTABAGA_MAP_ACCESS_READ == 0x10);
CHECK(RUTABAGA_MAP_ACCESS_WRITE == 0x20 && RUTABAGA_MAP_ACCESS_RW == 0x30);

CHECK(RUTABAGA_HANDLE_TYPE_MEM_OPAQUE_FD == 1 && RUTABAGA_HANDLE_TYPE_MEM_DMABUF == 2);
CHECK(RUTABAGA_HANDLE_TYPE_MEM_OPAQUE_WIN32 == 3 && RUTABAGA_HANDLE_TYPE_MEM_SHM == 4);
CHECK(RUTABAGA_HANDLE_TYPE_MEM_ZIRCON == 5);
CHECK(RUTABAGA_HANDLE_TYPE_SIGNAL_OPAQUE_FD == 0x10 && RUTABAGA_HANDLE_TYPE_SIGNAL_SYNC_FD == 0x20);
CHECK(RUTABAGA_HANDLE_TYPE_SIGNAL_OPAQUE_WIN32 == 0x30);
CHECK(RUTABAGA_HANDLE_TYPE_SIGNAL_ZIRCON == 0x40 && RUTABAGA_HANDLE_TYPE_SIGNAL_EVENT_FD == 0x50);
CHECK(RUTABAGA_HANDLE_TYPE_PLATFORM_SCREEN_BUFFER_QNX == 0x01000000);
CHECK(RUTABAGA_HANDLE_TYPE_PLATFORM_EGL_NATIVE_PIXMAP == 0x02000000);
CHECK(RUTABAGA_HANDLE_TYPE_PLATFORM_AHB == 0x03000000);

CHECK(RUTABAGA_CHANNEL_TYPE_WAYLAND == 1 && RUTABAGA_CHANNEL_TYPE_PIPEWIRE == 0x10);
CHECK(RUTABAGA_CHANNEL_TYPE_X11 == 0x11 && RUTABAGA_CHANNEL_TYPE_DBUS_SESSION == 0x12);
CHECK(RUTABAGA_CHANNEL_TYPE_DBUS_SYSTEM == 0x13);
CHECK(RUTABAGA_WSI_SURFACELESS == 1);
CHECK(RUTABAGA_FLAG_FENCE == 1 && RUTABAGA_FLAG_INFO_RING_IDX == 2);
CHECK(RUTABAGA_FLAG_FENCE_SHAREABLE == 4);
CHECK(RUTABAGA_DEBUG_ERROR == 1 && RUTABAGA_DEBUG_WARN == 2 && RUTABAGA_DEBUG_INFO == 3);

CHECK(RUTABAGA_IMPORT_FLAG_3D_INFO == 1 && RUTABAGA_IMPORT_FLAG_VULKAN_INFO == 2);
CHECK(RUTABAGA_IMPORT_FLAG_RESOURCE_EXISTS == 1 << 30);
