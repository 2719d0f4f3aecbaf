// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/gbm_images.h"

#include <dlfcn.h>
#include <drm.h>
#include <fcntl.h>
#include <gbm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "base/memory_file.h"
#include "cross_domain/image_requirements.h"
#include "wire/virtio_gpu.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

using wire::cross_domain::GetImageRequirements;
using wire::cross_domain::ImageRequirements;

/// Render nodes have the minors 128 to 191 (Linux, Documentation/gpu/drm-uapi.rst).
constexpr int kFirstRenderNode = 128;
constexpr int kLastRenderNode = 191;

/// Linear, since guests draw with their processors and pass no modifier on.
constexpr uint32_t kUse = GBM_BO_USE_LINEAR | GBM_BO_USE_RENDERING;

/// Every compositor's windows are like this. Some drivers' dma-bufs cannot be written (seen: Zink
/// on Mesa's gfxstream driver, 25.0.7).
constexpr GetImageRequirements kProbe{{}, 64, 64, GBM_FORMAT_XRGB8888, kUse};

}  // namespace

struct GbmImages::Library {
    void* handle = nullptr;
    decltype(&::gbm_create_device) create_device = nullptr;
    decltype(&::gbm_device_destroy) device_destroy = nullptr;
    decltype(&::gbm_device_get_backend_name) backend_name = nullptr;
    decltype(&::gbm_device_get_fd) device_fd = nullptr;
    decltype(&::gbm_bo_create) bo_create = nullptr;
    decltype(&::gbm_bo_destroy) bo_destroy = nullptr;
    decltype(&::gbm_bo_get_plane_count) plane_count = nullptr;
    decltype(&::gbm_bo_get_handle_for_plane) plane_handle = nullptr;
    decltype(&::gbm_bo_get_stride_for_plane) plane_stride = nullptr;
    decltype(&::gbm_bo_get_offset) plane_offset = nullptr;
    decltype(&::gbm_bo_get_modifier) modifier = nullptr;

    template <typename Function>
    bool find(Function& function, const char* name) {
        function = reinterpret_cast<Function>(::dlsym(handle, name));
        return function != nullptr;
    }
    /// Never unloaded: drivers start threads.
    [[nodiscard]] static Result<std::shared_ptr<const Library>> load() {
        auto library = std::make_shared<Library>();
        library->handle = ::dlopen("libgbm.so.1", RTLD_NOW | RTLD_LOCAL);
        if (library->handle == nullptr)
            return fail(ErrorCode::kUnsupported, "libgbm.so.1 is not there.");
        if (!library->find(library->create_device, "gbm_create_device") ||
            !library->find(library->device_destroy, "gbm_device_destroy") ||
            !library->find(library->backend_name, "gbm_device_get_backend_name") ||
            !library->find(library->bo_create, "gbm_bo_create") ||
            !library->find(library->bo_destroy, "gbm_bo_destroy") ||
            !library->find(library->device_fd, "gbm_device_get_fd") ||
            !library->find(library->plane_count, "gbm_bo_get_plane_count") ||
            !library->find(library->plane_handle, "gbm_bo_get_handle_for_plane") ||
            !library->find(library->plane_stride, "gbm_bo_get_stride_for_plane") ||
            !library->find(library->plane_offset, "gbm_bo_get_offset") ||
            !library->find(library->modifier, "gbm_bo_get_modifier"))
            return fail(ErrorCode::kUnsupported, "libgbm.so.1 is too old.");
        return library;
    }
};

/// What a driver made of a request.
struct GbmImages::Image {
    UniqueFd fd;
    ImageRequirements requirements{};
};

Result<std::unique_ptr<GbmImages>> GbmImages::open_node(const std::string& path) {
    UniqueFd node(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!node) return fail_errno(fmt::format("Cannot open {}", path), errno);
    auto library = SWEDE_TRY(Library::load());
    gbm_device* const device = library->create_device(node.get());
    if (device == nullptr) return fail(ErrorCode::kUnsupported, "{} has no driver in GBM.", path);
    log_.info("GBM has the driver {} for {}.", library->backend_name(device), path);
    std::unique_ptr<GbmImages> images(new GbmImages(std::move(library), std::move(node), device));
    static_cast<void>(SWEDE_TRY(images->make(kProbe)));
    return images;
}

