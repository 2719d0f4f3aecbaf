// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "cross_domain/image_source.h"

struct gbm_device;

namespace swede::cross_domain {

/// Images of the host's GPU driver, by libgbm, which is loaded at run time: the memory that a
/// compositor on that GPU imports without a copy.
class GbmImages final : public ImageSource {
  public:
    /// On the first render node whose driver makes images that can be shared and written.
    [[nodiscard]] static Result<std::unique_ptr<GbmImages>> open();
    /// On this node.
    [[nodiscard]] static Result<std::unique_ptr<GbmImages>> open_node(const std::string& path);
    ~GbmImages() override;
    GbmImages(const GbmImages&) = delete;
    GbmImages& operator=(const GbmImages&) = delete;

    [[nodiscard]] Result<wire::cross_domain::ImageRequirements> requirements(
        const wire::cross_domain::GetImageRequirements& image) override;
    [[nodiscard]] Result<ImageMemory> allocate(
        const wire::cross_domain::GetImageRequirements& image,
        const wire::cross_domain::ImageRequirements& requirements) override;

  private:
    struct Library;
    struct Image;

    GbmImages(std::shared_ptr<const Library> library, UniqueFd node, gbm_device* device);
    [[nodiscard]] Result<Image> make(const wire::cross_domain::GetImageRequirements& image) const;

    std::shared_ptr<const Library> library_;
    UniqueFd node_;
    gbm_device* device_;
};

}  // namespace swede::cross_domain
