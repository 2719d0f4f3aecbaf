// SPDX-License-Identifier: Apache-2.0
#include "swede/device_options.h"

#include <sys/un.h>

#include <bit>
#include <limits>

#include "swede/size.h"

namespace swede {
namespace {

using virtio_gpu::OutputSize;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kMinHostmem = kMiB;
constexpr uint64_t kMaxHostmem = uint64_t{1}
                                 << 40;  // guests with 40 address bits have no more room
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

struct NamedTransport {
    std::string_view name;
    Transport transport;
};
constexpr std::array<NamedTransport, 4> kTransports{{
    {"vfio-user", Transport::kVfioUser},
    {"vhost-user", Transport::kVhostUser},
    {"vhost-user-gpu", Transport::kVhostUserGpu},
    {"local", Transport::kLocal},
}};

std::unexpected<Error> refuse(std::string_view option, std::string_view value,
                              std::string_view accepted) {
    return fail(ErrorCode::kInvalidParameter, "{} \"{}\" is not possible: {}.", option, value,
                accepted);
}

Result<int> check_fd(const std::string& value) {
    const auto number = parse_number(value);
    if (!number || *number > static_cast<uint64_t>(std::numeric_limits<int>::max()))
        return refuse("--fd", value, "accepted is the number of an open socket, such as 3");
    return static_cast<int>(*number);
}

Result<Transport> check_transport(const std::string& value) {
    for (const NamedTransport& known : kTransports)
        if (known.name == value) return known.transport;
    return refuse("--transport", value,
                  "accepted are vfio-user, vhost-user, vhost-user-gpu and local");
}

Result<uint64_t> check_hostmem(const std::string& value, Transport transport) {
    const auto size = parse_size(value);
    if (!size)
        return refuse("--hostmem", value, "accepted is a size such as 512M or 8G, or 0 for none");
    if (*size != 0 && (*size < kMinHostmem || *size > kMaxHostmem || *size % kMiB != 0))
        return refuse("--hostmem", value,
                      "accepted are 1M to 1T in whole megabytes, or 0 for no window");
    if (transport == Transport::kVfioUser && *size != 0 && !std::has_single_bit(*size))
        return refuse(
            "--hostmem", value,
            fmt::format("vfio-user makes it a PCI BAR, so a power of two is accepted, "
                        "such as {} or {}",
                        size_text(std::bit_floor(*size)), size_text(std::bit_ceil(*size))));
    return *size;
}

Result<std::string> check_display(const std::string& value) {
    constexpr std::string_view kPng = "png:";
    if (value == "none") return std::string();
    if (value.starts_with(kPng) && value.size() > kPng.size()) return value.substr(kPng.size());
    return refuse("--display", value, "accepted are none, and png: with a directory");
}

Result<std::vector<OutputSize>> check_outputs(const std::string& value) {
    std::vector<OutputSize> outputs;
    std::string_view rest = value;
    for (bool more = true; more;) {
        const size_t comma = rest.find(',');
        const std::string_view word = rest.substr(0, comma);
        more = comma != std::string_view::npos;
        if (more) rest.remove_prefix(comma + 1);
        if (word == "off") {
            outputs.push_back(OutputSize{.connected = false});
        } else if (const auto output = parse_output(word)) {
            outputs.push_back(*output);
        } else {
            return refuse("--outputs", value,
                          fmt::format("\"{}\" is neither WIDTHxHEIGHT, each 1 to {}, nor off", word,
                                      kMaxOutputEdge));
        }
    }
    if (outputs.size() > wire::kMaxScanouts)
        return refuse("--outputs", value,
                      fmt::format("1 to {} outputs are accepted, these are {}", wire::kMaxScanouts,
                                  outputs.size()));
    return outputs;
}

Result<uint64_t> check_limit(const LimitOption& option, const std::string& value) {
    const auto limit = option.is_size ? parse_size(value) : parse_number(value);
    if (!limit || *limit == 0)
        return refuse(option.option, value,
                      option.is_size ? "accepted is a size above 0, such as 512M or 2G"
                                     : "accepted is a whole number above 0");
    return *limit;
}

}  // namespace

Result<std::string> check_socket_path(std::string_view option, const std::string& path) {
    if (path.empty() || path.size() > kMaxSocketPath)
        return refuse(option, path,
                      fmt::format("the path of a socket has 1 to {} bytes, this one has {}",
                                  kMaxSocketPath, path.size()));
    return path;
}

std::string_view name_of(Transport transport) {
    return kTransports[static_cast<size_t>(transport)].name;
}

std::optional<OutputSize> parse_output(std::string_view text) {
    const size_t cross = text.find('x');
    if (cross == std::string_view::npos) return std::nullopt;
    const auto width = parse_number(text.substr(0, cross));
    const auto height = parse_number(text.substr(cross + 1));
    const auto is_edge = [](uint64_t edge) { return edge >= 1 && edge <= kMaxOutputEdge; };
    if (!width || !height || !is_edge(*width) || !is_edge(*height)) return std::nullopt;
    return OutputSize{static_cast<uint32_t>(*width), static_cast<uint32_t>(*height), true};
}

Result<GpuChoice> check_gpu(const std::optional<std::string>& value) {
    GpuChoice choice;
    if (!value) return choice;
    if (value->empty() || *value == "pci:")
        return refuse(
            "--gpu", *value,
            "accepted are a part of a name, an index or a UUID as \"swede devices\" lists "
            "them, pci: with an address, and none");
    choice.is_given = true;
    choice.none = *value == "none";
    if (!choice.none) choice.name = *value;
    return choice;
}

Result<CrossDomainChoice> check_cross_domain(const CrossDomainArguments& arguments) {
    CrossDomainChoice choice;
    choice.wanted = arguments.wanted || arguments.wayland_socket_path;
    if (arguments.wayland_socket_path)
        choice.wayland_socket_path =
            SWEDE_TRY(check_socket_path("--wayland-socket-path", *arguments.wayland_socket_path));
    return choice;
}

/// Programs get neither a window nor outputs: an option for them would do nothing.
Result<void> check_local_has_none_of(const DeviceArguments& arguments) {
    const std::array<std::pair<std::string_view, const std::optional<std::string>*>, 3> options{{
        {"--hostmem", &arguments.hostmem},
        {"--display", &arguments.display},
        {"--outputs", &arguments.outputs},
    }};
    for (const auto& [option, value] : options)
        if (*value) return refuse(option, **value, "local has neither a window nor outputs");
    return {};
}

Result<uint32_t> check_max_clients(const std::string& value) {
    const auto count = parse_number(value);
    if (!count || *count == 0 || *count > kMostClients)
        return refuse("--max-clients", value, fmt::format("accepted are 1 to {}", kMostClients));
    return static_cast<uint32_t>(*count);
}

Result<Budget::Limits> check_limits(
    const std::array<std::optional<std::string>, kLimitOptions.size()>& given) {
    Budget::Limits limits = Budget::default_limits();
    for (size_t i = 0; i < kLimitOptions.size(); ++i)
        if (given[i])
            limits[static_cast<size_t>(kLimitOptions[i].kind)] =
                SWEDE_TRY(check_limit(kLimitOptions[i], *given[i]));
    return limits;
}

Result<DeviceOptions> check_device_options(const DeviceArguments& arguments,
                                           bool has_passed_socket) {
    DeviceOptions options;
    options.transport = SWEDE_TRY(check_transport(arguments.transport.value_or("vfio-user")));
    if (options.transport == Transport::kLocal) SWEDE_TRY(check_local_has_none_of(arguments));
    if (arguments.socket_path && arguments.fd)
        return fail(ErrorCode::kInvalidParameter,
                    "--socket-path \"{}\" and --fd {} exclude one another: give one.",
                    *arguments.socket_path, *arguments.fd);
    if (arguments.socket_path)
        options.socket_path = SWEDE_TRY(check_socket_path("--socket-path", *arguments.socket_path));
    else if (arguments.fd)
        options.fd = SWEDE_TRY(check_fd(*arguments.fd));
    else if (!has_passed_socket)
        return fail(ErrorCode::kInvalidParameter,
                    "Neither --socket-path nor --fd is given: the device needs a socket.");
    options.hostmem = SWEDE_TRY(
        check_hostmem(arguments.hostmem.value_or(std::string(kDefaultHostmem)), options.transport));
    options.picture_directory = SWEDE_TRY(check_display(arguments.display.value_or("none")));
    options.outputs =
        SWEDE_TRY(check_outputs(arguments.outputs.value_or(std::string(kDefaultOutputs))));
    if (arguments.control_path)
        options.control_path =
            SWEDE_TRY(check_socket_path("--control-path", *arguments.control_path));
    if (arguments.max_clients && options.transport != Transport::kLocal)
        return refuse("--max-clients", *arguments.max_clients,
                      fmt::format("{} serves one VMM at a time", name_of(options.transport)));
    if (options.transport == Transport::kLocal)
        options.max_clients = SWEDE_TRY(
            check_max_clients(arguments.max_clients.value_or(std::string(kDefaultMaxClients))));
    options.gpu = SWEDE_TRY(check_gpu(arguments.gpu));
    if (options.transport == Transport::kVhostUserGpu) {
        if (options.gpu.is_given && !options.gpu.none)
            return refuse("--gpu", *arguments.gpu,
                          "QEMU's vhost-user-gpu passes no Vulkan; accepted is none");
        options.gpu.none = true;
    }
    options.cross_domain = SWEDE_TRY(check_cross_domain(arguments.cross_domain));
    if (options.cross_domain.wanted && options.transport == Transport::kVhostUserGpu)
        return fail(ErrorCode::kInvalidParameter,
                    "--cross-domain is not possible with {}, to which QEMU passes no blobs; "
                    "accepted are vfio-user, vhost-user and local.",
                    name_of(options.transport));
    options.limits = SWEDE_TRY(check_limits(arguments.limits));
    return options;
}

}  // namespace swede
