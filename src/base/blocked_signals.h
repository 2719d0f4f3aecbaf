// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

namespace swede {

/// Threads that are started while it lives take none of the program's signals: in a VMM some thread
/// waits for them. Faults stay, which a blocked thread would die of past every handler.
class BlockedSignals {
  public:
    BlockedSignals() {
        sigset_t blocked;
        ::sigfillset(&blocked);
        for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS})
            ::sigdelset(&blocked, fault);
        ::pthread_sigmask(SIG_BLOCK, &blocked, &before_);
    }
    ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;

  private:
    sigset_t before_{};
};

}  // namespace swede
