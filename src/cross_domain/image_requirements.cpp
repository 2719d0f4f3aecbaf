// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/image_requirements.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "base/checked.h"

namespace swede::cross_domain {
namespace {

/// DRM's name of a format (drm_fourcc.h).
constexpr uint32_t fourcc(const char (&name)[5]) {
    uint32_t code = 0;
    for (int i = 3; i >= 0; --i) code = code << 8 | static_cast<uint8_t>(name[i]);
    return code;
}

struct Plane {
    uint32_t bytes_per_sample = 0;
    uint32_t horizontal = 1;  ///< pixels in a row for one sample
    uint32_t vertical = 1;    ///< rows for one row of samples
};

struct Format {
    uint32_t code;
    std::array<Plane, 3> planes;  ///< those with 0 bytes are not there
};

constexpr Format packed(uint32_t code, uint32_t bytes) {
    return {code, {{{bytes, 1, 1}, {}, {}}}};
}

/// Those that rutabaga_gfx knows (rutabaga_gralloc/formats.rs), so those that guests ask for.
constexpr auto kFormats = std::to_array<Format>({
    packed(fourcc("R8  "), 1),
    packed(fourcc("RG16"), 2),
    packed(fourcc("BG24"), 3),
    packed(fourcc("RG24"), 3),
    packed(fourcc("XR24"), 4),
    packed(fourcc("XB24"), 4),
    packed(fourcc("AR24"), 4),
    packed(fourcc("AB24"), 4),
    packed(fourcc("XR30"), 4),
    packed(fourcc("XB30"), 4),
    packed(fourcc("AR30"), 4),
    packed(fourcc("AB30"), 4),
    packed(fourcc("AB4H"), 8),
    {fourcc("NV12"), {{{1, 1, 1}, {2, 2, 2}, {}}}},
    {fourcc("YV12"), {{{1, 1, 1}, {1, 2, 2}, {1, 2, 2}}}},
});

}  // namespace

Result<wire::cross_domain::ImageRequirements> image_requirements(
    const wire::cross_domain::GetImageRequirements& image, uint32_t alignment) {
    const auto* const format = std::ranges::find(kFormats, image.drm_fourcc, &Format::code);
    if (format == kFormats.end())
        return fail(ErrorCode::kInvalidParameter, "Images of format {:#x} are not made.",
                    image.drm_fourcc);
    if (image.width == 0 || image.height == 0)
        return fail(ErrorCode::kInvalidParameter, "An image of {}x{} px is empty.", image.width,
                    image.height);
    wire::cross_domain::ImageRequirements requirements{};
    requirements.memory_index = -1;
    requirements.physical_device_index = -1;
    std::optional<uint64_t> size = 0;
    for (size_t i = 0; i < format->planes.size() && format->planes[i].bytes_per_sample != 0; ++i) {
        const Plane& plane = format->planes[i];
        // Rounded up, as the last sample of an odd row has its place too.
        const uint64_t samples = (uint64_t{image.width} + plane.horizontal - 1) / plane.horizontal;
        const uint64_t rows = (uint64_t{image.height} + plane.vertical - 1) / plane.vertical;
        const uint64_t stride =  // below 2^36
            (samples * plane.bytes_per_sample + alignment - 1) & ~uint64_t{alignment - 1};
        if (*size > std::numeric_limits<uint32_t>::max() ||
            stride > std::numeric_limits<uint32_t>::max())
            return fail(ErrorCode::kInvalidParameter, "An image of {}x{} px is too large.",
                        image.width, image.height);
        requirements.offsets[i] = static_cast<uint32_t>(*size);
        requirements.strides[i] = static_cast<uint32_t>(stride);
        size = checked_add(*size, stride * rows);  // both below 2^32
        if (!size)
            return fail(ErrorCode::kInvalidParameter, "An image of {}x{} px is too large.",
                        image.width, image.height);
    }
    const auto pages = page_align(*size);
    if (!pages)
        return fail(ErrorCode::kInvalidParameter, "An image of {}x{} px is too large.", image.width,
                    image.height);
    requirements.size = *pages;
    return requirements;
}

bool is_pool(const wire::cross_domain::GetImageRequirements& image) {
    return image.drm_fourcc == fourcc("R8  ") && image.height == 1;
}

}  // namespace swede::cross_domain
