// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/command_scheduler.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <vector>

namespace swede::virtio_gpu {
namespace {

Scheduled on(KeyKind kind, uint32_t id) {
    Scheduled command;
    command.set_key(kind, id);
    return command;
}
Scheduled on_both(uint32_t resource, uint32_t context) {
    Scheduled command = on(KeyKind::kResource, resource);
    command.set_key(KeyKind::kContext, context);
    return command;
}

TEST(CommandScheduler, LetsEverythingRunWhileNothingIsOut) {
    CommandScheduler scheduler;
    EXPECT_TRUE(scheduler.is_free(on_both(1, 1)));
    EXPECT_TRUE(scheduler.is_free(Scheduled{}));
    EXPECT_EQ(scheduler.take_ready(), nullptr);
}

TEST(CommandScheduler, MakesCommandsOnTheSameResourceWait) {
    CommandScheduler scheduler;
    Scheduled first = on(KeyKind::kResource, 7);
    Scheduled second = on(KeyKind::kResource, 7);
    scheduler.hold(first);
    EXPECT_FALSE(scheduler.is_free(second));
    scheduler.hold(second);
    EXPECT_EQ(scheduler.take_ready(), nullptr);
    scheduler.release(first);
    EXPECT_EQ(scheduler.take_ready(), &second);
    EXPECT_EQ(scheduler.take_ready(), nullptr);
    scheduler.release(second);
    EXPECT_EQ(scheduler.busy_keys(), 0u);
}

TEST(CommandScheduler, LetsOtherResourcesAndKeylessCommandsPass) {
    CommandScheduler scheduler;
    Scheduled first = on(KeyKind::kResource, 7);
    scheduler.hold(first);
    EXPECT_TRUE(scheduler.is_free(on(KeyKind::kResource, 8)));
    EXPECT_TRUE(scheduler.is_free(on(KeyKind::kContext, 7)));
    EXPECT_TRUE(scheduler.is_free(on(KeyKind::kScanout, 7)));
    EXPECT_TRUE(scheduler.is_free(on(KeyKind::kCursor, 7)));
    EXPECT_TRUE(scheduler.is_free(Scheduled{}));
    scheduler.release(first);
}

TEST(CommandScheduler, TakesTheSmallestAndLargestIdAsKeys) {
    for (const uint32_t id : {0u, 1u, ~0u}) {
        CommandScheduler scheduler;
        Scheduled first = on(KeyKind::kScanout, id);
        scheduler.hold(first);
        EXPECT_FALSE(scheduler.is_free(on(KeyKind::kScanout, id)));
        EXPECT_TRUE(scheduler.is_free(on(KeyKind::kScanout, id + 1)));
        scheduler.release(first);
    }
}

TEST(CommandScheduler, ACommandWaitsForBothOfItsKeys) {
    CommandScheduler scheduler;
    Scheduled resource = on(KeyKind::kResource, 1);
    Scheduled context = on(KeyKind::kContext, 2);
    Scheduled both = on_both(1, 2);
    scheduler.hold(resource);
    scheduler.hold(context);
    scheduler.hold(both);
    scheduler.release(resource);
    EXPECT_EQ(scheduler.take_ready(), nullptr);
    scheduler.release(context);
    EXPECT_EQ(scheduler.take_ready(), &both);
    scheduler.release(both);
}

TEST(CommandScheduler, ANewcomerDoesNotPassOneThatWaits) {
    CommandScheduler scheduler;
    Scheduled resource = on(KeyKind::kResource, 1);
    Scheduled both = on_both(1, 2);
    scheduler.hold(resource);
    scheduler.hold(both);
    // Nobody runs on context 2, and one waits there.
    Scheduled context = on(KeyKind::kContext, 2);
    EXPECT_FALSE(scheduler.is_free(context));
    scheduler.hold(context);
    scheduler.release(resource);
    EXPECT_EQ(scheduler.take_ready(), &both);
    EXPECT_EQ(scheduler.take_ready(), nullptr);
    scheduler.release(both);
    EXPECT_EQ(scheduler.take_ready(), &context);
    scheduler.release(context);
}

TEST(CommandScheduler, ReleaseOfWhatWasNeverHeldDoesNothing) {
    CommandScheduler scheduler;
    Scheduled out = on(KeyKind::kResource, 1);
    scheduler.hold(out);
    Scheduled stranger = on(KeyKind::kResource, 1);
    scheduler.release(stranger);
    EXPECT_FALSE(scheduler.is_free(on(KeyKind::kResource, 1)));
    scheduler.release(out);
}

TEST(CommandScheduler, ClearForgetsWhoHoldsAndWhoWaits) {
    CommandScheduler scheduler;
    Scheduled first = on(KeyKind::kResource, 7);
    Scheduled second = on(KeyKind::kResource, 7);
    scheduler.hold(first);
    scheduler.hold(second);
    scheduler.release(first);
    scheduler.clear();
    EXPECT_EQ(scheduler.take_ready(), nullptr);
    EXPECT_TRUE(scheduler.is_free(on(KeyKind::kResource, 7)));
}

/// Against the plain rule: a command may run when none before it that is not done shares a key.
TEST(CommandScheduler, KeepsTheRuleForRandomCommands) {
    struct Job {
        Scheduled command;
        bool running = false;
        bool done = false;
    };
    const auto shares = [](const Scheduled& a, const Scheduled& b) {
        for (size_t kind = 0; kind < kKeyKinds; ++kind)
            if (a.keys[kind] != 0 && a.keys[kind] == b.keys[kind]) return true;
        return false;
    };
    std::mt19937 random(7);
    for (int round = 0; round < 50; ++round) {
        CommandScheduler scheduler;
        std::deque<Job> jobs;
        const auto may_run = [&](const Job& job) {
            for (const Job& other : jobs) {
                if (&other == &job) return true;
                if (!other.done && shares(other.command, job.command)) return false;
            }
            return true;
        };
        const auto start_ready = [&] {
            while (Scheduled* ready = scheduler.take_ready())
                for (Job& job : jobs)
                    if (&job.command == ready) {
                        ASSERT_TRUE(may_run(job));
                        job.running = true;
                    }
            for (const Job& job : jobs)  // nobody is forgotten
                ASSERT_TRUE(job.running || job.done || !may_run(job));
        };
        for (int step = 0; step < 300; ++step) {
            if (random() % 2 == 0) {
                Job& job = jobs.emplace_back();
                for (size_t kind = 0; kind < kKeyKinds; ++kind)
                    if (random() % 2 == 0)
                        job.command.set_key(static_cast<KeyKind>(kind), random() % 4);
                const bool free = scheduler.is_free(job.command);
                ASSERT_EQ(free, may_run(job));
                job.running = free;
                if (free && random() % 2 == 0)
                    job.running = false, job.done = true;  // answered at once: never held
                else
                    scheduler.hold(job.command);
            } else {
                std::vector<Job*> running;
                for (Job& job : jobs)
                    if (job.running) running.push_back(&job);
                if (running.empty()) continue;
                Job& job = *running[random() % running.size()];
                job.running = false;
                job.done = true;
                scheduler.release(job.command);
                start_ready();
            }
        }
        for (bool any = true; any;) {
            any = false;
            for (Job& job : jobs)
                if (job.running) {
                    any = true;
                    job.running = false;
                    job.done = true;
                    scheduler.release(job.command);
                    start_ready();
                }
        }
        for (const Job& job : jobs) EXPECT_TRUE(job.done);
        EXPECT_EQ(scheduler.busy_keys(), 0u);
    }
}

}  // namespace
}  // namespace swede::virtio_gpu
