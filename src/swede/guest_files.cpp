// SPDX-License-Identifier: Apache-2.0
#include "swede/guest_files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "swede/version.h"

namespace swede {
namespace {

namespace fs = std::filesystem;

constexpr char kShimName[] = "libswede-shim.so";
constexpr char kMachine[] = "x86_64";

/// Of a folder of drivers, those that are gfxstream's, the one for this machine first.
std::vector<std::string> gfxstream_files(const std::string& folder) {
    std::vector<std::string> files;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename();
        if (name.starts_with("gfxstream") && name.ends_with(".json"))
            files.push_back(entry->path());
    }
    std::ranges::sort(files, [](const std::string& a, const std::string& b) {
        const bool a_fits = a.find(kMachine) != std::string::npos;
        const bool b_fits = b.find(kMachine) != std::string::npos;
        return a_fits != b_fits ? a_fits : a < b;
    });
    return files;
}

}  // namespace

std::vector<std::string> vulkan_driver_folders() {
    std::vector<std::string> folders{"/etc/vulkan/icd.d"};
    const char* const given = std::getenv("XDG_DATA_DIRS");
    std::string_view rest =
        given == nullptr || given[0] == '\0' ? "/usr/local/share:/usr/share" : given;
    for (bool more = true; more;) {
        const size_t colon = rest.find(':');
        if (const std::string_view folder = rest.substr(0, colon); !folder.empty())
            folders.push_back(std::string(folder) + "/vulkan/icd.d");
        more = colon != std::string_view::npos;
        if (more) rest.remove_prefix(colon + 1);
    }
    return folders;
}

Result<std::string> find_gfxstream_driver(const std::vector<std::string>& folders) {
    for (const std::string& folder : folders)
        if (const auto files = gfxstream_files(folder); !files.empty()) return files.front();
    return fail(
        ErrorCode::kUnsupported,
        "Programs need Mesa's gfxstream driver, which is not installed: it is in the package "
        "mesa-vulkan-drivers from version 25 on (Debian 13, or Debian 12's backports). "
        "--driver FILE names another place.");
}

Result<std::string> find_shim() {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    // In a build folder programs lie in src/swede and tests/programs.
    for (const fs::path& place : {fs::path(kShimPath), self.parent_path() / kShimName,
                                  self.parent_path() / "../../guest/shim" / kShimName})
        if (fs::is_regular_file(place, error)) return fs::canonical(place, error).string();
    return fail(ErrorCode::kUnsupported,
                "The library {} is neither at {} nor beside this program: the installation is not "
                "whole.",
                kShimName, kShimPath);
}

}  // namespace swede
