// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/file_closer.h"
#include "base/result.h"
#include "transports/vfio_user/pci_config.h"
#include "transports/vfio_user/protocol.h"

namespace swede::vfio_user {

/// How the function's interrupts reach the client: eventfds given by DEVICE_SET_IRQS. Owned by the
/// session, on the device thread; the client's fds close with it. MSI-X vectors are edges that wait
/// in the pending bits while masked; INTx is a level that masks itself when it fires.
class Interrupts {
  public:
    explicit Interrupts(EventLoop& loop) : loop_(loop) {}

    [[nodiscard]] static uint32_t count(uint32_t index);
    [[nodiscard]] static uint32_t info_flags(uint32_t index);

    /// Carries out a DEVICE_SET_IRQS whose `data` is what follows the structure; takes what it
    /// needs of `fds`. On an Error nothing has changed.
    [[nodiscard]] Result<void> set(const IrqSet& request, std::span<const std::byte> data,
                                   std::vector<UniqueFd>& fds);

    /// True once the client has given an eventfd for any vector: VFIO enables MSI-X by that.
    [[nodiscard]] bool msix_configured() const;
    /// An edge on an MSI-X vector; a number out of range is none.
    void signal(uint16_t vector);
    void set_intx(bool level);

    /// The pending bit array, for reads of BAR 0.
    [[nodiscard]] uint64_t pending() const { return pending_; }

    /// Device reset: nothing is pending or masked any more. The eventfds stay, as with VFIO's
    /// ioctl.
    void reset();

  private:
    enum class Action : uint8_t { kMask, kUnmask, kTrigger };
    void act(uint32_t index, uint32_t subindex, Action action);
    [[nodiscard]] Result<void> assign(const IrqSet& request, Action action,
                                      std::vector<UniqueFd>& fds);
    void disable(uint32_t index);
    void update_intx();

    EventLoop& loop_;
    std::array<PeerFile, kMsixVectors> vectors_;
    uint64_t masked_ = 0;   ///< bit n: vector n
    uint64_t pending_ = 0;  ///< bit n: vector n fired while masked

    PeerFile intx_;
    PeerFile unmask_;  ///< KVM's resample event: the guest has ended the interrupt
    EventLoop::Watch unmask_watch_;
    bool intx_level_ = false;
    bool intx_masked_ = false;
};

}  // namespace swede::vfio_user
