/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUTABAGA_GFX_FFI_HPP
#define RUTABAGA_GFX_FFI_HPP

/*
 * rutabaga_gfx_ffi.h for C++20 and later: the same functions with owners. Nothing here is compiled
 * into the library; a program needs this header, the C one and the library.
 *
 *     auto gpu = rutabaga_gfx::Gpu::create({.on_fence = [](const rutabaga_fence& fence) {...}});
 *     if (!gpu) return gpu.error().value();               // an errno, positive
 *     if (auto made = gpu->create_2d(1, 1, 640, 480); !made) ...
 *
 * Errors: no function here throws or ends the process, but for std::bad_alloc of the arguments that
 * it copies. A Result has a value or an Error, which is the errno that the C header lists, as a
 * std::error_code: `result.error() == std::errc::not_supported`. The sentence goes to `on_message`.
 *
 * Threads: functions of one Gpu may be called from any thread and wait for one another. Moving,
 * assigning, finish() and the destructor are as for any object: no other thread may be in a
 * function of that Gpu. Callbacks come on any thread, one at a time for a Gpu, also inside a call;
 * they may call every function, also finish(), and must not throw: that is std::terminate(). Do not
 * finish a Gpu with a lock that a callback takes.
 *
 * With RUTABAGA_GFX_FFI_UNSTABLE there are snapshot(), restore() and import_resource().
 */

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>
#include <version>

#if defined(__cpp_lib_expected)
#include <expected>
#else
#include <variant>
#endif

namespace rutabaga_gfx {

/// An errno of the C header, positive, in std::generic_category().
using Error = std::error_code;

// What Result is depends on the program's C++, so files of C++20 and of C++23 in one program have
// functions of two names.
#if defined(__cpp_lib_expected)
inline namespace with_expected {

template <typename T = void>
using Result = std::expected<T, Error>;
using Failure = std::unexpected<Error>;

#else
inline namespace without_expected {

struct Failure {
    explicit Failure(Error code) : error(code) {}
    Error error;
};

/// As much of std::expected<T, Error> as this header needs: `operator*`, `->` and error() only
/// after asking which of them there is.
template <typename T = void>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Failure failure) : state_(std::in_place_index<1>, failure.error) {}
    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    T& operator*() & noexcept { return *std::get_if<0>(&state_); }
    const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
    T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() noexcept { return std::get_if<0>(&state_); }
    const T* operator->() const noexcept { return std::get_if<0>(&state_); }
    const Error& error() const noexcept { return *std::get_if<1>(&state_); }

  private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Failure failure) : error_(failure.error) {}
    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    const Error& error() const noexcept { return error_; }

  private:
    Error error_;
};
#endif

/// `code`: what a function of C said, a negative errno.
[[nodiscard]] inline Failure failure_of(int32_t code) {
    return Failure(Error(-code, std::generic_category()));
}

/// `code`: 0 or a negative errno.
[[nodiscard]] inline Result<> result_of(int32_t code) {
    if (code == 0) return {};
    return failure_of(code);
}

/// `value` if the function of C has filled it.
template <typename T>
[[nodiscard]] Result<T> result_of(int32_t code, T value) {
    if (code == 0) return value;
    return failure_of(code);
}

/// A file descriptor and what it is (RUTABAGA_HANDLE_TYPE_*); closes it. Move only.
class Handle {
  public:
    Handle() = default;  ///< none
    Handle(int fd, uint32_t type) noexcept : fd_(fd), type_(type) {}
    Handle(Handle&& other) noexcept : fd_(other.release()), type_(other.type_) {}
    Handle& operator=(Handle&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = other.release();
            type_ = other.type_;
        }
        return *this;
    }
    ~Handle() { close(); }

    explicit operator bool() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int fd() const noexcept { return fd_; }  ///< -1: none
    [[nodiscard]] uint32_t type() const noexcept { return type_; }
    /// The descriptor is the caller's from then on.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  private:
    void close() noexcept {
        if (fd_ >= 0) ::close(fd_);
    }

    int fd_ = -1;
    uint32_t type_ = 0;
};

/// A socket of the host that guests may talk to.
struct Channel {
    std::string path;
    uint32_t type = RUTABAGA_CHANNEL_TYPE_WAYLAND;
};

