// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/sequence.h"

namespace swede::gfxstream {

bool Sequence::wait_for_turn(uint32_t number) {
    std::unique_lock lock(mutex_);
    if (abandoned_) return false;
    if (number - last_ == 1) return true;
    Waiter waiter{number, {}, waiters_};
    waiters_ = &waiter;
    waiter.turn.wait(lock, [&] { return abandoned_ || number - last_ == 1; });
    Waiter** link = &waiters_;
    while (*link != &waiter) link = &(*link)->next;
    *link = waiter.next;
    return !abandoned_;
}

void Sequence::pass_on(uint32_t number) {
    const std::scoped_lock lock(mutex_);
    last_ = number;
    // A hostile guest may use a number twice: the second one's turn came and went.
    for (Waiter* waiter = waiters_; waiter != nullptr; waiter = waiter->next)
        if (waiter->number - last_ == 1) waiter->turn.notify_one();
}

void Sequence::abandon() {
    const std::scoped_lock lock(mutex_);
    abandoned_ = true;
    for (Waiter* waiter = waiters_; waiter != nullptr; waiter = waiter->next)
        waiter->turn.notify_one();
}

}  // namespace swede::gfxstream
