// SPDX-License-Identifier: Apache-2.0
#include "device_tree.h"

#include <cstring>
#include <functional>

namespace swede::shim {
namespace {

constexpr std::string_view kDri = "/dev/dri";
constexpr std::string_view kSysChar = "/sys/dev/char/226:";
constexpr std::string_view kSysClass = "/sys/class/drm";
constexpr std::string_view kSlot = "5357:00:00.0";
constexpr std::string_view kSysPci = "/sys/bus/pci/devices/5357:00:00.0";
constexpr std::string_view kFunction = "/sys/devices/pci5357:00/5357:00:00.0";

/// virtio-gpu-pci of QEMU: virtio 1.3, 4.1.2 (0x1040 plus device type 16), display controller.
constexpr uint16_t kVendor = 0x1af4;
constexpr uint16_t kDevice = 0x1050;
constexpr uint16_t kSubsystemDevice = 0x1100;

struct NodeName {
    const char* name;
    unsigned minor;
};
constexpr NodeName kNodes[] = {{"card0", kPrimaryMinor}, {"renderD128", kRenderMinor}};

/// True, and `rest` is what follows ("" or "/..."), when `path` is `folder` or lies in it.
bool in(std::string_view path, std::string_view folder, std::string_view& rest) {
    if (!path.starts_with(folder)) return false;
    rest = path.substr(folder.size());
    return rest.empty() || rest.front() == '/';
}

/// Without double and trailing slashes and "." parts, with ".." taken by words, as no link of ours
/// leads up.
std::string plain(std::string_view path) {
    std::string result;
    while (!path.empty()) {
        const size_t start = path.find_first_not_of('/');
        if (start == std::string_view::npos) break;
        path.remove_prefix(start);
        const std::string_view part = path.substr(0, path.find('/'));
        path.remove_prefix(part.size());
        if (part == ".") continue;
        if (part == "..") {
            const size_t slash = result.rfind('/');
            result.resize(slash == std::string::npos ? 0 : slash);
            continue;
        }
        result += '/';
        result += part;
    }
    return result.empty() ? "/" : result;
}

Entry absent(std::string path) {
    return {Entry::Kind::kAbsent, std::move(path), {}, {}, 0};
}
Entry directory(std::string path, std::vector<std::string> names) {
    return {Entry::Kind::kDirectory, std::move(path), {}, std::move(names), 0};
}
Entry file(std::string path, std::string content) {
    return {Entry::Kind::kFile, std::move(path), std::move(content), {}, 0};
}
Entry link(std::string path, std::string target) {
    return {Entry::Kind::kLink, std::move(path), std::move(target), {}, 0};
}

/// The first 64 bytes of PCI configuration space.
std::string config_space() {
    std::string bytes(64, '\0');
    const auto put16 = [&](size_t offset, uint16_t value) {
        bytes[offset] = static_cast<char>(value & 0xff);
        bytes[offset + 1] = static_cast<char>(value >> 8);
    };
    put16(0x00, kVendor);
    put16(0x02, kDevice);
    bytes[0x08] = 1;     // revision
    bytes[0x0b] = 0x03;  // display controller
    bytes[0x0a] = static_cast<char>(0x80);
    put16(0x2c, kVendor);
    put16(0x2e, kSubsystemDevice);
    return bytes;
}

std::vector<std::string> node_names() {
    std::vector<std::string> names;
    for (const NodeName& node : kNodes) names.emplace_back(node.name);
    return names;
}

/// In the folder of one node below the function's: /sys/.../drm/renderD128.
Entry node_folder(const NodeName& node, const std::string& path, std::string_view rest) {
    if (rest.empty()) return directory(path, {"dev", "device", "subsystem", "uevent"});
    const std::string minor = std::to_string(node.minor);
    if (rest == "/dev") return file(path, "226:" + minor + "\n");
    if (rest == "/uevent")
        return file(path, "MAJOR=226\nMINOR=" + minor + "\nDEVNAME=dri/" + node.name +
                              "\nDEVTYPE=drm_minor\n");
    if (rest == "/subsystem") return link(path, std::string(kSysClass));
    if (rest == "/device") return link(path, std::string(kFunction));
    return absent(path);
}

/// In the folder of the PCI function.
Entry in_function(const std::string& path, std::string_view rest) {
    if (rest.empty())
        return directory(path,
                         {"class", "config", "device", "driver", "drm", "revision", "subsystem",
                          "subsystem_device", "subsystem_vendor", "uevent", "vendor"});
    if (rest == "/vendor" || rest == "/subsystem_vendor") return file(path, "0x1af4\n");
    if (rest == "/device") return file(path, "0x1050\n");
    if (rest == "/subsystem_device") return file(path, "0x1100\n");
    if (rest == "/revision") return file(path, "0x01\n");
    if (rest == "/class") return file(path, "0x038000\n");
    if (rest == "/config") return file(path, config_space());
    if (rest == "/uevent")
        return file(path,
                    "DRIVER=virtio-pci\nPCI_CLASS=38000\nPCI_ID=1AF4:1050\n"
                    "PCI_SUBSYS_ID=1AF4:1100\nPCI_SLOT_NAME=" +
                        std::string(kSlot) +
                        "\nMODALIAS=pci:v00001AF4d00001050sv00001AF4sd00001100bc03sc80i00\n");
    if (rest == "/subsystem") return link(path, "/sys/bus/pci");
    if (rest == "/driver") return link(path, "/sys/bus/pci/drivers/virtio-pci");
    std::string_view below;
    if (!in(rest, "/drm", below)) return absent(path);
    if (below.empty()) return directory(path, node_names());
    for (const NodeName& node : kNodes) {
        std::string_view in_node;
        if (in(below.substr(1), node.name, in_node)) return node_folder(node, path, in_node);
    }
    return absent(path);
}

/// `path` with the first link in it taken: the aliases of a node's folder, and its way back to the
/// function. Empty: there is none.
std::optional<std::string> alias(std::string_view path, bool follow_last) {
    std::string_view rest;
    const std::string drm = std::string(kFunction) + "/drm/";
    for (const NodeName& node : kNodes) {
        if (in(path, std::string(kSysChar) + std::to_string(node.minor), rest) ||
            in(path, std::string(kSysClass) + "/" + node.name, rest))
            if (!rest.empty() || follow_last) return drm + node.name + std::string(rest);
        if (in(path, drm + node.name + "/device", rest) && (!rest.empty() || follow_last))
            return std::string(kFunction) + std::string(rest);
    }
    if (in(path, kSysPci, rest) && (!rest.empty() || follow_last))
        return std::string(kFunction) + std::string(rest);
    return std::nullopt;
}

std::optional<Entry> at(const std::string& path) {
    std::string_view rest;
    if (in(path, kDri, rest)) {
        if (rest.empty()) return directory(path, node_names());
        for (const NodeName& node : kNodes)
            if (rest.substr(1) == node.name)
                return Entry{Entry::Kind::kNode, path, {}, {}, node.minor};
        return absent(path);
    }
    if (in(path, kFunction, rest)) return in_function(path, rest);
    if (in(path, kSysClass, rest))
        return rest.empty() ? directory(path, node_names()) : link(path, *alias(path, true));
    if (path.starts_with(kSysChar) || in(path, kSysPci, rest)) {
        const auto target = alias(path, true);
        return target ? link(path, *target) : absent(path);
    }
    return std::nullopt;
}

}  // namespace

uint64_t inode_of(const std::string& path) {
    return std::hash<std::string>()(path) | 1;
}

bool may_be_ours(const char* path) {
    return path != nullptr && path[0] == '/' &&
           (std::strncmp(path, "/dev", 4) == 0 || std::strncmp(path, "/sys", 4) == 0 ||
            path[1] == '/' || path[1] == '.');
}

std::optional<Entry> look_up(std::string_view raw, bool follow) {
    std::string path = plain(raw);
    const bool folder = !raw.empty() && raw.back() == '/';
    while (const auto target = alias(path, follow || folder)) path = *target;
    std::string_view rest;
    if (in(path, kSysClass, rest) && !rest.empty()) {
        bool known = false;
        for (const NodeName& node : kNodes) known = known || rest.substr(1) == node.name;
        if (!known) return absent(path);
    }
    auto entry = at(path);
    if (!entry || !follow || entry->kind != Entry::Kind::kLink) return entry;
    // A link out of our tree: what is there is the real file system's.
    auto target = at(entry->content);
    if (target) return target;
    return entry;
}

}  // namespace swede::shim