/// What a Gpu is made of. All of it is copied.
struct Options {
    /// A fence is reached. Not empty.
    std::function<void(const rutabaga_fence&)> on_fence{};
    /// RUTABAGA_DEBUG_* and a sentence, which is valid during the call. May be empty.
    std::function<void(uint32_t, std::string_view)> on_message{};
    uint64_t capset_mask = 0;  ///< bit RUTABAGA_CAPSET_*; 0: 2D only
    std::vector<Channel> channels{};
    std::string renderer_features{};
};

struct CapsetInfo {
    uint32_t id;
    uint32_t version;
    uint32_t size;  ///< bytes
};

namespace detail {

/// What callbacks find; at an address that stays when its Gpu moves.
struct State : std::enable_shared_from_this<State> {
    std::function<void(const rutabaga_fence&)> on_fence;
    std::function<void(uint32_t, std::string_view)> on_message;
    /// Null before and after; callbacks of other threads look at it during finish().
    std::atomic<::rutabaga*> gpu = nullptr;

    /// Kept during the callback, which may end the Gpu.
    [[nodiscard]] static std::shared_ptr<State> of(uint64_t user_data) {
        return reinterpret_cast<State*>(static_cast<uintptr_t>(user_data))->shared_from_this();
    }
    static void fence(uint64_t user_data, const rutabaga_fence* fence) noexcept {
        of(user_data)->on_fence(*fence);
    }
    static void message(uint64_t user_data, const rutabaga_debug* debug) noexcept {
        of(user_data)->on_message(debug->debug_type, debug->message);
    }
};

}  // namespace detail

/// Memory of a blob in this process; unmaps it. Move only, and may outlive its Gpu: then it does
/// nothing. Functions of it are calls of the Gpu.
class Mapping {
  public:
    Mapping() = default;  ///< of nothing
    Mapping(Mapping&& other) noexcept
        : state_(std::move(other.state_)),
          resource_(other.resource_),
          bytes_(std::exchange(other.bytes_, {})) {}
    Mapping& operator=(Mapping&& other) noexcept {
        if (this != &other) {
            static_cast<void>(unmap());
            state_ = std::move(other.state_);
            resource_ = other.resource_;
            bytes_ = std::exchange(other.bytes_, {});
        }
        return *this;
    }
    ~Mapping() { static_cast<void>(unmap()); }

    /// Whole pages, good until unmap() or the Gpu's end, whatever becomes of the resource. Writable
    /// if map_info() says so.
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    /// Now, and not at the end. EINVAL: nothing is mapped any more.
    Result<> unmap() {
        bytes_ = {};
        const auto state = std::exchange(state_, {}).lock();
        return result_of(::rutabaga_resource_unmap(state ? state->gpu.load() : nullptr, resource_));
    }

  private:
    friend class Gpu;
    Mapping(std::weak_ptr<detail::State> state, uint32_t resource, const rutabaga_mapping& mapping)
        : state_(std::move(state)),
          resource_(resource),
          bytes_(static_cast<std::byte*>(mapping.ptr), static_cast<size_t>(mapping.size)) {}

    std::weak_ptr<detail::State> state_;
    uint32_t resource_ = 0;
    std::span<std::byte> bytes_;
};

/// One guest's virtual GPU; finishes it. Move only. Of one that is finished or was moved from,
/// every function is EINVAL. What the functions mean, their units and who owns what stands in the C
/// header at the functions of the same names.
class Gpu {
  public:
    /// ENOTSUP: nothing of the mask is to be had.
    [[nodiscard]] static Result<Gpu> create(Options options) {
        if (!options.on_fence) return failure_of(-EINVAL);
        Gpu made(std::make_shared<detail::State>());
        detail::State& state = *made.state_;
        state.on_fence = std::move(options.on_fence);
        state.on_message = std::move(options.on_message);
        std::vector<rutabaga_channel> channels;
        for (const Channel& channel : options.channels)
            channels.push_back({channel.path.c_str(), channel.type});
        rutabaga_channels list{channels.data(), channels.size()};
        rutabaga_builder builder{};
        builder.user_data = reinterpret_cast<uintptr_t>(&state);
        builder.capset_mask = options.capset_mask;
        builder.wsi = RUTABAGA_WSI_SURFACELESS;
        builder.fence_cb = detail::State::fence;
        builder.debug_cb = state.on_message ? detail::State::message : nullptr;
        builder.channels = &list;
        builder.renderer_features =
            options.renderer_features.empty() ? nullptr : options.renderer_features.c_str();
        ::rutabaga* gpu = nullptr;
        if (const int32_t code = ::rutabaga_init(&builder, &gpu); code != 0)
            return failure_of(code);
        state.gpu = gpu;
        return made;
    }
    Gpu(Gpu&&) noexcept = default;
    Gpu& operator=(Gpu&& other) noexcept {
        if (this != &other) {
            static_cast<void>(finish());
            state_ = std::move(other.state_);
        }
        return *this;
    }
    ~Gpu() { static_cast<void>(finish()); }

