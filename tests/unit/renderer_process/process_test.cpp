// SPDX-License-Identifier: Apache-2.0
// A renderer process that dies, hangs, or cannot be started; and what it may do at all.
#include <fcntl.h>
#include <sys/mman.h>

#include "harness.h"

namespace swede::test {
namespace {

using renderer_process::ClientOptions;
using renderer_process::spawn;

class ProcessTest : public RendererTest {
  protected:
    /// Deadlines that a test can wait for.
    static ClientOptions impatient() {
        ClientOptions options = patient();
        options.request_deadline = 1500ms;
        options.fence_limit = 200ms;
        return options;
    }
    static ClientOptions impatient_with_resets() {
        ClientOptions options = patient();
        options.reset_deadline = 700ms;
        return options;
    }
    static ClientOptions starting(std::string program, std::vector<std::string> arguments) {
        ClientOptions options;
        options.start = [=] { return spawn(program, arguments); };
        options.start_deadline = 500ms;
        return options;
    }
    Error error_of_start(ClientOptions options) {
        auto made =
            renderer_process::RendererProcess::create(*loop_, memory_, sink_, std::move(options));
        EXPECT_FALSE(made);
        return made ? Error{} : made.error();
    }
    [[nodiscard]] bool everything_ended() {
        return wait_until([&] { return process_->ending_processes() == 0; });
    }
    void crash(rutabaga::ContextId context) {
        static_cast<void>(submit(context, Commands().add(SWEDE_TEST_CRASH)));
    }
    void hang(rutabaga::ContextId context) {
        ASSERT_TRUE(submit(context, Commands().add(SWEDE_TEST_HANG)));
    }
    /// The renderer serves a new context and its commands.
    void expect_service(rutabaga::ContextId context) {
        ASSERT_TRUE(create_context(context));
        ASSERT_TRUE(create_blob(context, 1000 + context, kPageSize));
        ASSERT_TRUE(submit(context, Commands().add(SWEDE_TEST_ADD, 1000 + context, 1, 0)));
        EXPECT_TRUE(finish(context));
        EXPECT_FALSE(sink_->lost.contains(context));
    }
};

// --- start ---

TEST_F(ProcessTest, Start_OfAMissingProgramFails) {
    EXPECT_NE(error_of_start(starting("/nonexistent/renderer", {})).message.find("/nonexistent"),
              std::string::npos);
}

TEST_F(ProcessTest, Start_OfAProgramThatEndsFails) {
    EXPECT_EQ(error_of_start(starting("/bin/true", {})).code, ErrorCode::kDeviceLost);
    EXPECT_FALSE(census().children);
}

TEST_F(ProcessTest, Start_OfAProgramThatSaysNothingFails) {
    EXPECT_EQ(error_of_start(starting("/bin/sleep", {"1000"})).code, ErrorCode::kDeviceLost);
    EXPECT_FALSE(census().children);
}

TEST_F(ProcessTest, Start_LeavesNothingBehindWhenItFails) {
    static_cast<void>(error_of_start(starting("/bin/true", {})));
    const Census before = census();
    for (int i = 0; i < 3; ++i) {
        static_cast<void>(error_of_start(starting("/bin/true", {})));
        static_cast<void>(error_of_start(starting("/nonexistent", {})));
    }
    EXPECT_EQ(census(), before);
}

TEST_F(ProcessTest, End_LeavesNoProcess) {
    const Census before = census();
    start_process();
    ASSERT_TRUE(create_context(1));
    EXPECT_TRUE(census().children);
    renderer_.reset();
    EXPECT_EQ(census(), before);
}

TEST_F(ProcessTest, End_OfAHangingProcessLeavesNoneEither) {
    const Census before = census();
    start_process();
    ASSERT_TRUE(create_context(1));
    hang(1);
    renderer_.reset();
    EXPECT_EQ(census(), before);
}

// --- what is known of the offer ---

TEST_F(ProcessTest, Offer_IsAskedForOnceAndTheProcessStartedWhenNeeded) {
    const auto offer = std::make_shared<renderer_process::Offer>();
    ClientOptions options = patient();
    options.offer = offer;
    start_process(options);
    EXPECT_TRUE(offer->known);
    EXPECT_TRUE(offer->owns_3d);
    ASSERT_EQ(offer->capsets.size(), 1u);
    renderer_.reset();

    start_process(options);
    EXPECT_EQ(process_->process_id(), 0) << "nobody needs one yet";
    ASSERT_EQ(renderer_->capsets().size(), 1u);
    EXPECT_TRUE(renderer_->owns_3d_resources());
    ASSERT_TRUE(create_context(1));
    EXPECT_NE(process_->process_id(), 0);
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
}

TEST_F(ProcessTest, Offer_OfAProcessThatOffersSomethingElseIsABrokenPromise) {
    ClientOptions options = patient();
    options.offer = std::make_shared<renderer_process::Offer>(
        renderer_process::Offer{true, true, {{7, 1, {}}}});
    start_process(options);
    EXPECT_EQ(create_context(1, 7).error().code, ErrorCode::kDeviceLost);
}

// --- the sandbox ---

TEST_F(ProcessTest, Sandbox_LetsNothingOut) {
    start_process();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(submit(
        1, Commands().add(SWEDE_TEST_FILL, 7, 0xffffffff, 0, 1).add(SWEDE_TEST_ESCAPE, 7, 0, 0)));
    ASSERT_TRUE(finish(1));
    const auto memory = export_blob(7).value();
    const auto mapping = Mapping::peer_file(memory.fd.get(), 0, kPageSize, Access::kRead).value();
    EXPECT_EQ(word_at(mapping, 0), 0u) << "a bit of enum swede_test_escape for each that worked";
}

TEST_F(ProcessTest, Process_InheritsNoFile) {
    const auto files_of_process = [&] {
        start_process();
        EXPECT_TRUE(create_context(1));
        EXPECT_TRUE(create_blob(1, 7, kPageSize));
        EXPECT_TRUE(submit(1, Commands().add(SWEDE_TEST_COUNT_FILES, 7, 0, 0)));
        EXPECT_TRUE(finish(1));
        const auto memory = export_blob(7).value();
        const auto view = Mapping::peer_file(memory.fd.get(), 0, kPageSize, Access::kRead).value();
        const uint32_t count = word_at(view, 0);
        renderer_.reset();
        return count;
    };
    const uint32_t before = files_of_process();
    // As a VMM might leave them to us: not close-on-exec.
    const UniqueFd leaked(::open("/dev/null", O_RDONLY));
    const UniqueFd leaked_high(::fcntl(leaked.get(), F_DUPFD, 200));
    EXPECT_EQ(files_of_process(), before);
}

TEST_F(ProcessTest, Process_HoldsNoMoreFilesAfterAReset) {
    start_process();
    const auto count_files = [&] {
        EXPECT_TRUE(create_context(1));
        EXPECT_TRUE(create_blob(1, 7, kPageSize));
        EXPECT_TRUE(submit(1, Commands().add(SWEDE_TEST_COUNT_FILES, 7, 0, 0)));
        EXPECT_TRUE(finish(1));
        const auto memory = export_blob(7).value();
        const auto view = Mapping::peer_file(memory.fd.get(), 0, kPageSize, Access::kRead).value();
        return word_at(view, 0);
    };
    const uint32_t before = count_files();
    ASSERT_TRUE(reset());
    ASSERT_TRUE(create_context(1));
    for (uint32_t i = 100; i < 200; ++i) ASSERT_TRUE(create_blob(1, i, kPageSize));
    ASSERT_TRUE(reset());
    EXPECT_EQ(count_files(), before);
}

TEST_F(ProcessTest, Context_OfAnUnknownCapsetIsRefusedAndNotLost) {
    start_process();
    EXPECT_FALSE(create_context(1, SWEDE_TEST_CAPSET_ID + 1));
    turn();
    EXPECT_TRUE(sink_->lost.empty());
    EXPECT_TRUE(create_context(1));
}

// --- death ---

TEST_F(ProcessTest, Crash_LosesTheContextsAndNothingElse) {
    start_process();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_context(2));
    const pid_t first = process_->process_id();
    crash(1);
    ASSERT_TRUE(wait_until([&] { return sink_->lost.size() == 2; }));
    EXPECT_EQ(sink_->lost.at(2).code, ErrorCode::kDeviceLost);
    expect_service(3);
    EXPECT_NE(process_->process_id(), first);
}

TEST_F(ProcessTest, Crash_AnswersEveryRequest) {
    start_process();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_NEVER_ANSWER)));
    auto [export_done, memory] = slot<rutabaga::SharedMemory>();
    renderer_->export_blob(7, std::move(export_done));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_NEVER_ANSWER)));
    auto [blob_done, blob] = slot<rutabaga::BlobInfo>();
    renderer_->create_blob(1, 8, {wire::kBlobMemHost3d, 0, 0, kPageSize}, nullptr,
                           std::move(blob_done));
    crash(1);
    auto [context_done, context] = slot();
    renderer_->create_context(9, {SWEDE_TEST_CAPSET_ID, ""}, std::move(context_done));
    ASSERT_TRUE(wait_until([&, &a = *memory, &b = *blob, &c = *context] { return a && b && c; }));
    ASSERT_FALSE(memory->value());
    EXPECT_EQ((*memory)->error().code, ErrorCode::kDeviceLost);
    ASSERT_FALSE(blob->value());
    EXPECT_EQ((*blob)->error().code, ErrorCode::kDeviceLost);
    EXPECT_EQ(process_->pending_requests(), 0u);
    ASSERT_TRUE(everything_ended());
    expect_service(3);
}

