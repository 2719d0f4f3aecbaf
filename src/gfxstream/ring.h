// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/budget.h"
#include "base/result.h"
#include "gfxstream/context_core.h"
#include "gfxstream/doorbell.h"
#include "gfxstream/host_memory.h"
#include "gfxstream/reply_writer.h"
#include "gfxstream/ring_reader.h"

namespace swede::gfxstream {

/// One stream of commands: the guest's thread at one end of a ring blob, ours at the other. Takes
/// packets, waits for their turn, executes them and puts the replies back.
///
/// Held by its Context and by its thread, which sleeps while the guest has nothing to say. The
/// thread ends when the ring's resource goes (stop()) or its context closes; in a context that is
/// lost it stays and answers.
class Ring {
  public:
    /// Writes what the guest reads at once when it sees its CONTEXT_CREATE done, and starts the
    /// thread, which touches nothing else before the first ping: until then the guest sets up its
    /// side.
    [[nodiscard]] static Result<std::shared_ptr<Ring>> start(
        const std::shared_ptr<ContextCore>& context, std::shared_ptr<HostMemory> memory);
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    /// From the thread of the control queue: neither waits.
    void ping() { doorbell_->ring(); }
    /// The guest has let go of the ring: its thread ends after the command in hand.
    void stop();

  private:
    Ring(std::shared_ptr<ContextCore> context, std::shared_ptr<HostMemory> memory,
         Budget::Charge charge);

    void run();
    /// Until stopped or over (success), or the guest breaks the protocol.
    [[nodiscard]] Result<void> serve();
    /// Takes and executes what is there.
    [[nodiscard]] Result<void> drain();
    [[nodiscard]] Result<void> execute(const Packet& packet);
    [[nodiscard]] Result<void> send(std::span<const std::byte> reply);
    /// Looks for input for a little while. True: there is some.
    [[nodiscard]] bool spin() const;
    /// The context is lost: until stopped, whatever the guest reads says so.
    void answer_lost();
    [[nodiscard]] bool must_end() const { return stopped_ || context_->is_closing(); }

    const std::shared_ptr<ContextCore> context_;
    const std::shared_ptr<HostMemory> memory_;
    const std::shared_ptr<Doorbell> doorbell_ = std::make_shared<Doorbell>();
    Budget::Charge charge_;
    std::atomic<bool> stopped_ = false;
    // The thread's.
    RingReader reader_;
    ReplyWriter replies_;
    std::unique_ptr<CommandStream> stream_;
};

}  // namespace swede::gfxstream