    /// Completes the fences that are out; no callback comes after it, but for the one that calls
    /// it.
    Result<> finish() {
        const auto state = state_;
        ::rutabaga* gpu = state ? state->gpu.exchange(nullptr) : nullptr;
        return gpu == nullptr ? failure_of(-EINVAL) : result_of(::rutabaga_finish(&gpu));
    }
    /// For functions of C; null when finished.
    [[nodiscard]] ::rutabaga* get() const noexcept { return state_ ? state_->gpu.load() : nullptr; }

    [[nodiscard]] Result<uint32_t> num_capsets() const {
        uint32_t count = 0;
        const int32_t code = ::rutabaga_get_num_capsets(get(), &count);
        return result_of(code, count);
    }
    [[nodiscard]] Result<CapsetInfo> capset_info(uint32_t index) const {
        CapsetInfo info{};
        const int32_t code =
            ::rutabaga_get_capset_info(get(), index, &info.id, &info.version, &info.size);
        return result_of(code, info);
    }
    [[nodiscard]] Result<std::vector<uint8_t>> capset(const CapsetInfo& info) const {
        std::vector<uint8_t> data(info.size);
        const int32_t code =
            ::rutabaga_get_capset(get(), info.id, info.version, data.data(), info.size);
        return result_of(code, std::move(data));
    }

    /// `context_init`: the capset in its low byte.
    [[nodiscard]] Result<> create_context(uint32_t context, uint32_t context_init,
                                          std::string_view name = {}) {
        return result_of(::rutabaga_context_create(get(), context, context_init, name.data(),
                                                   static_cast<uint32_t>(name.size())));
    }
    [[nodiscard]] Result<> destroy_context(uint32_t context) {
        return result_of(::rutabaga_context_destroy(get(), context));
    }
    [[nodiscard]] Result<> attach_resource(uint32_t context, uint32_t resource) {
        return result_of(::rutabaga_context_attach_resource(get(), context, resource));
    }
    [[nodiscard]] Result<> detach_resource(uint32_t context, uint32_t resource) {
        return result_of(::rutabaga_context_detach_resource(get(), context, resource));
    }
    /// The bytes are copied; not const because rutabaga_gfx's own library may write to them.
    /// `fences`: ids of shareable fences to wait for; ENOTSUP so far, unless there are none.
    [[nodiscard]] Result<> submit(uint32_t context, std::span<uint8_t> commands,
                                  std::span<uint64_t> fences = {}) {
        rutabaga_command command{context, static_cast<uint32_t>(commands.size()), commands.data(),
                                 static_cast<uint32_t>(fences.size()), fences.data()};
        if (command.cmd_size != commands.size()) return failure_of(-ENOMEM);
        return result_of(::rutabaga_submit_command(get(), &command));
    }
    [[nodiscard]] Result<> create_fence(const rutabaga_fence& fence) {
        return result_of(::rutabaga_create_fence(get(), &fence));
    }