TEST_F(ProcessTest, Crash_ReachesEveryFence) {
    start_process();
    ASSERT_TRUE(create_context(1));
    std::vector<uint64_t> expected;
    for (uint8_t ring = 0; ring < 5; ++ring) {
        ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_STALL_RING), ring));
        expected.push_back(fence(1, ring));
    }
    crash(1);
    ASSERT_TRUE(wait_until([&] { return sink_->fences.size() == expected.size(); }));
    EXPECT_EQ(sink_->fences, expected);
    EXPECT_EQ(process_->pending_fences(), 0u);
}

TEST_F(ProcessTest, LostContext_RefusesCommandsAndReachesFencesAtOnce) {
    start_process();
    ASSERT_TRUE(create_context(1));
    crash(1);
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    const auto refused = submit(1, Commands().add(SWEDE_TEST_DELAY));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kDeviceLost);
    EXPECT_TRUE(finish(1));
    EXPECT_TRUE(destroy_context(1));
    EXPECT_TRUE(create_context(1)) << "the id serves again";
}

TEST_F(ProcessTest, LostBlob_CanBeDisplacedAndDestroyedAndNothingElse) {
    const UniqueFd window = create_memfd("window", 4 * kPageSize).value();
    start_process();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(create_blob(1, 8, kPageSize));
    ASSERT_TRUE(place(7, window.get(), 0, kPageSize));
    crash(1);
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    const auto placed = place(8, window.get(), kPageSize, kPageSize);
    ASSERT_FALSE(placed);
    EXPECT_EQ(placed.error().code, ErrorCode::kDeviceLost);
    EXPECT_EQ(export_blob(8).error().code, ErrorCode::kDeviceLost);
    EXPECT_TRUE(displace(7));
    EXPECT_TRUE(destroy_resource(7));
    EXPECT_TRUE(destroy_resource(8));
    expect_service(2);
    EXPECT_EQ(export_blob(8).error().code, ErrorCode::kInvalidResource);
}

