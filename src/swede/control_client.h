// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/fd.h"
#include "base/result.h"

/// The client half of `swede control`: blocking, one request a connection.
namespace swede::control_client {

struct Reply {
    nlohmann::json value;  ///< "return"
    UniqueFd file;         ///< the fd that came with it, if any
};

/// Sends a request to the device whose --control-path is `socket_path` and waits for its answer, at
/// most half a minute. A device's "error" is the Error's sentence.
[[nodiscard]] Result<Reply> ask(const std::string& socket_path, const nlohmann::json& request);

/// Asks for a screenshot and writes the PNG to `file`, which this process opens, not the device;
/// "-" is standard output.
[[nodiscard]] Result<void> save_screenshot(const std::string& socket_path, uint32_t output,
                                           const std::string& file);

}  // namespace swede::control_client