Result<std::unique_ptr<GbmImages>> GbmImages::open() {
    Result<std::unique_ptr<GbmImages>> images =
        fail(ErrorCode::kUnsupported, "There is no render node (/dev/dri/renderD*).");
    for (int minor = kFirstRenderNode; minor <= kLastRenderNode; ++minor) {
        const std::string path = fmt::format("/dev/dri/renderD{}", minor);
        if (::access(path.c_str(), F_OK) != 0) continue;
        images = open_node(path);
        if (images) break;
    }
    return images;
}

GbmImages::GbmImages(std::shared_ptr<const Library> library, UniqueFd node, gbm_device* device)
    : library_(std::move(library)), node_(std::move(node)), device_(device) {}

GbmImages::~GbmImages() {
    library_->device_destroy(device_);
}

Result<GbmImages::Image> GbmImages::make(const GetImageRequirements& request) const {
    // What a guest may ask for is checked as for memory files, before a driver sees it.
    static_cast<void>(SWEDE_TRY(image_requirements(request)));
    const auto destroy = [this](gbm_bo* bo) { library_->bo_destroy(bo); };
    std::unique_ptr<gbm_bo, decltype(destroy)> bo(
        library_->bo_create(device_, request.width, request.height, request.drm_fourcc, kUse),
        destroy);
    if (!bo)
        bo.reset(library_->bo_create(device_, request.width, request.height, request.drm_fourcc,
                                     GBM_BO_USE_LINEAR));
    if (!bo)
        return fail_errno(fmt::format("The GPU's driver makes no image of {}x{} px, format {:#x}",
                                      request.width, request.height, request.drm_fourcc),
                          errno);
    Image image;
    ImageRequirements& requirements = image.requirements;
    const int planes = library_->plane_count(bo.get());
    if (planes < 1 || static_cast<size_t>(planes) > requirements.strides.size())
        return fail(ErrorCode::kUnsupported, "The GPU's driver makes images of {} planes.", planes);
    for (int i = 0; i < planes; ++i) {
        // A guest gets one file.
        if (library_->plane_handle(bo.get(), i).u64 != library_->plane_handle(bo.get(), 0).u64)
            return fail(ErrorCode::kUnsupported, "The GPU's driver keeps planes apart.");
        const auto plane = static_cast<size_t>(i);
        requirements.strides[plane] = library_->plane_stride(bo.get(), i);
        requirements.offsets[plane] = library_->plane_offset(bo.get(), i);
    }
    requirements.modifier = library_->modifier(bo.get());
    constexpr uint64_t kNoModifier = 0x00ffffffffffffff;  // DRM_FORMAT_MOD_INVALID: linear, then
    if (requirements.modifier == kNoModifier) requirements.modifier = 0;
    // gbm_bo_get_fd() leaves it to drivers whether the dma-buf may be written.
    drm_prime_handle prime{library_->plane_handle(bo.get(), 0).u32, DRM_CLOEXEC | DRM_RDWR, -1};
    if (::ioctl(library_->device_fd(device_), DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) != 0)
        return fail_errno("Cannot export an image of the GPU's driver", errno);
    image.fd.reset(prime.fd);
    const auto memory = examine_memory(image.fd.get());
    if (!memory || !memory->is_dma_buf || !is_page_aligned(memory->size))
        return fail(ErrorCode::kUnsupported, "The GPU's driver gives no dma-buf of whole pages.");
    if (!memory->writable)
        return fail(ErrorCode::kUnsupported,
                    "The GPU's driver gives a dma-buf that cannot be written.");
    requirements.size = memory->size;
    requirements.map_info = wire::kMapCacheWriteCombined | wire::cross_domain::kMapAccessRead |
                            wire::cross_domain::kMapAccessWrite;
    requirements.memory_index = -1;
    requirements.physical_device_index = -1;
    return image;
}

Result<ImageRequirements> GbmImages::requirements(const GetImageRequirements& image) {
    return SWEDE_TRY(make(image)).requirements;
}

Result<ImageMemory> GbmImages::allocate(const GetImageRequirements& image,
                                        const ImageRequirements& requirements) {
    Image made = SWEDE_TRY(make(image));
    if (made.requirements.size != requirements.size ||
        made.requirements.strides != requirements.strides ||
        made.requirements.offsets != requirements.offsets ||
        made.requirements.modifier != requirements.modifier)
        return fail(ErrorCode::kUnspecified,
                    "The GPU's driver lays an image out in another way than before.");
    // Drivers give out memory of video cards as others left it.
    return ImageMemory{std::move(made.fd), {}, false};
}

}  // namespace swede::cross_domain