TEST_F(ProcessTest, LostBlob_IsNotTakenForOneOfTheNextProcess) {
    start_process();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    crash(1);
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    expect_service(2);
    renderer_->attach_resource(2, 7, {kPageSize, nullptr});
    EXPECT_EQ(export_blob(7).error().code, ErrorCode::kDeviceLost);
    EXPECT_TRUE(displace(7));
    ASSERT_TRUE(destroy_resource(7));
    EXPECT_TRUE(create_blob(2, 7, kPageSize));
}

TEST_F(ProcessTest, NextProcess_KnowsTheGuestsMemory) {
    const Mapping ram = add_guest_memory(0, 4 * kPageSize);
    const std::vector<wire::MemEntry> entries{{4096, 4096, 0}};
    const auto backing = memory_.make_backing(entries).value();
    start_process();
    for (rutabaga::ContextId context = 1; context <= 3; ++context) {
        ASSERT_TRUE(create_context(context));
        renderer_->attach_resource(context, 9, {4096, backing});
        ASSERT_TRUE(submit(context, Commands().add(SWEDE_TEST_ADD, 9, 1, 0)));
        ASSERT_TRUE(finish(context));
        EXPECT_EQ(word_at(ram, 4096), context);
        crash(context);
        ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(context); }));
    }
}

