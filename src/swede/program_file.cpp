// SPDX-License-Identifier: Apache-2.0
#include "swede/program_file.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace swede {
namespace {

constexpr int kMaxScripts = 4;       ///< interpreters that are scripts themselves; Linux's limit
constexpr size_t kScriptLine = 256;  ///< bytes of "#!" that Linux looks at
constexpr size_t kMaxProgramHeaders = 512;  ///< of an ELF file; more is not looked at

bool is_executable(const std::string& file) {
    struct stat status{};
    return ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
           ::access(file.c_str(), X_OK) == 0;
}

/// False when the file is shorter.
bool read_at(int fd, uint64_t offset, std::span<char> to) {
    return ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(to.size());
}

std::unexpected<Error> refuse(const std::string& file, std::string_view why) {
    return fail(ErrorCode::kUnsupported, "\"{}\" {}, so it cannot reach the GPU of \"swede run\".",
                file, why);
}

Result<void> check_rights(const std::string& file, int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0)
        return fail_errno(fmt::format("Cannot look at \"{}\"", file), errno);
    // Group execution without S_IXGRP is mandatory locking, of old.
    const bool set_gid = (status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0;
    if ((status.st_mode & S_ISUID) != 0 || set_gid)
        return refuse(file, "is setuid or setgid and is started without preloaded libraries");
    if (::fgetxattr(fd, "security.capability", nullptr, 0) > 0)
        return refuse(file, "has capabilities and is started without preloaded libraries");
    return {};
}

Result<void> check_elf(const std::string& file, int fd) {
    Elf64_Ehdr header{};
    const auto bytes = std::span(reinterpret_cast<char*>(&header), sizeof(header));
    if (!read_at(fd, 0, bytes) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_machine != EM_X86_64)
        return refuse(file, "is no program for x86-64");
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMaxProgramHeaders)
        return refuse(file, "has no program headers that can be read");
    std::vector<Elf64_Phdr> parts(header.e_phnum);
    if (!parts.empty() &&
        !read_at(fd, header.e_phoff,
                 std::span(reinterpret_cast<char*>(parts.data()), parts.size() * sizeof(parts[0]))))
        return refuse(file, "is cut short");
    for (const Elf64_Phdr& part : parts) {
        if (part.p_type != PT_INTERP) continue;
        std::string loader(std::min<uint64_t>(part.p_filesz, PATH_MAX), '\0');
        if (!read_at(fd, part.p_offset, loader)) return refuse(file, "is cut short");
        loader = loader.c_str();  // without the zero at its end
        if (loader.ends_with("/ld-linux-x86-64.so.2")) return {};
        return refuse(file, fmt::format("is loaded by {} and not by glibc's loader", loader));
    }
    return refuse(file, "is linked statically and loads no libraries");
}

}  // namespace

Result<std::string> find_program(const std::string& name, const std::string& path) {
    if (name.empty()) return fail(ErrorCode::kInvalidResource, "The program has no name.");
    if (name.find('/') != std::string::npos) {
        struct stat status{};
        if (::stat(name.c_str(), &status) != 0)
            return fail(ErrorCode::kInvalidResource, "\"{}\" is not there: {}.", name,
                        std::strerror(errno));
        if (!is_executable(name))
            return fail(ErrorCode::kUnsupported, "\"{}\" is no file that can be executed.", name);
        return name;
    }
    std::string_view rest = path;
    for (bool more = true; more;) {
        const size_t colon = rest.find(':');
        const std::string_view folder = rest.substr(0, colon);
        more = colon != std::string_view::npos;
        if (more) rest.remove_prefix(colon + 1);
        std::string file = folder.empty() ? "./" + name : std::string(folder) + "/" + name;
        if (is_executable(file)) return file;
    }
    return fail(ErrorCode::kInvalidResource, "There is no program \"{}\" in PATH.", name);
}

Result<void> check_preloadable(const std::string& first) {
    std::string file = first;
    for (int scripts = 0; scripts <= kMaxScripts; ++scripts) {
        const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (!fd && errno == EACCES) return {};  // it may be executed and not be read
        if (!fd) return fail_errno(fmt::format("Cannot open \"{}\"", file), errno);
        SWEDE_TRY(check_rights(file, fd.get()));
        std::array<char, kScriptLine> start{};
        const ssize_t size = ::pread(fd.get(), start.data(), start.size(), 0);
        const std::string_view text(start.data(), size < 0 ? 0 : static_cast<size_t>(size));
        if (text.starts_with(ELFMAG)) return check_elf(file, fd.get());
        if (!text.starts_with("#!")) return refuse(file, "is neither an ELF program nor a script");
        const std::string_view line = text.substr(2, text.find('\n') - 2);
        const size_t begin = line.find_first_not_of(" \t");
        if (begin == std::string_view::npos) return refuse(file, "names no interpreter");
        file = line.substr(begin, line.find_first_of(" \t", begin) - begin);
    }
    return refuse(first, "is a script of a script of a script, and so on");
}

}  // namespace swede
