// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/budget.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "cross_domain/image_source.h"
#include "cross_domain/received_file.h"
#include "rutabaga/renderer.h"
#include "wire/virtio_gpu.h"

namespace swede::cross_domain {

/// rutabaga_gfx calls it so; it shows in /proc/PID/maps of VMM and compositor.
inline constexpr std::string_view kImageName = "rutabaga_gralloc";
/// Of memory files of ours.
inline constexpr uint32_t kOwnMapInfo = wire::kMapCacheCached | wire::cross_domain::kMapAccessRead |
                                        wire::cross_domain::kMapAccessWrite;

/// Memory that the guest maps and the host's peer knows: an image we allocated, or what the peer
/// sent. Shared by the renderer and the contexts that have it attached; device thread.
///
/// At a door whose window is static, the guest sees it only while it is placed there. What the peer
/// is sent is then a dma-buf of the window's pages.
///
/// Its bytes are charged by who asks the renderer for a blob (rutabaga::Gpu), before that and until
/// the resource is destroyed; its files are charged here.
class HostBlob {
  public:
    /// Whether the guest will see the memory itself, or as long as it is placed in a window.
    enum class Shown : uint8_t { kItself, kInWindow };

    /// Zeroed memory of `size` bytes, not 0, sealed against shrinking.
    [[nodiscard]] static Result<std::shared_ptr<HostBlob>> create(
        uint64_t size, Shown shown, const std::shared_ptr<Budget>& budget);
    /// An image of `size` bytes.
    [[nodiscard]] static Result<std::shared_ptr<HostBlob>> of_image(
        ImageMemory image, uint64_t size, uint32_t map_info, const std::shared_ptr<Budget>& budget);

    struct Adopted {
        std::shared_ptr<HostBlob> blob;
        UniqueFd source;        ///< to be copied into it; empty: it is the peer's memory itself
        bool to_clear = false;  ///< before anybody sees it
    };
    /// The peer's memory itself when it is steady; else room for a copy of it, since a mapping of a
    /// file that its owner truncates ends who reads it. `size` is what the guest asks for, at most
    /// the file's in whole pages. kInWindow: the guest will see a copy of it in a static window,
    /// which is refused now where none will be made.
    [[nodiscard]] static Result<Adopted> adopt(ReceivedFile file, uint64_t size, Shown shown,
                                               const std::shared_ptr<Budget>& budget);

    [[nodiscard]] uint64_t size() const { return size_; }  ///< bytes, whole pages
    [[nodiscard]] uint32_t map_info() const { return map_info_; }
    /// What the peer can have; -1: nothing now. Borrowed.
    [[nodiscard]] int sent_fd() const;
    /// Where the guest's view is.
    [[nodiscard]] Result<rutabaga::SharedMemory> share() const;
    /// Of its own file, wherever the guest's view is.
    [[nodiscard]] UniqueFd duplicate_file() const { return file_.duplicate(); }
    /// Its own file, to be written.
    [[nodiscard]] Result<Mapping> map() const {
        return Mapping::own_file(file_.get(), 0, size_, Access::kReadWrite);
    }
    /// All bytes of the file are zero, and nobody writes there.
    [[nodiscard]] bool is_blank() const { return blank_; }

    /// The bytes are in the window now, at `offset` of it; `sent` is what the peer is to have, and
    /// empty where it has its own file; `files` is what `window` is charged with.
    void enter_window(UniqueFd window, uint64_t offset, UniqueFd sent, Budget::Charge files);
    /// The bytes are in the file again.
    void leave_window();
    [[nodiscard]] bool is_placed() const { return static_cast<bool>(window_); }
    /// The peer knows other memory than the guest's while it is in a window.
    [[nodiscard]] bool is_shown_in_window() const { return shown_ == Shown::kInWindow; }

  private:
    HostBlob(UniqueFd file, uint64_t size, uint32_t map_info, Shown shown)
        : file_(std::move(file)), size_(size), map_info_(map_info), shown_(shown) {}

    UniqueFd file_;
    UniqueFd sent_;    ///< empty: file_
    UniqueFd window_;  ///< where it is placed
    uint64_t window_offset_ = 0;
    uint64_t size_;
    uint32_t map_info_;
    Shown shown_;
    bool blank_ = false;
    Budget::Charge files_;
    Budget::Charge window_files_;
};

}  // namespace swede::cross_domain