TEST_F(ProcessTest, Crashes_LeaveNothingBehind) {
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    crash(1);
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    ASSERT_TRUE(everything_ended());
    const Census before = census();
    for (rutabaga::ContextId context = 2; context < 8; ++context) {
        ASSERT_TRUE(create_context(context));
        ASSERT_TRUE(create_blob(context, context, kPageSize));
        ASSERT_TRUE(export_blob(context));
        if (context % 2 == 0) {
            crash(context);
        } else {
            hang(context);
            ASSERT_FALSE(export_blob(context));
        }
        ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(context); }));
        ASSERT_TRUE(everything_ended());
        turn();
        EXPECT_EQ(census(), before);
    }
}

// --- hanging ---

TEST_F(ProcessTest, Hang_IsEndedWhenARequestIsOverdue) {
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    hang(1);
    const auto memory = export_blob(7);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().code, ErrorCode::kDeviceLost);
    EXPECT_TRUE(sink_->lost.contains(1));
    expect_service(2);
}

// I7: until then it could write to pages that the guest uses for something else by now.
TEST_F(ProcessTest, SettledDetaches_WaitForTheEndOfAProcessThatHangs) {
    start_process(impatient());
    ASSERT_TRUE(settle_detaches());
    ASSERT_TRUE(create_context(1));
    hang(1);
    const auto settled = settle_detaches();
    ASSERT_FALSE(settled);
    EXPECT_EQ(settled.error().code, ErrorCode::kDeviceLost);
    EXPECT_EQ(process_->ending_processes(), 0u);
    EXPECT_TRUE(settle_detaches());  // without a process there is nothing to wait for
    expect_service(2);
    EXPECT_TRUE(settle_detaches());
}

TEST_F(ProcessTest, SettledDetaches_WaitForAProcessThatIsStillEnding) {
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    crash(1);
    static_cast<void>(settle_detaches());
    EXPECT_EQ(process_->ending_processes(), 0u);
}

TEST_F(ProcessTest, Hang_IsEndedWhenAFenceIsOverdueAndNothingAnswers) {
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    hang(1);
    const uint64_t ticket = fence(1, 0);
    ASSERT_TRUE(wait_until([&] { return is_done(ticket); }));
    EXPECT_TRUE(sink_->lost.contains(1));
    expect_service(2);
}

TEST_F(ProcessTest, Fence_MayBeOutForLongWhileTheProcessAnswers) {
    ClientOptions options = impatient();
    options.fence_limit = 20ms;
    start_process(std::move(options));
    ASSERT_TRUE(create_context(1));
    // The ring's delay passes the limit many times over.
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_DELAY, 0, 1000)));
    EXPECT_TRUE(finish(1));
    EXPECT_TRUE(sink_->lost.empty());
}

TEST_F(ProcessTest, UnansweredRequest_EndsTheProcess) {
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_NEVER_ANSWER)));
    EXPECT_EQ(export_blob(7).error().code, ErrorCode::kDeviceLost);
    expect_service(2);
}

