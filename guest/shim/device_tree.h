// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace swede::shim {

/// What the program finds at a path of the made-up device.
struct Entry {
    enum class Kind : uint8_t {
        kAbsent,  ///< the path is ours, and nothing is there (a real GPU is hidden)
        kDirectory,
        kFile,
        kLink,
        kNode,  ///< a character device
    };
    Kind kind = Kind::kAbsent;
    std::string path;                ///< without links: what realpath() says
    std::string content;             ///< of a file; the target of a link
    std::vector<std::string> names;  ///< of a directory
    unsigned minor = 0;              ///< of a node
};

/// The same number for the same path, and never 0.
[[nodiscard]] uint64_t inode_of(const std::string& path);

inline constexpr unsigned kDrmMajor = 226;
inline constexpr unsigned kPrimaryMinor = 0;
inline constexpr unsigned kRenderMinor = 128;

/// Whether an absolute path could be one of the device's; a few comparisons.
[[nodiscard]] bool may_be_ours(const char* path);

/// The entry at a path, followed to its end unless `follow` is false. Empty: not ours, the real
/// file system has it. The tree is that of a virtio-gpu PCI function: /dev/dri with one primary
/// and one render node, /sys/dev/char/226:*, /sys/class/drm, and the function's own folder, at an
/// address that no real one has.
[[nodiscard]] std::optional<Entry> look_up(std::string_view path, bool follow = true);

}  // namespace swede::shim
