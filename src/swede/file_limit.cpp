// SPDX-License-Identifier: Apache-2.0
#include "swede/file_limit.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/log.h"

namespace swede {
namespace {

log::Module log_("device");

/// The usual soft limit of 1024 is kept low for select() only, which nothing here uses. As many
/// make the default --max-files possible for each of --max-clients; it is the usual hard limit.
constexpr rlim_t kWantedFiles = 524288;

}  // namespace

void raise_file_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const rlim_t wanted = std::min(limit.rlim_max, kWantedFiles);
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = wanted;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_.debug("The limit of open files stays at {}.", limit.rlim_cur);
}

}  // namespace swede
