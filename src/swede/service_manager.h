// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/fd.h"
#include "base/result.h"

/// What systemd and its like agree on with the services they start: a socket to listen on
/// (sd_listen_fds(3)) and word of being ready (sd_notify(3)). Main thread, at start.
namespace swede::service_manager {

/// The socket that was passed (LISTEN_PID, LISTEN_FDS); empty when none was. More than one is an
/// error. Its variables are taken out of the environment, so that no child believes them.
[[nodiscard]] Result<UniqueFd> take_passed_socket();

/// Sends "READY=1" to NOTIFY_SOCKET, if there is one. A failure is logged: the device works
/// without.
void notify_ready();

}  // namespace swede::service_manager
