// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "base/udmabuf.h"
#include "wire/cross_domain.h"

namespace swede::cross_domain {

/// The memory of an image: one file for the guest to map, one for the host's peer to import.
struct ImageMemory {
    UniqueFd mapped;
    UniqueFd sent;  ///< empty: the same file
    /// False: it has what others left there, and must be cleared before a guest sees it.
    bool blank = true;
};

/// Where images come from that a compositor can import as dma-bufs. Device thread; what it does
/// takes as long as an ioctl.
class ImageSource {
  public:
    virtual ~ImageSource() = default;
    /// How the image lies in memory; all but `blob_id`.
    [[nodiscard]] virtual Result<wire::cross_domain::ImageRequirements> requirements(
        const wire::cross_domain::GetImageRequirements& image) = 0;
    /// Memory for an image, laid out as requirements() said.
    [[nodiscard]] virtual Result<ImageMemory> allocate(
        const wire::cross_domain::GetImageRequirements& image,
        const wire::cross_domain::ImageRequirements& requirements) = 0;
};

/// The first of these that this host has: GBM on a render node, udmabuf. Null: neither, and a line
/// in the log says what was tried.
[[nodiscard]] std::unique_ptr<ImageSource> open_image_source();

/// Memory files, of which udmabuf makes dma-bufs.
class UdmabufImages final : public ImageSource {
  public:
    explicit UdmabufImages(std::shared_ptr<const Udmabuf> udmabuf) : udmabuf_(std::move(udmabuf)) {}
    [[nodiscard]] Result<wire::cross_domain::ImageRequirements> requirements(
        const wire::cross_domain::GetImageRequirements& image) override;
    [[nodiscard]] Result<ImageMemory> allocate(
        const wire::cross_domain::GetImageRequirements& image,
        const wire::cross_domain::ImageRequirements& requirements) override;

  private:
    std::shared_ptr<const Udmabuf> udmabuf_;
};

}  // namespace swede::cross_domain
