// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/interrupts.h"

#include <sys/epoll.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/checked.h"
#include "base/event_fd.h"
#include "base/unix_socket.h"

namespace swede::vfio_user {
namespace {

/// An eventfd has no file type. Anything that has one could block us, or, as a pipe or socket that
/// nobody reads, end us by SIGPIPE.
Result<void> check_event_fd(int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0 || (status.st_mode & S_IFMT) != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "A file descriptor for an interrupt is no eventfd.");
    return set_nonblocking(fd);
}

/// One that we shall read from must be an eventfd for sure, or it could be readable for ever. Only
/// an eventfd takes a count of zero, which changes nothing.
Result<void> check_readable_event_fd(int fd) {
    const uint64_t zero = 0;
    if (::write(fd, &zero, sizeof(zero)) != sizeof(zero))
        return fail(ErrorCode::kInvalidParameter, "A file descriptor for unmasking is no eventfd.");
    return {};
}

}  // namespace

uint32_t Interrupts::count(uint32_t index) {
    if (index == kIrqIntx) return 1;
    if (index == kIrqMsix) return kMsixVectors;
    return 0;
}

uint32_t Interrupts::info_flags(uint32_t index) {
    if (index == kIrqIntx) return kIrqInfoEventFd | kIrqInfoMaskable | kIrqInfoAutoMasked;
    if (index == kIrqMsix) return kIrqInfoEventFd | kIrqInfoMaskable;
    return 0;
}

Result<void> Interrupts::set(const IrqSet& request, std::span<const std::byte> data,
                             std::vector<UniqueFd>& fds) {
    const uint32_t data_kind = request.flags & kIrqSetDataMask;
    const uint32_t action_kind = request.flags & kIrqSetActions;
    if (request.flags != (data_kind | action_kind) || std::popcount(data_kind) != 1 ||
        std::popcount(action_kind) != 1)
        return fail(ErrorCode::kInvalidParameter,
                    "SET_IRQS has the flags {:#x}; one of data and one of action are needed.",
                    request.flags);
    if (request.index >= kIrqCount ||
        !range_fits(request.start, request.count, count(request.index)))
        return fail(ErrorCode::kInvalidParameter,
                    "SET_IRQS names the interrupts {} to {} + {} of index {}, which has {}.",
                    request.start, request.start, request.count, request.index,
                    request.index < kIrqCount ? count(request.index) : 0);
    const bool takes_fds = data_kind == kIrqSetDataEventFd;
    const size_t data_size = data_kind == kIrqSetDataBool ? request.count : 0;
    if (data.size() != data_size || (!takes_fds && !fds.empty()))
        return fail(ErrorCode::kInvalidParameter,
                    "SET_IRQS with the flags {:#x} for {} interrupts has {} bytes of data and {} "
                    "file descriptors.",
                    request.flags, request.count, data.size(), fds.size());

    const Action action = action_kind == kIrqSetActionMask     ? Action::kMask
                          : action_kind == kIrqSetActionUnmask ? Action::kUnmask
                                                               : Action::kTrigger;
    if (request.count == 0) {
        if (data_kind != kIrqSetDataNone || action != Action::kTrigger || request.start != 0)
            return fail(ErrorCode::kInvalidParameter, "SET_IRQS names no interrupt.");
        disable(request.index);
        return {};
    }
    if (takes_fds) return assign(request, action, fds);
    for (uint32_t i = 0; i < request.count; ++i)
        if (data_kind == kIrqSetDataNone || data[i] != std::byte{0})
            act(request.index, request.start + i, action);
    return {};
}

Result<void> Interrupts::assign(const IrqSet& request, Action action, std::vector<UniqueFd>& fds) {
    if (!fds.empty() && fds.size() != request.count)
        return fail(ErrorCode::kInvalidParameter,
                    "SET_IRQS for {} interrupts comes with {} file descriptors.", request.count,
                    fds.size());
    for (const UniqueFd& fd : fds) SWEDE_TRY(check_event_fd(fd.get()));
    const bool resample = request.index == kIrqIntx && action == Action::kUnmask;
    if (action != Action::kTrigger && !resample)
        return fail(ErrorCode::kUnsupported,
                    "SET_IRQS asks for an event when interrupts of index {} are masked.",
                    request.index);
    if (resample) {
        EventLoop::Watch watch;
        if (!fds.empty()) {
            SWEDE_TRY(check_readable_event_fd(fds[0].get()));
            watch = SWEDE_TRY(loop_.watch(fds[0].get(), EPOLLIN, [this](uint32_t) {
                drain_event(unmask_.get());
                act(kIrqIntx, 0, Action::kUnmask);
            }));
        }
        unmask_watch_ = std::move(watch);  // before its fd closes
        unmask_ = fds.empty() ? PeerFile() : PeerFile(std::move(fds[0]));
        return {};
    }
    for (uint32_t i = 0; i < request.count; ++i) {
        PeerFile fd = fds.empty() ? PeerFile() : PeerFile(std::move(fds[i]));
        if (request.index == kIrqIntx) {
            intx_ = std::move(fd);
            intx_masked_ = false;
            update_intx();
        } else {
            const auto vector = static_cast<uint16_t>(request.start + i);
            vectors_[vector] = std::move(fd);
            if ((pending_ & uint64_t{1} << vector) != 0) signal(vector);
        }
    }
    return {};
}

void Interrupts::act(uint32_t index, uint32_t subindex, Action action) {
    if (index == kIrqIntx) {
        if (action == Action::kTrigger) {
            if (intx_) signal_event(intx_.get());
            return;
        }
        intx_masked_ = action == Action::kMask;
        update_intx();
        return;
    }
    const uint64_t bit = uint64_t{1} << subindex;
    switch (action) {
        case Action::kMask:
            masked_ |= bit;
            break;
        case Action::kUnmask:
            masked_ &= ~bit;
            if ((pending_ & bit) != 0) signal(static_cast<uint16_t>(subindex));
            break;
        case Action::kTrigger:
            signal(static_cast<uint16_t>(subindex));
            break;
    }
}

void Interrupts::disable(uint32_t index) {
    if (index == kIrqIntx) {
        unmask_watch_.reset();
        unmask_.reset();
        intx_.reset();
        intx_masked_ = false;
    } else if (index == kIrqMsix) {
        for (PeerFile& vector : vectors_) vector.reset();
        masked_ = pending_ = 0;
    }
}

bool Interrupts::msix_configured() const {
    return std::ranges::any_of(vectors_, [](const PeerFile& fd) { return static_cast<bool>(fd); });
}

void Interrupts::signal(uint16_t vector) {
    if (vector >= kMsixVectors) return;
    const uint64_t bit = uint64_t{1} << vector;
    if ((masked_ & bit) != 0 || !vectors_[vector]) {
        pending_ |= bit;
        return;
    }
    pending_ &= ~bit;
    signal_event(vectors_[vector].get());
}

void Interrupts::set_intx(bool level) {
    intx_level_ = level;
    update_intx();
}

void Interrupts::update_intx() {
    if (!intx_level_ || intx_masked_ || !intx_) return;
    intx_masked_ = true;  // VFIO_IRQ_INFO_AUTOMASKED
    signal_event(intx_.get());
}

void Interrupts::reset() {
    masked_ = pending_ = 0;
    intx_level_ = intx_masked_ = false;
}

}  // namespace swede::vfio_user
