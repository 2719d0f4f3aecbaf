// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/capabilities.h"

#include <nlohmann/json.hpp>

#include "base/checked.h"
#include "transports/vfio_user/protocol.h"
#include "virtio/guest_memory.h"

namespace swede::vfio_user {
namespace {

constexpr size_t kMaxText = 4096;  ///< bytes; QEMU sends about 200
constexpr int kMaxDepth = 8;       ///< QEMU's text is 3 deep

using Json = nlohmann::json;

/// Counts brackets inside strings too: that only refuses more.
bool is_too_deep(std::string_view text) {
    int depth = 0;
    for (const char c : text) {
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        if (depth > kMaxDepth) return true;
    }
    return false;
}

Result<uint64_t> number(const Json& object, const char* name, uint64_t fallback) {
    const auto found = object.find(name);
    if (found == object.end()) return fallback;
    if (!found->is_number_unsigned())
        return fail(ErrorCode::kInvalidParameter, "The client's {} is not a number.", name);
    return found->get<uint64_t>();
}

}  // namespace

Result<ClientCapabilities> parse_capabilities(std::span<const std::byte> text) {
    ClientCapabilities result;
    if (text.empty()) return result;
    if (text.size() > kMaxText)
        return fail(ErrorCode::kInvalidParameter,
                    "The client's capabilities are {} bytes long; {} are taken.", text.size(),
                    kMaxText);
    if (text.back() != std::byte{0})
        return fail(ErrorCode::kInvalidParameter,
                    "The client's capabilities lack their zero byte.");
    const std::string_view characters(reinterpret_cast<const char*>(text.data()), text.size() - 1);
    if (characters.empty()) return result;
    if (characters.contains('\0'))  // where the parser would take the text to end
        return fail(ErrorCode::kInvalidParameter, "The client's capabilities hold a zero byte.");
    if (is_too_deep(characters))
        return fail(ErrorCode::kInvalidParameter,
                    "The client's capabilities are nested more than {} deep.", kMaxDepth);
    const Json json = Json::parse(characters, nullptr, false);
    if (!json.is_object())
        return fail(ErrorCode::kInvalidParameter, "The client's capabilities are no JSON object.");
    const auto capabilities = json.find("capabilities");
    if (capabilities == json.end()) return result;
    if (!capabilities->is_object())
        return fail(ErrorCode::kInvalidParameter, "The client's \"capabilities\" are no object.");

    result.max_msg_fds = SWEDE_TRY(number(*capabilities, "max_msg_fds", result.max_msg_fds));
    // What the client can send in one transfer or map does not bind us: only its type is checked.
    for (const char* const name : {"max_data_xfer_size", "max_dma_maps"})
        SWEDE_TRY(number(*capabilities, name, 0));
    const uint64_t page_sizes = SWEDE_TRY(number(*capabilities, "pgsizes", kPageSize));
    if ((page_sizes & kPageSize) == 0)
        return fail(ErrorCode::kInvalidParameter,
                    "The client maps memory in pages of {:#x} bytes, not of {:#x}.", page_sizes,
                    kPageSize);
    if (const auto found = capabilities->find("write_multiple"); found != capabilities->end()) {
        if (!found->is_boolean())
            return fail(ErrorCode::kInvalidParameter,
                        "The client's write_multiple is not a boolean.");
        result.write_multiple = found->get<bool>();
    }
    return result;
}

std::string capabilities_text(const ClientCapabilities& client) {
    Json ours = {{"max_msg_fds", kMaxMessageFds},
                 {"max_data_xfer_size", kMaxTransferSize},
                 {"max_dma_maps", virtio::GuestMemory::kMaxRegions},
                 {"pgsizes", kPageSize}};
    // The reply lists only what the client proposed.
    if (client.write_multiple) ours["write_multiple"] = true;
    return Json{{"capabilities", std::move(ours)}}.dump();
}

}  // namespace swede::vfio_user