TEST_F(ProcessTest, Reset_EndsAHangingProcess) {
    start_process(impatient_with_resets());
    ASSERT_TRUE(create_context(1));
    const pid_t first = process_->process_id();
    hang(1);
    const uint64_t ticket = fence(1, 0);
    ASSERT_TRUE(reset());
    EXPECT_EQ(process_->process_id(), 0);
    EXPECT_FALSE(is_done(ticket)) << "the old epoch's fences are the device's";
    turn();
    EXPECT_TRUE(sink_->lost.empty()) << "and so are its contexts";
    expect_service(1);
    EXPECT_NE(process_->process_id(), first);
}

TEST_F(ProcessTest, Reset_EndsAProcessThatDoesNotAnswerIt) {
    start_process(impatient_with_resets());
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_NEVER_ANSWER)));
    ASSERT_TRUE(reset());
    EXPECT_EQ(process_->process_id(), 0);
    expect_service(1);
}

TEST_F(ProcessTest, Reset_IsInTimeByItsOptions) {
    const ClientOptions defaults;
    EXPECT_LT(defaults.reset_deadline + defaults.exit_limit, 1s);
}

TEST_F(ProcessTest, Reset_KeepsAProcessThatAnswers) {
    start_process();
    ASSERT_TRUE(create_context(1));
    const pid_t first = process_->process_id();
    ASSERT_TRUE(reset());
    EXPECT_EQ(process_->process_id(), first);
}

TEST_F(ProcessTest, Reset_TwiceAnswersBoth) {
    start_process();
    ASSERT_TRUE(create_context(1));
    auto [done_a, a] = slot();
    auto [done_b, b] = slot();
    renderer_->reset(std::move(done_a));
    renderer_->reset(std::move(done_b));
    ASSERT_TRUE(wait_until([&, &first = *a, &second = *b] { return first && second; }));
    EXPECT_TRUE(a->value());
    EXPECT_TRUE(b->value());
    expect_service(1);
}

TEST_F(ProcessTest, Reset_AfterACrashWaitsForItsEnd) {
    start_process();
    ASSERT_TRUE(create_context(1));
    crash(1);
    ASSERT_TRUE(reset());
    EXPECT_EQ(process_->ending_processes(), 0u);
    expect_service(1);
}

// --- a guest that ends process after process ---

class StartsTest : public ProcessTest {
  protected:
    /// Ends the process, in which there is this context.
    void lose(rutabaga::ContextId context) {
        crash(context);
        ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(context); }));
        ASSERT_TRUE(everything_ended());
    }
    static ClientOptions few(std::chrono::milliseconds interval) {
        ClientOptions options = patient();
        options.start_burst = 2;
        options.start_interval = interval;
        return options;
    }
};

