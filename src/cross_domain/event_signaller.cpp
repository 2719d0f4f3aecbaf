// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/event_signaller.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "base/mapping.h"

namespace swede::cross_domain {

EventSignaller::~EventSignaller() {
    if (context_ != 0) ::syscall(SYS_io_destroy, context_);
}

Result<void> EventSignaller::start() {
    if (context_ != 0) return {};
    if (::syscall(SYS_io_setup, kMostAdded, &context_) != 0) {
        context_ = 0;
        return fail_errno("Cannot set up asynchronous I/O for the events of host sockets", errno);
    }
    return {};
}

Result<void> EventSignaller::add(int event, uint64_t value) {
    SWEDE_TRY(start());
    // Made each time, since events are few: nothing of a guest's may stay.
    const UniqueFd nothing = SWEDE_TRY(create_memfd("swede-nothing", 1));
    iocb read{};
    read.aio_lio_opcode = IOCB_CMD_PREAD;
    read.aio_fildes = static_cast<uint32_t>(nothing.get());
    read.aio_flags = IOCB_FLAG_RESFD;
    read.aio_resfd = static_cast<uint32_t>(event);
    std::array<iocb*, kMostAdded> reads;
    reads.fill(&read);
    const auto wanted = static_cast<long>(std::min(value, kMostAdded));
    for (long done = 0; done < wanted;) {
        // A read of 0 bytes of memory is done before the call returns.
        const long submitted = ::syscall(SYS_io_submit, context_, wanted - done, reads.data());
        if (submitted < 0 && errno == EINTR) continue;
        if (submitted <= 0) return fail_errno("Cannot signal an event of the host", errno);
        done += submitted;
        std::array<io_event, kMostAdded> events;
        timespec none{};
        ::syscall(SYS_io_getevents, context_, 0L, static_cast<long>(events.size()), events.data(),
                  &none);
    }
    return {};
}

}  // namespace swede::cross_domain
