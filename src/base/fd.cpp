// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>

namespace swede {

UniqueFd UniqueFd::duplicate() const {
    return fd_ < 0 ? UniqueFd() : UniqueFd(::fcntl(fd_, F_DUPFD_CLOEXEC, 0));
}

}  // namespace swede