TEST_F(StartsTest, AreBounded) {
    start_process(few(1h));
    for (rutabaga::ContextId context = 1; context <= 3; ++context) {  // the first one and two more
        ASSERT_TRUE(create_context(context));
        lose(context);
    }
    for (rutabaga::ContextId context = 4; context < 100; ++context) {
        const auto refused = create_context(context);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
        EXPECT_NE(refused.error().message.find("end too often"), std::string::npos)
            << refused.error().message;
    }
    const auto texture = await([&](auto done) { renderer_->create_3d(7, {}, std::move(done)); });
    ASSERT_FALSE(texture);
    EXPECT_EQ(texture.error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(process_->process_id(), 0);
}

TEST_F(StartsTest, AreBoundedAcrossResets) {
    start_process(few(1h));
    for (rutabaga::ContextId context = 1; context <= 3; ++context) {
        ASSERT_TRUE(create_context(context));
        lose(context);
        ASSERT_TRUE(reset());
    }
    EXPECT_FALSE(create_context(4));
    EXPECT_TRUE(reset());
}

TEST_F(StartsTest, ArePossibleAgainLater) {
    start_process(few(50ms));
    for (rutabaga::ContextId context = 1; context <= 3; ++context) {
        ASSERT_TRUE(create_context(context));
        lose(context);
    }
    rutabaga::ContextId context = 4;
    ASSERT_TRUE(wait_until([&] { return create_context(++context).has_value(); }));
    EXPECT_NE(process_->process_id(), 0);
}

TEST_F(StartsTest, AContextThatNeedsNoneIsNotRefused) {
    start_process(few(1h));
    for (rutabaga::ContextId context = 1; context <= 3; ++context) {
        ASSERT_TRUE(create_context(context));
        if (context < 3) lose(context);
    }
    for (rutabaga::ContextId context = 4; context < 30; ++context)
        EXPECT_TRUE(create_context(context));
}

TEST_F(StartsTest, ThatFailCountToo) {
    ClientOptions options = few(1h);
    int starts = 0;
    options.start = [&]() -> Result<renderer_process::ChildProcess> {
        if (++starts == 1) return spawn("/proc/self/exe", {"renderer"});
        return fail(ErrorCode::kSystem, "There is no more room.");
    };
    start_process(std::move(options));
    ASSERT_TRUE(create_context(1));
    lose(1);
    for (rutabaga::ContextId context = 2; context < 10; ++context)
        EXPECT_FALSE(create_context(context));
    EXPECT_EQ(starts, 3);
}

TEST_F(StartsTest, WaitForTheEndOfThoseOfOtherGuests) {
    ClientOptions options = patient();
    options.reap_in_background = true;
    options.offer = std::make_shared<renderer_process::Offer>();
    const auto& reaped = options.offer->reaped;
    start_process(options);
    renderer_.reset();
    ASSERT_TRUE(wait_until([&] { return *reaped == 0; })) << "the one that was asked has ended";

    *reaped = renderer_process::Offer::kMaxReaped;
    start_process(options);
    EXPECT_EQ(create_context(1).error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(process_->process_id(), 0);
    --*reaped;
    EXPECT_TRUE(create_context(2));
    renderer_.reset();
    ASSERT_TRUE(wait_until([&] { return *reaped == renderer_process::Offer::kMaxReaped - 1; }));
}

TEST_F(StartsTest, AreEnoughForUsersByDefault) {
    const ClientOptions defaults;
    EXPECT_GE(defaults.start_burst, 4u);
    EXPECT_LE(defaults.start_burst, 16u);
    EXPECT_GE(defaults.start_interval, 1s) << "a loop of crashes may not keep a core busy";
    EXPECT_LE(defaults.start_interval, 5s);
}

// --- a process that does not read ---

TEST_F(ProcessTest, UnreadCommands_AreBounded) {
    ClientOptions options = impatient_with_resets();
    options.max_queued = size_t{4} << 20;
    start_process(std::move(options));
    ASSERT_TRUE(create_context(1));
    hang(1);
    for (const size_t size : {size_t{1} << 20, size_t{4096}, size_t{1}}) {
        const std::vector<std::byte> filler(size);
        Result<void> taken;
        for (int i = 0; i < 5000 && taken; ++i) taken = renderer_->submit(1, 0, filler);
        ASSERT_FALSE(taken);
        EXPECT_EQ(taken.error().code, ErrorCode::kOutOfMemory);
        EXPECT_LE(process_->queued_bytes(), (size_t{4} << 20) + 4096) << "headers count too";
    }
    const auto made = create_context(2);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kOutOfMemory) << "no room for a request either";
    ASSERT_TRUE(reset());
    expect_service(1);
}

TEST_F(ProcessTest, UnreadCommands_KeepNothingAlive) {
    ClientOptions options = patient();
    options.max_queued = size_t{1} << 20;
    start_process(std::move(options));
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 9, size_t{1} << 20));
    ASSERT_TRUE(create_context(2));
    ASSERT_TRUE(create_blob(2, 7, kPageSize));
    ASSERT_EQ(::kill(process_->process_id(), SIGSTOP), 0);
    for (const size_t size : {size_t{1} << 18, size_t{4}}) {
        const Commands filler =
            Commands().add(SWEDE_TEST_ECHO, 9, 0, 0, 0, std::vector<std::byte>(size));
        Result<void> taken;
        for (int i = 0; i < 50000 && taken; ++i) taken = renderer_->submit(1, 0, filler);
        ASSERT_FALSE(taken);
    }
    auto [resource_done, resource_gone] = slot();
    auto [context_done, context_gone] = slot();
    renderer_->destroy_resource(7, std::move(resource_done));
    renderer_->destroy_context(2, std::move(context_done));
    ASSERT_EQ(::kill(process_->process_id(), SIGCONT), 0);
    ASSERT_TRUE(
        wait_until([&] { return resource_gone->has_value() && context_gone->has_value(); }));
    EXPECT_TRUE(**resource_gone);
    EXPECT_TRUE(**context_gone);
    // The process knows neither: it takes the ids again.
    ASSERT_TRUE(create_context(2));
    EXPECT_TRUE(create_blob(2, 7, kPageSize));
    EXPECT_TRUE(sink_->lost.empty());
}

