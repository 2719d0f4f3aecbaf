// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/file_rules.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/log.h"

namespace swede::renderer_process {
namespace {

log::Module log_("renderer_server");

namespace fs = std::filesystem;

constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kWrite = LANDLOCK_ACCESS_FS_WRITE_FILE;
/// All that the first version of Landlock knows; none of the rest is ever allowed.
constexpr uint64_t kHandled =
    kRead | kWrite | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

struct Rule {
    const char* path;
    uint64_t access;
};
/// What is not there needs no rule.
constexpr auto kRules = std::to_array<Rule>({
    {"/usr", kRead},
    {"/lib", kRead},
    {"/lib64", kRead},
    {"/etc", kRead},
    {"/opt", kRead},
    {"/nix", kRead},
    {"/run/opengl-driver", kRead},
    {"/sys", kRead},
    {"/proc", kRead},
    {"/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/dri", kRead | kWrite},
    {"/dev/udmabuf", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/kfd", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/nvidiactl", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/nvidia-modeset", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/nvidia-uvm", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/nvidia-uvm-tools", LANDLOCK_ACCESS_FS_READ_FILE | kWrite},
    {"/dev/nvidia-caps", kRead | kWrite},
});
constexpr int kMaxNvidiaDevices = 16;

/// Variables that name folders, and JSON files of drivers, separated by colons.
constexpr std::array<const char*, 6> kDriverVariables{"VK_DRIVER_FILES",     "VK_ICD_FILENAMES",
                                                      "VK_ADD_DRIVER_FILES", "LD_LIBRARY_PATH",
                                                      "XDG_DATA_DIRS",       "XDG_CONFIG_DIRS"};

void allow(int ruleset, const char* path, uint64_t access) {
    const UniqueFd place(::open(path, O_PATH | O_CLOEXEC));
    if (!place) return;
    const landlock_path_beneath_attr rule{access, place.get()};
    // Refused for a right of folders on a file.
    if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 &&
        errno == EINVAL && (access & LANDLOCK_ACCESS_FS_READ_DIR) != 0)
        allow(ruleset, path, access & ~uint64_t{LANDLOCK_ACCESS_FS_READ_DIR});
}

/// Where the library of the driver lies that the JSON file announces; empty: the linker finds it.
fs::path library_folder(const fs::path& announcement) {
    std::ifstream file(announcement);
    const auto json = nlohmann::json::parse(file, nullptr, false);
    if (!json.is_object() || !json.contains("ICD") || !json["ICD"].is_object()) return {};
    const auto path = json["ICD"].value("library_path", nlohmann::json());
    if (!path.is_string() || path.get<std::string>().find('/') == std::string::npos) return {};
    return (announcement.parent_path() / path.get<std::string>()).parent_path();
}

void allow_named(int ruleset, const char* variable) {
    const char* const value = std::getenv(variable);
    if (value == nullptr) return;
    for (std::string_view rest(value); !rest.empty();) {
        const size_t colon = std::min(rest.find(':'), rest.size());
        const fs::path path(rest.substr(0, colon));
        rest.remove_prefix(std::min(colon + 1, rest.size()));
        if (!path.is_absolute() || path == "/") continue;
        allow(ruleset, path.c_str(), kRead);
        if (path.extension() != ".json") continue;
        if (const fs::path folder = library_folder(path); !folder.empty())
            allow(ruleset, folder.c_str(), kRead);
    }
}

}  // namespace

Result<void> restrict_files() {
    const landlock_ruleset_attr handled{.handled_access_fs = kHandled};
    const UniqueFd ruleset(static_cast<int>(
        ::syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled.handled_access_fs), 0)));
    if (!ruleset && (errno == ENOSYS || errno == EOPNOTSUPP)) {
        log_.info("This kernel has no Landlock: the renderer can read what its user can.");
        return {};
    }
    if (!ruleset) return fail_errno("Cannot make rules for files", errno);
    for (const Rule& rule : kRules) allow(ruleset.get(), rule.path, rule.access);
    for (int i = 0; i < kMaxNvidiaDevices; ++i)
        allow(ruleset.get(), fmt::format("/dev/nvidia{}", i).c_str(),
              LANDLOCK_ACCESS_FS_READ_FILE | kWrite);
    for (const char* const variable : kDriverVariables) allow_named(ruleset.get(), variable);
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
        return fail_errno("Cannot restrict files", errno);
    return {};
}

}  // namespace swede::renderer_process
