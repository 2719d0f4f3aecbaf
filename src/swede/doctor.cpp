// SPDX-License-Identifier: Apache-2.0
#include "swede/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "swede/child_output.h"
#include "swede/gpus.h"
#include "swede/qemu_doors.h"
#include "swede/size.h"
#include "swede/version.h"

namespace swede {
namespace {

namespace fs = std::filesystem;
using qemu_doors::Door;

constexpr char kQemuName[] = "qemu-system-x86_64";
constexpr auto kHelpTimeout = std::chrono::seconds(10);
constexpr auto kKvmTimeout = std::chrono::seconds(10);
constexpr uint64_t kGiB = uint64_t{1} << 30;

enum class Verdict : uint8_t { kOk, kWarn, kMissing };

void report(Verdict verdict, std::string_view subject, std::string_view sentence) {
    constexpr std::array<std::string_view, 3> kWords{"ok", "warn", "missing"};
    fmt::print("{:<8}{:<12}{}\n", kWords[static_cast<size_t>(verdict)], subject, sentence);
    std::fflush(stdout);  // the next check may take seconds
}

std::string environment(const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr ? value : "";
}

/// An XDG base directory: its variable, or its place below the home directory.
fs::path base_directory(const char* variable, const char* below_home) {
    const std::string set = environment(variable);
    return set.empty() ? fs::path(environment("HOME")) / below_home : fs::path(set);
}

std::optional<fs::path> find_in_path(const std::string& name) {
    const std::string path = environment("PATH");
    for (std::string_view rest = path; !rest.empty();) {
        const size_t colon = std::min(rest.find(':'), rest.size());
        fs::path candidate = fs::path(rest.substr(0, colon)) / name;
        std::error_code ignored;
        if (::access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate, ignored))
            return candidate;
        rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
    return std::nullopt;
}

/// A QEMU and the doors it has.
struct Qemu {
    std::string path;
    std::vector<Door> doors;
};

Qemu examine_qemu(const std::string& path) {
    Qemu qemu{path, {}};
    const auto help = run_for_output({path, "-device", "help"}, kHelpTimeout);
    if (!help || help->timed_out || help->failed) {
        report(Verdict::kMissing, "QEMU",
               fmt::format("{} does not answer \"-device help\"; try it by hand.", path));
        return qemu;
    }
    qemu.doors = qemu_doors::doors_in(help->text);
    if (qemu.doors.empty()) {
        report(
            Verdict::kMissing, "QEMU",
            fmt::format("{} has no device for us; QEMU 10.1 and later have vfio-user-pci.", path));
        return qemu;
    }
    for (const Door& door : qemu.doors)
        report(Verdict::kOk, "QEMU",
               fmt::format("{} has {}: {}.", path, door.device, door.carries));
    return qemu;
}

/// All QEMUs that are at hand: the system's, and the one that scripts/setup keeps.
std::vector<Qemu> examine_qemus(const fs::path& cache) {
    std::vector<Qemu> found;
    if (const auto in_path = find_in_path(kQemuName))
        found.push_back(examine_qemu(in_path->string()));
    const fs::path cached = cache / "bin" / kQemuName;
    if (::access(cached.c_str(), X_OK) == 0) found.push_back(examine_qemu(cached.string()));
    if (found.empty())
        report(Verdict::kMissing, "QEMU",
               fmt::format("There is no {} in PATH; install QEMU 10.1 or later (Debian 13: "
                           "qemu-system-x86 from backports), or run scripts/setup.",
                           kQemuName));
    return found;
}

/// A kernel to probe KVM with: the machine's own, or the guest's that scripts/setup keeps.
std::optional<fs::path> find_kernel(const fs::path& cache) {
    for (const fs::path& folder : {fs::path("/boot"), cache / "guest" / "tree" / "boot"}) {
        std::error_code error;
        for (fs::directory_iterator entry(folder, error); !error && entry != fs::end(entry);
             entry.increment(error))
            if (entry->path().filename().string().starts_with("vmlinuz") &&
                ::access(entry->path().c_str(), R_OK) == 0)
                return entry->path();
    }
    return std::nullopt;
}

/// Whether KVM runs guests. /dev/kvm may open, and even make a VM, and yet run none: only a guest
/// that prints a line of its kernel proves it.
bool examine_kvm(const std::string& qemu, const fs::path& cache) {
    constexpr char kSlow[] = "without it QEMU emulates the processor, which is slow";
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        report(Verdict::kWarn, "KVM",
               errno == EACCES
                   ? fmt::format("/dev/kvm is not for this user; join the group kvm ({}).", kSlow)
                   : fmt::format("/dev/kvm cannot be used ({}); turn on virtualization in the "
                                 "firmware or the outer VM ({}).",
                                 std::strerror(errno), kSlow));
        return false;
    }
    const auto kernel = find_kernel(cache);
    if (qemu.empty() || !kernel) {
        report(Verdict::kWarn, "KVM",
               fmt::format("/dev/kvm opens; whether it runs guests is unknown, for want of a {} to "
                           "probe with.",
                           qemu.empty() ? "QEMU" : "readable kernel in /boot"));
        return false;
    }
    const auto probe = run_for_output(
        {qemu, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine",
         "q35,accel=kvm", "-cpu", "host", "-m", "256M", "-serial", "stdio", "-kernel",
         kernel->string(), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"},
        kKvmTimeout,
        [](std::string_view text) { return text.find("Linux version") != std::string_view::npos; });
    if (probe && probe->text.find("Linux version") != std::string::npos) {
        report(Verdict::kOk, "KVM", "A probe guest ran its kernel.");
        return true;
    }
    report(Verdict::kWarn, "KVM",
           fmt::format("/dev/kvm opens, but a probe guest {}; use accel=tcg ({}).",
                       probe && probe->timed_out
                           ? fmt::format("printed no kernel line within {} s", kKvmTimeout.count())
                           : "ended before its kernel's first line",
                       kSlow));
    return false;
}

/// Bytes that programs may still take; 0 when unknown.
uint64_t examine_memory() {
    std::ifstream file("/proc/meminfo");
    std::string name;
    for (uint64_t kib = 0; file >> name >> kib; file.ignore(64, '\n')) {
        if (name != "MemAvailable:") continue;
        const uint64_t bytes = kib * 1024;
        if (bytes >= 4 * kGiB)
            report(Verdict::kOk, "memory", fmt::format("{} GiB are free.", bytes / kGiB));
        else
            report(Verdict::kWarn, "memory",
                   fmt::format("{} MiB are free; a desktop guest wants 2 GiB and more of its own.",
                               bytes >> 20));
        return bytes;
    }
    report(Verdict::kWarn, "memory", "/proc/meminfo does not say how much is free.");
    return 0;
}

void examine_udmabuf() {
    if (::access("/dev/udmabuf", R_OK | W_OK) == 0)
        report(Verdict::kOk, "udmabuf", "/dev/udmabuf can be used.");
    else if (errno == ENOENT)
        report(Verdict::kWarn, "udmabuf",
               "There is no /dev/udmabuf; \"modprobe udmabuf\" as root gives one. Only Wayland "
               "programs "
               "of guests on vfio-user need it.");
    else
        report(
            Verdict::kWarn, "udmabuf",
            fmt::format("/dev/udmabuf cannot be used ({}); an udev rule can give it to the group "
                        "kvm. Only Wayland programs of guests on vfio-user need it.",
                        std::strerror(errno)));
}

void examine_vulkan() {
    const auto gpus = list_gpus();
    if (!gpus) {
        report(Verdict::kWarn, "Vulkan",
               fmt::format("none: {} 2D works without; for Vulkan install the GPU's driver, or "
                           "mesa-vulkan-drivers.",
                           gpus.error().message));
        return;
    }
    for (const Gpu& gpu : *gpus)
        report(gpu.unusable.empty() ? Verdict::kOk : Verdict::kWarn, "Vulkan", sentence_of(gpu));
}

/// The descriptor by which QEMU and libvirt find swede-vhost-user-gpu: QEMU's
/// docs/interop/vhost-user.json names the folders.
void examine_descriptor() {
    const std::string name = fs::path(kDescriptorPath).filename().string();
    const std::vector<fs::path> folders{
        base_directory("XDG_CONFIG_HOME", ".config") / "qemu/vhost-user", "/etc/qemu/vhost-user",
        "/usr/share/qemu/vhost-user"};
    for (const fs::path& folder : folders) {
        std::ifstream file(folder / name);
        if (!file) continue;
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        const auto descriptor = nlohmann::json::parse(text, nullptr, false);
        const bool named = descriptor.is_object() && descriptor.contains("binary") &&
                           descriptor["binary"].is_string();
        const std::string binary = named ? descriptor["binary"].get<std::string>() : "";
        if (::access(binary.c_str(), X_OK) == 0)
            report(Verdict::kOk, "descriptor",
                   fmt::format("{} is installed.", (folder / name).string()));
        else
            report(Verdict::kWarn, "descriptor",
                   fmt::format("{} names \"{}\", which cannot be run; install again.",
                               (folder / name).string(), binary));
        return;
    }
    if (::access(kDescriptorPath, R_OK) == 0)
        report(Verdict::kWarn, "descriptor",
               fmt::format("{} is installed where libvirt does not look; link it into {}.",
                           kDescriptorPath, "/etc/qemu/vhost-user"));
    else
        report(
            Verdict::kWarn, "descriptor",
            fmt::format("{} is not installed (\"meson install\" does it). Only libvirt needs it, "
                        "to find swede-vhost-user-gpu.",
                        name));
}

/// The QEMU with the best door; null when none has one.
const Qemu* best_of(const std::vector<Qemu>& qemus) {
    const Qemu* best = nullptr;
    for (const Qemu& qemu : qemus)
        if (!qemu.doors.empty() &&
            (best == nullptr || qemu.doors.front().transport < best->doors.front().transport))
            best = &qemu;
    return best;
}

/// Half of what is free, in whole GiB from 1 to 4.
uint64_t guest_memory(uint64_t available) {
    return std::clamp<uint64_t>(available / 2 / kGiB, 1, 4) * kGiB;
}

void print_command_lines(const Qemu& qemu, bool kvm, uint64_t available) {
    const Door& door = qemu.doors.front();
    const std::string runtime = environment("XDG_RUNTIME_DIR");
    std::error_code unknown;
    const fs::path self = fs::read_symlink("/proc/self/exe", unknown);
    const qemu_doors::Surroundings surroundings{
        find_in_path("swede") || unknown ? "swede" : self.string(),
        qemu.path,
        (fs::path(runtime.empty() ? "/tmp" : runtime) / "swede-gpu.sock").string(),
        guest_memory(available),
        kvm,
        !environment("DISPLAY").empty() || !environment("WAYLAND_DISPLAY").empty()};
    fmt::print(
        "\nThe best door here is {} ({}). Start the device, then QEMU with your guest's disk "
        "added:\n\n{} &\n\n{}\n",
        door.device, door.carries, qemu_doors::device_command(door, surroundings),
        qemu_doors::qemu_command(door, surroundings));
}

}  // namespace

int run_doctor() {
    const fs::path cache = base_directory("XDG_CACHE_HOME", ".cache") / "swede";
    const std::vector<Qemu> qemus = examine_qemus(cache);
    const Qemu* const qemu = best_of(qemus);
    const bool kvm = examine_kvm(qemu != nullptr ? qemu->path : "", cache);
    const uint64_t available = examine_memory();
    examine_udmabuf();
    examine_vulkan();
    examine_descriptor();
    if (qemu == nullptr) {
        fmt::print("\nNo door works here: a QEMU that has one is missing.\n");
        return 1;
    }
    print_command_lines(*qemu, kvm, available);
    return 0;
}

}  // namespace swede
