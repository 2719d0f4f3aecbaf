// SPDX-License-Identifier: Apache-2.0
// The library as a VMM has it, from several threads and in a child: here with sanitizers, while
// tests/protocol drives the one that is installed.
#include <gtest/gtest.h>
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "unit/base/process_state.h"

namespace {

std::atomic<uint64_t> fences_reached = 0;

rutabaga_builder builder() {
    rutabaga_builder made{};
    made.wsi = RUTABAGA_WSI_SURFACELESS;
    made.fence_cb = [](uint64_t, const rutabaga_fence*) { ++fences_reached; };
    made.debug_cb = [](uint64_t, const rutabaga_debug*) {};
    return made;
}

rutabaga* make() {
    const rutabaga_builder asked = builder();
    rutabaga* instance = nullptr;
    EXPECT_EQ(rutabaga_init(&asked, &instance), 0);
    return instance;
}

constexpr rutabaga_create_3d kPicture{2, 1, 2, 16, 16, 1, 1, 0, 0, 1};

TEST(Exports, InitAndFinishLeaveNothing) {
    const size_t fds = swede::testing::open_fds();
    const size_t threads = swede::testing::threads();
    for (int i = 0; i < 1000; ++i) {
        rutabaga* instance = make();
        EXPECT_EQ(rutabaga_resource_create_3d(instance, 1, &kPicture), 0);
        EXPECT_EQ(rutabaga_finish(&instance), 0);
        EXPECT_EQ(instance, nullptr);
    }
    EXPECT_EQ(swede::testing::open_fds(), fds);
    EXPECT_EQ(swede::testing::threads(), threads);
}

TEST(Exports, BadBuildersAreRefused) {
    const rutabaga_builder good = builder();
    rutabaga* instance = reinterpret_cast<rutabaga*>(8);
    EXPECT_EQ(rutabaga_init(nullptr, &instance), -EINVAL);
    EXPECT_EQ(instance, nullptr);
    EXPECT_EQ(rutabaga_init(&good, nullptr), -EINVAL);
    const auto refused = [&](auto change, int error) {
        rutabaga_builder bad = good;
        change(bad);
        instance = reinterpret_cast<rutabaga*>(8);
        EXPECT_EQ(rutabaga_init(&bad, &instance), error);
        EXPECT_EQ(instance, nullptr);
    };
    refused([](auto& b) { b.fence_cb = nullptr; }, -EINVAL);
    refused([](auto& b) { b.wsi = 0; }, -EINVAL);
    refused([](auto& b) { b.wsi = 2; }, -EINVAL);
    refused([](auto& b) { b.capset_mask = 1 << RUTABAGA_CAPSET_DRM; }, -ENOTSUP);
    rutabaga_channels channels{nullptr, 1};
    refused([&](auto& b) { b.channels = &channels; }, -EINVAL);
    rutabaga_channel channel{nullptr, 1};
    channels.channels = &channel;
    refused([&](auto& b) { b.channels = &channels; }, -EINVAL);
    std::vector<rutabaga_channel> many(65, {"/a", 1});
    channels = {many.data(), many.size()};
    refused([&](auto& b) { b.channels = &channels; }, -EINVAL);
    const std::string endless(5000, 'x');
    refused([&](auto& b) { b.renderer_features = endless.c_str(); }, -EINVAL);
}

TEST(Exports, CommandsThatWaitForFencesAreRefused) {
    rutabaga* instance = make();
    uint8_t byte = 0;
    rutabaga_command command{1, 1, &byte, 1, nullptr};
    EXPECT_EQ(rutabaga_submit_command(instance, &command), -ENOTSUP);
    command.num_in_fences = 0;
    EXPECT_EQ(rutabaga_submit_command(instance, &command), -ENOENT);
    command.cmd = nullptr;
    EXPECT_EQ(rutabaga_submit_command(instance, &command), -EINVAL);
    EXPECT_EQ(rutabaga_submit_command(instance, nullptr), -EINVAL);
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

TEST(Exports, ManyThreadsMayCall) {
    constexpr uint32_t kThreads = 4;
    constexpr uint32_t kEach = 100;
    rutabaga* instance = make();
    const uint64_t before = fences_reached;
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < kThreads; ++t)
        threads.emplace_back([=] {
            std::vector<uint8_t> memory(16 * 16 * 4);
            iovec list{memory.data(), memory.size()};
            const rutabaga_iovecs backing{&list, 1};
            rutabaga_transfer whole{};
            whole.w = whole.h = 16;
            whole.d = 1;
            for (uint32_t i = 0; i < kEach; ++i) {
                const uint32_t id = 1 + t * kEach + i;
                EXPECT_EQ(rutabaga_resource_create_3d(instance, id, &kPicture), 0);
                EXPECT_EQ(rutabaga_resource_attach_backing(instance, id, &backing), 0);
                EXPECT_EQ(rutabaga_resource_transfer_write(instance, 0, id, &whole), 0);
                EXPECT_EQ(rutabaga_resource_transfer_read(instance, 0, id, &whole, &list), 0);
                const rutabaga_fence fence{RUTABAGA_FLAG_FENCE, id, 0, 0};
                EXPECT_EQ(rutabaga_create_fence(instance, &fence), 0);
                EXPECT_EQ(rutabaga_resource_unref(instance, id), 0);
                EXPECT_EQ(rutabaga_resource_unref(instance, id), -ENOENT);
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(rutabaga_finish(&instance), 0);
    EXPECT_EQ(fences_reached - before, kThreads * kEach);
}

TEST(Exports, OneThreadMayFinishWhileOthersCall) {
    for (int round = 0; round < 50; ++round) {
        rutabaga* const instance = make();
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t)
            threads.emplace_back([=] {
                for (;;) {
                    const int32_t result = rutabaga_resource_unref(instance, 1);
                    if (result == -EINVAL) return;  // the instance is over
                    EXPECT_EQ(result, -ENOENT);
                }
            });
        rutabaga* mine = instance;
        EXPECT_EQ(rutabaga_finish(&mine), 0);
        for (std::thread& thread : threads) thread.join();
        mine = instance;
        EXPECT_EQ(rutabaga_finish(&mine), -EINVAL);
    }
}

/// The exit status of a child that runs `function`.
template <typename Function>
int in_child(Function function) {
    std::fflush(nullptr);  // or the child writes it, too
    const pid_t child = ::fork();
    if (child == 0) ::_exit(function());
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// What is left then must not keep the process from ending, nor end it badly.
TEST(Exports, QemuNeverFinishes) {
    EXPECT_EQ(in_child([] {
                  rutabaga* const instance = make();
                  if (rutabaga_resource_create_3d(instance, 1, &kPicture) != 0) return 1;
                  std::exit(7);  // with the destructors of static objects
              }),
              7);
}

// In a process of its own, where no test has called yet: static objects of the library are made by
// the calls here, so they are destroyed before the handler runs.
TEST(ExportsDeathTest, QemusThreadsMayCallWhileItEnds) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    static std::atomic<uint64_t> calls = 0;
    EXPECT_EXIT(
        {
            std::atexit([] {
                const uint64_t before = calls;
                while (calls < before + 100) std::this_thread::yield();
            });
            std::thread([instance = make()] {
                std::vector<uint8_t> memory(64);
                iovec list{memory.data(), memory.size()};
                const rutabaga_iovecs backing{&list, 1};
                if (rutabaga_resource_create_3d(instance, 1, &kPicture) != 0) ::_exit(1);
                for (;; ++calls)
                    if (rutabaga_resource_attach_backing(instance, 1, &backing) != 0 ||
                        rutabaga_resource_detach_backing(instance, 1) != 0)
                        ::_exit(2);
            }).detach();
            while (calls == 0) std::this_thread::yield();
            std::exit(7);
        },
        ::testing::ExitedWithCode(7), "");
}

TEST(Exports, ChildHasNoInstancesAndMayMakeItsOwn) {
    rutabaga* instance = make();
    EXPECT_EQ(in_child([&] {
                  rutabaga* inherited = instance;
                  if (rutabaga_resource_create_3d(inherited, 1, &kPicture) != -EINVAL) return 1;
                  if (rutabaga_finish(&inherited) != -EINVAL) return 2;
                  rutabaga_builder asked = builder();
                  rutabaga* own = nullptr;
                  if (rutabaga_init(&asked, &own) != 0) return 3;
                  if (rutabaga_resource_create_3d(own, 1, &kPicture) != 0) return 4;
                  if (rutabaga_finish(&own) != 0) return 5;
                  return 0;
              }),
              0);
    EXPECT_EQ(rutabaga_resource_create_3d(instance, 1, &kPicture), 0);
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

}  // namespace
