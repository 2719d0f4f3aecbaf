// SPDX-License-Identifier: Apache-2.0
// libc's functions on folders.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "device_tree.h"
#include "interpose.h"
#include "libc.h"

namespace swede::shim {
namespace {

constexpr size_t kMaxOpenFolders = 64;

/// An open folder of the made-up device. libc's own functions never see it.
struct Folder {
    std::string path;
    std::vector<std::string> names;
    size_t next = 0;
    dirent64 entry;
};

std::array<std::atomic<Folder*>, kMaxOpenFolders> open_folders;

/// Null for a folder of the real file system.
Folder* folder_of(DIR* stream) {
    auto* const folder = reinterpret_cast<Folder*>(stream);
    if (folder == nullptr) return nullptr;
    for (const auto& open : open_folders)
        if (open.load() == folder) return folder;
    return nullptr;
}

DIR* open_folder(Entry entry) {
    auto* const folder = new Folder{entry.path, {".", ".."}, 0, {}};
    std::ranges::move(entry.names, std::back_inserter(folder->names));
    for (auto& place : open_folders) {
        Folder* none = nullptr;
        if (place.compare_exchange_strong(none, folder)) return reinterpret_cast<DIR*>(folder);
    }
    delete folder;
    errno = EMFILE;
    return nullptr;
}

unsigned char type_of(const std::string& path) {
    const auto entry = look_up(path, false);
    if (!entry) return DT_UNKNOWN;
    switch (entry->kind) {
        case Entry::Kind::kDirectory:
            return DT_DIR;
        case Entry::Kind::kLink:
            return DT_LNK;
        case Entry::Kind::kNode:
            return DT_CHR;
        default:
            return DT_REG;
    }
}

dirent64* read_folder(Folder& folder) {
    if (folder.next == folder.names.size()) return nullptr;
    const std::string& name = folder.names[folder.next++];
    dirent64& entry = folder.entry;
    entry = {};
    entry.d_off = static_cast<off64_t>(folder.next);
    entry.d_reclen = sizeof(entry);
    const bool dots = name == "." || name == "..";
    const std::string path = dots ? folder.path : folder.path + "/" + name;
    entry.d_type = dots ? static_cast<unsigned char>(DT_DIR) : type_of(path);
    entry.d_ino = inode_of(path);
    std::memcpy(entry.d_name, name.c_str(), name.size() + 1);
    return &entry;
}

}  // namespace
}  // namespace swede::shim

using namespace swede::shim;  // NOLINT: what follows has libc's names

SWEDE_SHIM_FUNCTION(DIR*, opendir, (const char* path)) {
    if (!may_be_ours(path)) return libc().opendir(path);
    auto entry = look_up(path);
    if (!entry) return libc().opendir(path);
    if (entry->kind == Entry::Kind::kLink) return libc().opendir(entry->content.c_str());
    if (entry->kind == Entry::Kind::kDirectory) return open_folder(*std::move(entry));
    errno = entry->kind == Entry::Kind::kAbsent ? ENOENT : ENOTDIR;
    return nullptr;
}

// On x86-64, struct dirent and struct dirent64 are one.
SWEDE_SHIM_FUNCTION(dirent64*, readdir, (DIR * stream)) {
    Folder* const folder = folder_of(stream);
    return folder != nullptr ? read_folder(*folder) : libc().readdir64(stream);
}
SWEDE_SHIM_FUNCTION(dirent64*, readdir64, (DIR * stream)) {
    Folder* const folder = folder_of(stream);
    return folder != nullptr ? read_folder(*folder) : libc().readdir64(stream);
}

SWEDE_SHIM_FUNCTION(int, closedir, (DIR * stream)) {
    Folder* const folder = folder_of(stream);
    if (folder == nullptr) return libc().closedir(stream);
    for (auto& place : open_folders) {
        Folder* expected = folder;
        if (place.compare_exchange_strong(expected, nullptr)) break;
    }
    delete folder;
    return 0;
}

SWEDE_SHIM_FUNCTION(void, rewinddir, (DIR * stream)) {
    Folder* const folder = folder_of(stream);
    if (folder == nullptr) return libc().rewinddir(stream);
    folder->next = 0;
}

SWEDE_SHIM_FUNCTION(long, telldir, (DIR * stream)) {
    const Folder* const folder = folder_of(stream);
    return folder != nullptr ? static_cast<long>(folder->next) : libc().telldir(stream);
}

SWEDE_SHIM_FUNCTION(void, seekdir, (DIR * stream, long position)) {
    Folder* const folder = folder_of(stream);
    if (folder == nullptr) return libc().seekdir(stream, position);
    folder->next = std::min(static_cast<size_t>(std::max(position, 0l)), folder->names.size());
}

SWEDE_SHIM_FUNCTION(int, dirfd, (DIR * stream)) {
    if (folder_of(stream) == nullptr) return libc().dirfd(stream);
    errno = ENOTSUP;  // POSIX knows folders without one
    return -1;
}
