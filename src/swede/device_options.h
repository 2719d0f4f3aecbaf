// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "base/result.h"
#include "virtio_gpu/options.h"

namespace swede {

/// How a VMM reaches the device: the words of --transport.
enum class Transport : uint8_t { kVfioUser, kVhostUser, kVhostUserGpu, kLocal };

[[nodiscard]] std::string_view name_of(Transport transport);

/// One `--max-...` option: which limit it sets, and whether its value is a size or a count.
struct LimitOption {
    const char* option;
    BudgetKind kind;
    bool is_size;
    const char* help;
};
inline constexpr auto kLimitOptions = std::to_array<LimitOption>({
    {"--max-host-memory", BudgetKind::kHostBytes, true,
     "host memory that a guest may make us hold"},
    {"--max-resources", BudgetKind::kResources, false, "resources"},
    {"--max-contexts", BudgetKind::kContexts, false, "renderer contexts"},
    {"--max-backing-segments", BudgetKind::kBackingSegments, false,
     "pieces of guest memory behind all resources together"},
    {"--max-mappings", BudgetKind::kMappings, false, "blobs mapped in the window at once"},
    {"--max-pending-fences", BudgetKind::kPendingFences, false,
     "fences accepted and not completed"},
    {"--max-pending-commands", BudgetKind::kPendingCommands, false,
     "commands taken and not answered"},
    {"--max-attachments", BudgetKind::kAttachments, false, "pairs of a context and its resource"},
    {"--max-rings", BudgetKind::kRings, false, "guest threads that use Vulkan at once"},
    {"--max-files", BudgetKind::kFiles, false,
     "files of the host that a guest holds: sockets, pipes, memory"},
});
static_assert(kLimitOptions.size() == Budget::kKinds, "each budget has its option");

/// --cross-domain and --wayland-socket-path as they were written.
struct CrossDomainArguments {
    bool wanted = false;
    std::optional<std::string> wayland_socket_path;
};

/// What they say.
struct CrossDomainChoice {
    bool wanted = false;              ///< programs reach the host's compositor
    std::string wayland_socket_path;  ///< its socket; empty: where libwayland finds it
};

/// The options of `swede device` as they were written; empty ones were not given.
struct DeviceArguments {
    std::optional<std::string> socket_path;
    std::optional<std::string> fd;
    std::optional<std::string> transport;
    std::optional<std::string> hostmem;
    std::optional<std::string> display;
    std::optional<std::string> outputs;
    std::optional<std::string> control_path;
    std::optional<std::string> max_clients;
    std::optional<std::string> gpu;
    CrossDomainArguments cross_domain;
    std::array<std::optional<std::string>, kLimitOptions.size()> limits;
};

/// What --gpu says.
struct GpuChoice {
    bool none = false;      ///< guests get no Vulkan
    bool is_given = false;  ///< so that a GPU which is not there is an error
    std::string name;       ///< see vulkan::Host::open(); empty: the best one
};

/// The same, checked.
struct DeviceOptions {
    std::string socket_path;  ///< empty when the socket comes as an fd
    std::optional<int> fd;    ///< empty with socket_path, or when the service manager has it
    Transport transport = Transport::kVfioUser;
    uint64_t hostmem = 0;           ///< bytes of the host-visible window; 0: none
    std::string picture_directory;  ///< empty: screenshots on demand only
    std::vector<virtio_gpu::OutputSize> outputs;
    std::string control_path;  ///< empty: none
    uint32_t max_clients = 1;  ///< connections served at once; above 1 for kLocal only
    GpuChoice gpu;
    CrossDomainChoice cross_domain;
    Budget::Limits limits{};
};

inline constexpr std::string_view kDefaultHostmem = "8G";
inline constexpr std::string_view kDefaultMaxClients = "64";
inline constexpr uint32_t kMostClients = 4096;  ///< that --max-clients takes
inline constexpr std::string_view kDefaultOutputs = "1280x800";
inline constexpr uint32_t kMaxOutputEdge = 16384;  ///< px, each way

/// "WIDTHxHEIGHT", each 1 to kMaxOutputEdge.
[[nodiscard]] std::optional<virtio_gpu::OutputSize> parse_output(std::string_view text);

/// The limits of one guest from `--max-...`; their defaults where none is given.
[[nodiscard]] Result<Budget::Limits> check_limits(
    const std::array<std::optional<std::string>, kLimitOptions.size()>& limits);
/// The value of --gpu, if it is given.
[[nodiscard]] Result<GpuChoice> check_gpu(const std::optional<std::string>& value);
/// Either option asks for it.
[[nodiscard]] Result<CrossDomainChoice> check_cross_domain(const CrossDomainArguments& arguments);
/// The value of --max-clients.
[[nodiscard]] Result<uint32_t> check_max_clients(const std::string& value);
/// A path that a socket can have; `option` is for the sentence.
[[nodiscard]] Result<std::string> check_socket_path(std::string_view option,
                                                    const std::string& path);

/// An Error's sentence names the option, its value and what is accepted. `has_passed_socket`: the
/// service manager passed a socket, so neither --socket-path nor --fd is needed.
[[nodiscard]] Result<DeviceOptions> check_device_options(const DeviceArguments& arguments,
                                                         bool has_passed_socket);

}  // namespace swede