TEST_F(ProcessTest, UnreadCommands_EndTheProcessInTheEnd) {
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    hang(1);
    std::vector<std::byte> filler(size_t{1} << 20);
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ECHO, 7, 0, 0, 0, filler)));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ECHO, 7, 0, 0, 0, filler)));
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    expect_service(2);
}

TEST_F(ProcessTest, Commands_OverTheLimitAreOutOfMemory) {
    start_process();
    ASSERT_TRUE(create_context(1));
    const std::vector<std::byte> filler((size_t{4} << 20) + 1);
    const auto taken = renderer_->submit(1, 0, filler);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kOutOfMemory);
    EXPECT_TRUE(finish(1));
}

TEST_F(ProcessTest, Backing_InMorePiecesThanFitIsOutOfMemory) {
    ClientOptions options = patient();
    options.max_queued = 1 << 20;
    const Mapping ram = add_guest_memory(0, 65536 * 2);
    // Single bytes of every other place: no two join.
    std::vector<wire::MemEntry> entries;
    for (uint64_t i = 0; i < 65536; ++i) entries.push_back({i * 2, 1, 0});
    const auto backing = memory_.make_backing(entries).value();
    start_process(std::move(options));
    ASSERT_TRUE(create_context(1));
    const auto made = await<rutabaga::BlobInfo>([&](auto done) {
        renderer_->create_blob(1, 7, {wire::kBlobMemHost3dGuest, 0, 0, kPageSize}, backing,
                               std::move(done));
    });
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kOutOfMemory);
    EXPECT_TRUE(finish(1)) << "and nothing else";
    renderer_->attach_resource(1, 9, {65536, backing});
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    expect_service(2);
}

TEST_F(ProcessTest, RemovedRegion_OfAHangingProcessEndsIt) {
    const Mapping ram = add_guest_memory(0, 4 * kPageSize);
    start_process(impatient());
    ASSERT_TRUE(create_context(1));
    hang(1);
    ASSERT_TRUE(memory_.remove(0, 4 * kPageSize));
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    EXPECT_EQ(process_->process_id(), 0);
}

TEST_F(ProcessTest, RemovedRegion_IsAcknowledged) {
    const Mapping ram = add_guest_memory(0, 4 * kPageSize);
    start_process();
    ASSERT_TRUE(memory_.remove(0, 4 * kPageSize));
    EXPECT_EQ(process_->pending_requests(), 1u);
    EXPECT_TRUE(wait_until([&] { return process_->pending_requests() == 0; }));
}

TEST_F(ProcessTest, TruncatedRegion_CostsNoProcess) {
    start_process();
    UniqueFd file(::memfd_create("guest", MFD_CLOEXEC));  // not sealed: a VMM's own
    ASSERT_EQ(::ftruncate(file.get(), 4 * kPageSize), 0);
    ASSERT_TRUE(memory_.add(0, 4 * kPageSize, file.duplicate(), 0, Access::kReadWrite));
    const std::vector<wire::MemEntry> entries{{0, 4096, 0}};
    ASSERT_TRUE(create_context(1));
    renderer_->attach_resource(1, 9, {4096, memory_.make_backing(entries).value()});
    ASSERT_TRUE(finish(1));
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ADD, 9, 1, 0)));
    EXPECT_TRUE(finish(1));
    EXPECT_TRUE(sink_->lost.empty());
}

}  // namespace
}  // namespace swede::test