    [[nodiscard]] Result<> create_3d(uint32_t resource, const rutabaga_create_3d& request) {
        return result_of(::rutabaga_resource_create_3d(get(), resource, &request));
    }
    /// As RESOURCE_CREATE_2D makes it; `format`: VIRTIO_GPU_FORMAT_*, sizes in px.
    [[nodiscard]] Result<> create_2d(uint32_t resource, uint32_t format, uint32_t width,
                                     uint32_t height) {
        return create_3d(resource, {2, format, 2, width, height, 1, 1, 0, 0, 1});
    }
    [[nodiscard]] Result<> attach_backing(uint32_t resource, std::span<const iovec> memory) {
        const rutabaga_iovecs list = list_of(memory);
        return result_of(::rutabaga_resource_attach_backing(get(), resource, &list));
    }
    [[nodiscard]] Result<> detach_backing(uint32_t resource) {
        return result_of(::rutabaga_resource_detach_backing(get(), resource));
    }
    [[nodiscard]] Result<> transfer_read(uint32_t context, uint32_t resource,
                                         const rutabaga_transfer& transfer, const iovec& to) {
        return result_of(
            ::rutabaga_resource_transfer_read(get(), context, resource, &transfer, &to));
    }
    [[nodiscard]] Result<> transfer_read_to_backing(uint32_t context, uint32_t resource,
                                                    const rutabaga_transfer& transfer) {
        return result_of(
            ::rutabaga_resource_transfer_read(get(), context, resource, &transfer, nullptr));
    }
    [[nodiscard]] Result<> transfer_write(uint32_t context, uint32_t resource,
                                          const rutabaga_transfer& transfer) {
        return result_of(::rutabaga_resource_transfer_write(get(), context, resource, &transfer));
    }
    [[nodiscard]] Result<> create_blob(uint32_t context, uint32_t resource,
                                       const rutabaga_create_blob& request,
                                       std::span<const iovec> memory = {}, Handle handle = {}) {
        const rutabaga_iovecs list = list_of(memory);
        const bool any = static_cast<bool>(handle);
        const rutabaga_handle given{any ? handle.release() : -1, handle.type()};
        return result_of(::rutabaga_resource_create_blob(get(), context, resource, &request, &list,
                                                         any ? &given : nullptr));
    }
    [[nodiscard]] Result<> unref(uint32_t resource) {
        return result_of(::rutabaga_resource_unref(get(), resource));
    }
    [[nodiscard]] Result<Handle> export_blob(uint32_t resource) {
        rutabaga_handle handle{};
        const int32_t code = ::rutabaga_resource_export_blob(get(), resource, &handle);
        if (code != 0) return failure_of(code);
        return Handle(static_cast<int>(handle.os_handle), handle.handle_type);
    }
    [[nodiscard]] Result<Mapping> map(uint32_t resource) {
        rutabaga_mapping mapping{};
        const int32_t code = ::rutabaga_resource_map(get(), resource, &mapping);
        if (code != 0) return failure_of(code);
        return Mapping(state_, resource, mapping);
    }
    /// RUTABAGA_MAP_*.
    [[nodiscard]] Result<uint32_t> map_info(uint32_t resource) const {
        uint32_t info = 0;
        const int32_t code = ::rutabaga_resource_map_info(get(), resource, &info);
        return result_of(code, info);
    }

  private:
    explicit Gpu(std::shared_ptr<detail::State> state) : state_(std::move(state)) {}

    /// The library reads the list alone.
    static rutabaga_iovecs list_of(std::span<const iovec> memory) {
        return {const_cast<iovec*>(memory.data()), memory.size()};
    }

    std::shared_ptr<detail::State> state_;  ///< null: moved from
};

/// Bits for names between colons, such as "cross-domain:gfxstream-vulkan"; others are left out.
[[nodiscard]] inline uint64_t capset_mask_of(const std::string& names) {
    uint64_t mask = 0;
    static_cast<void>(::rutabaga_calculate_capset_mask(names.c_str(), &mask));
    return mask;
}

#ifdef RUTABAGA_GFX_FFI_UNSTABLE

[[nodiscard]] inline Result<> snapshot(Gpu& gpu, const std::string& folder) {
    return result_of(::rutabaga_snapshot(gpu.get(), folder.c_str()));
}

[[nodiscard]] inline Result<> restore(Gpu& gpu, const std::string& folder) {
    return result_of(::rutabaga_restore(gpu.get(), folder.c_str()));
}

[[nodiscard]] inline Result<> import_resource(Gpu& gpu, uint32_t resource, Handle handle,
                                              const rutabaga_import_data& data) {
    const rutabaga_handle given{handle.release(), handle.type()};
    return result_of(::rutabaga_resource_import(gpu.get(), resource, &given, &data));
}

#endif

}  // inline namespace
}  // namespace rutabaga_gfx

#endif
