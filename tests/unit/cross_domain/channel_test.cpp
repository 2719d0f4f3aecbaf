// SPDX-License-Identifier: Apache-2.0
// Bytes and files both ways, and every way in which a connection ends.
#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <numeric>
#include <set>
#include <thread>

#include "base/memory_file.h"
#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

using ChannelTest = CrossDomainTest;

TEST_F(ChannelTest, BytesGoBothWays) {
    connect();
    ASSERT_TRUE(submit(send("hello")));
    EXPECT_EQ(hear(5), "hello");
    const uint64_t ticket = poll();
    say("welcome");
    ASSERT_TRUE(wait_fence(ticket));
    const RingMessage message = read_ring(ring_pages);
    EXPECT_EQ(text_of(message.bytes), "welcome");
    // wayland-proxy-virtwl compares the first word with 5.
    uint32_t word = 0;
    ASSERT_TRUE(ring->read(0, std::as_writable_bytes(std::span(&word, 1))));
    EXPECT_EQ(word, 5u);
}

TEST_F(ChannelTest, NothingComesThatNoFenceAsksFor) {
    connect();
    say("one");
    EXPECT_EQ(text_of(next_message().bytes), "one");
    say("two");
    // The slot is the guest's until it asks again.
    ASSERT_TRUE(submit(send("x")));
    EXPECT_EQ(hear(1), "x");
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "one");
    EXPECT_EQ(text_of(next_message().bytes), "two");
}

// A VMM has stopped it; after a reboot, another system is in its memory.
TEST_F(ChannelTest, NothingComesWhileTheGuestStandsStill) {
    connect();
    say("one");
    EXPECT_EQ(text_of(next_message().bytes), "one");
    const uint64_t asked = poll();
    renderer->set_paused(true);
    say("two");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(is_done(asked));
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "one");
    renderer->set_paused(false);
    ASSERT_TRUE(wait_fence(asked));
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "two");

    const uint64_t again = poll();
    renderer->set_paused(true);
    compositor.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(is_done(again));
    EXPECT_FALSE(is_end(read_ring(ring_pages)));
    renderer->set_paused(false);
    ASSERT_TRUE(wait_fence(again));
    EXPECT_TRUE(is_end(read_ring(ring_pages)));
}

// A slot of the control queue is behind each of them.
TEST_F(ChannelTest, TooManyQuestionsEndTheChannel) {
    connect();
    std::vector<uint64_t> asked;
    for (size_t i = 0; i < Channel::kMostAsking; ++i) asked.push_back(poll());
    say("one");
    ASSERT_TRUE(wait_fence(asked.front()));
    asked.push_back(poll());
    EXPECT_FALSE(is_done(asked.back()));
    asked.push_back(poll());
    for (const uint64_t ticket : asked) EXPECT_TRUE(wait_fence(ticket));
    EXPECT_TRUE(is_end(read_ring(ring_pages)));
    EXPECT_TRUE(is_end(next_message()));
}

TEST_F(ChannelTest, ALongStreamArrivesInOrder) {
    connect();
    std::string text(300'000, '\0');
    for (size_t i = 0; i < text.size(); ++i)
        text[i] = static_cast<char>('a' + i * 7 % 26 + i / 4096 % 3);
    std::thread writer([&] { say(text); });
    std::string got;
    while (got.size() < text.size()) {
        const RingMessage message = next_message();
        ASSERT_LE(message.bytes.size(), 4096u - 352);
        ASSERT_FALSE(is_end(message));
        got += text_of(message.bytes);
    }
    writer.join();
    EXPECT_EQ(got, text);
}

TEST_F(ChannelTest, TheFirstSendTellsHowManyIdentifiersThereAre) {
    connect();
    max_identifiers = kFewIdentifiers;
    ASSERT_TRUE(submit(send("old")));
    EXPECT_EQ(hear(3), "old");
    say(std::string(4096, 'z'));
    const RingMessage message = next_message();
    EXPECT_EQ(text_of(message.bytes), std::string(4096 - 64, 'z'));
}

TEST_F(ChannelTest, SeveralCommandsInOneSubmission) {
    connect();
    Bytes both = send("first ");
    append_bytes(both, send("second"));
    ASSERT_TRUE(submit(both));
    EXPECT_EQ(hear(12), "first second");
}

/// rutabaga_gfx loops for ever on a size of 0, and reads past the end for others.
TEST_F(ChannelTest, SizesThatAreWrongAreRefused) {
    connect();
    for (const uint16_t size : {0, 1, 7, 500, 65535}) {
        Bytes bytes;
        append(bytes, Header{3, 0, size, 0});
        append(bytes, uint64_t{0});
        EXPECT_FALSE(submit(bytes)) << size;
    }
    EXPECT_FALSE(submit(Bytes(5)));
    EXPECT_FALSE(submit(command(Command::kGetImageRequirements, 20, {})));
    EXPECT_FALSE(submit(command(static_cast<Command>(99), 8, {})));
    EXPECT_FALSE(submit(command(Command::kReceive, 352, {})));
    Bytes lying = send("12345");
    for (const uint32_t more : {6u, 300u, 358u, 0xffffffffu}) {
        std::memcpy(lying.data() + 12, &more, sizeof(more));
        EXPECT_FALSE(submit(lying)) << more;
    }
    Bytes many = send("12345");
    const uint32_t count = 29;
    std::memcpy(many.data() + 8, &count, sizeof(count));
    EXPECT_FALSE(submit(many));
    ASSERT_TRUE(submit(send("still here")));
    EXPECT_EQ(hear(10), "still here");
}

TEST_F(ChannelTest, APollWithoutAConnectionIsNotLost) {
    create_context();
    EXPECT_TRUE(wait_fence(poll()));
}

TEST_F(ChannelTest, FencesOfOtherRingsAreDoneAtOnce) {
    connect();
    const uint64_t ticket = next_ticket++;
    renderer->create_fence({ticket, 1, 1, uint8_t{0}});
    EXPECT_TRUE(is_done(ticket));
    const uint64_t global = next_ticket++;
    renderer->create_fence({global, 2, 1, std::nullopt});
    EXPECT_TRUE(is_done(global));
    const uint64_t without_poll = next_ticket++;
    renderer->create_fence({without_poll, 3, 1, uint8_t{kChannelRing}});
    EXPECT_TRUE(is_done(without_poll));
}

TEST_F(ChannelTest, TwoContextsHaveStreamsAndFencesOfTheirOwn) {
    connect();
    GuestPages other_pages(4096);
    const auto other_ring = other_pages.backing();
    EXPECT_TRUE(
        wait_for([&](auto done) { renderer->create_context(2, {5, ""}, std::move(done)); }));
    renderer->attach_resource(2, 20, {4096, other_ring});
    ASSERT_TRUE(submit(init(1, 20, 20), 2));
    const UniqueFd other = listener.accept();
    const uint64_t first = poll(1);
    const uint64_t second = poll(2);
    ASSERT_EQ(send_all(other.get(), bytes_from("for two"), {}), 7u);
    ASSERT_TRUE(wait_fence(second));
    EXPECT_FALSE(is_done(first));
    EXPECT_EQ(text_of(read_ring(other_pages).bytes), "for two");
    say("for one");
    ASSERT_TRUE(wait_fence(first));
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "for one");
    other_ring->revoke();
}

// --- the end of the stream ---

TEST_F(ChannelTest, TheEndComesToTheFenceThatWaitsAndToEachAfter) {
    connect();
    const uint64_t ticket = poll();
    compositor.reset();
    ASSERT_TRUE(wait_fence(ticket));
    EXPECT_TRUE(is_end(read_ring(ring_pages)));
    EXPECT_TRUE(is_end(next_message()));
    EXPECT_FALSE(submit(send("too late"))) << "and raised no SIGPIPE";
}

TEST_F(ChannelTest, WhatWasSaidBeforeTheEndComesBeforeIt) {
    connect();
    say("last words");
    compositor.reset();
    EXPECT_EQ(text_of(next_message().bytes), "last words");
    EXPECT_TRUE(is_end(next_message()));
}

/// wl_display.error is told and the connection closed; the guest may have sent before it reads
/// that.
TEST_F(ChannelTest, WhatWasSaidBeforeTheEndComesAlsoToWhoSendsFirst) {
    connect();
    say("error");
    compositor.reset();
    static_cast<void>(submit(send("too late")));
    EXPECT_EQ(text_of(next_message().bytes), "error");
    EXPECT_TRUE(is_end(next_message()));
    EXPECT_FALSE(submit(send("still too late")));
}

TEST_F(ChannelTest, ACompositorThatOnlyListensNoMoreIsStillHeard) {
    connect();
    ASSERT_EQ(::shutdown(compositor.get(), SHUT_RD), 0);
    const uint64_t ticket = poll();
    static_cast<void>(submit(send("to nobody")));
    EXPECT_FALSE(submit(send("to nobody")));
    say("news");
    ASSERT_TRUE(wait_fence(ticket));
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "news");
    compositor.reset();
    EXPECT_TRUE(is_end(next_message()));
}

/// A hang-up is told all the time to who watches.
TEST_F(ChannelTest, ACompositorThatShutsAFullConnectionCostsNoTime) {
    connect();
    say("last words");
    const std::string text(3000, 'x');
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(submit(send(text)));
    ASSERT_EQ(::shutdown(compositor.get(), SHUT_RDWR), 0);
    ASSERT_TRUE(sink->run_until([&] { return !submit(send("x")); })) << "the hang-up is told";
    const auto used = [] {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        return usage.ru_utime.tv_sec * 1'000'000 + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_sec * 1'000'000 + usage.ru_stime.tv_usec;
    };
    const auto before = used();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_LT(used() - before, 300'000) << "us of processors";
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u) << "what waited is given up";
    EXPECT_EQ(text_of(next_message().bytes), "last words");
    EXPECT_TRUE(is_end(next_message()));
}

TEST_F(ChannelTest, ACompositorThatResetsTheConnectionEndsIt) {
    connect();
    ASSERT_TRUE(submit(send("unread")));  // then closing answers ECONNRESET
    const uint64_t ticket = poll();
    compositor.reset();
    ASSERT_TRUE(wait_fence(ticket));
    EXPECT_TRUE(is_end(read_ring(ring_pages)));
}

TEST_F(ChannelTest, ACompositorThatNeverReadsEndsItsChannelAlone) {
    connect();
    const std::string text(3000, 'x');
    Result<void> sent;
    for (int i = 0; i < 10'000 && sent; ++i) sent = submit(send(text));
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, ErrorCode::kClosed);
    EXPECT_TRUE(is_end(next_message()));
    EXPECT_TRUE(is_closed_for_compositor());
}

TEST_F(ChannelTest, ACompositorThatReadsLateGetsAllOfIt) {
    connect();
    std::string all;
    for (int i = 0; i < 300; ++i) {
        const std::string text(3000, static_cast<char>('a' + i % 26));
        all += text;
        ASSERT_TRUE(submit(send(text)));
    }
    EXPECT_EQ(hear(all.size()), all);
}

TEST_F(ChannelTest, FilesOfALateReaderKeepTheirPlace) {
    connect();
    const auto requirements = image(4096, 1, "R8  ");
    ASSERT_TRUE(create_blob(50, requirements.blob_id, requirements.size));
    std::string all;
    for (int i = 0; i < 200; ++i) {
        const std::string text(2000, static_cast<char>('a' + i % 26));
        all += text;
        ASSERT_TRUE(
            submit(i % 10 == 9 ? send(text, {{50, IdentifierType::kVirtgpuBlob}}) : send(text)));
    }
    destroy_blob(50);
    std::vector<UniqueFd> fds;
    EXPECT_EQ(hear(all.size(), &fds), all);
    EXPECT_EQ(fds.size(), 20u);
}

TEST_F(ChannelTest, SmallMessagesThatWaitCostWhatIsChargedForThem) {
    connect();
    const auto held = [] {
        const struct mallinfo2 info = ::mallinfo2();
        return info.uordblks + info.hblkhd;
    };
    const size_t before = held();
    std::string all;
    for (int i = 0; i < 100'000; ++i) {
        const std::string text(1, static_cast<char>('a' + i % 26));
        all += text;
        ASSERT_TRUE(submit(send(text)));
    }
    EXPECT_GT(budget->used(BudgetKind::kHostBytes), 90'000u);
    EXPECT_LT(budget->used(BudgetKind::kHostBytes), 200'000u);
    EXPECT_LT(held(), before + 1'000'000) << "nothing in builds with a sanitizer";
    EXPECT_TRUE(hear(all.size()) == all);
    ASSERT_TRUE(sink->run_until([&] { return budget->used(BudgetKind::kHostBytes) == 0; }));
}

TEST_F(ChannelTest, ARingThatGoesEndsTheChannel) {
    connect();
    const uint64_t ticket = poll();
    ring->revoke();
    say("to nowhere");
    EXPECT_TRUE(wait_fence(ticket));
    EXPECT_TRUE(is_closed_for_compositor());
}

TEST_F(ChannelTest, DestroyingTheContextClosesTheConnection) {
    connect();
    static_cast<void>(poll());
    destroy_context();
    EXPECT_TRUE(is_closed_for_compositor());
}

TEST_F(ChannelTest, AResetClosesAll) {
    connect();
    const auto requirements = image(64, 64, "XR24");
    ASSERT_TRUE(create_blob(50, requirements.blob_id, requirements.size));
    EXPECT_TRUE(wait_for([&](auto done) { renderer->reset(std::move(done)); }));
    EXPECT_TRUE(is_closed_for_compositor());
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 0u);
    connect();
}

// --- files ---

TEST_F(ChannelTest, AKeymapIsMappedReadOnly) {
    connect();
    const std::string keymap(5000, 'k');
    const UniqueFd file =
        memory_file(keymap, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    say("keymap", {file.get()});
    const RingMessage message = next_message();
    ASSERT_EQ(message.identifiers.size(), 1u);
    const auto [id, type, size] = message.identifiers[0];
    EXPECT_EQ(type, static_cast<uint32_t>(IdentifierType::kVirtgpuBlob));
    EXPECT_EQ(size, 5000u);
    const auto blob = create_blob(60, id, size);
    ASSERT_TRUE(blob);
    EXPECT_EQ(blob->map_info, 0x11u);
    const Mapping mapping = map(60);
    EXPECT_EQ(text_of(mapping.bytes().first(5000)), keymap);
    EXPECT_FALSE(create_blob(61, id, size)) << "it is consumed";
    destroy_blob(60);
}

/// What its owner may shrink is copied: a mapping of it could end the guest.
TEST_F(ChannelTest, AFileThatMayShrinkIsCopied) {
    connect();
    const UniqueFd file = memory_file("as it was", 0);
    say("m", {file.get()});
    const RingMessage message = next_message();
    ASSERT_EQ(message.identifiers.size(), 1u);
    const auto blob = create_blob(60, message.identifiers[0][0], message.identifiers[0][2]);
    ASSERT_TRUE(blob);
    EXPECT_EQ(blob->map_info, 0x11u);
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);
    EXPECT_EQ(text_of(map(60).bytes().first(9)), "as it was");
    destroy_blob(60);
}

/// QEMU maps whole pages only; weston's keymaps end inside one, and may be written.
TEST_F(ChannelTest, AFileThatEndsInsideAPageIsCopied) {
    connect();
    for (const size_t size : {size_t{8192}, size_t{5000}}) {
        const UniqueFd file = memory_file(std::string(size, 'k'), F_SEAL_SHRINK);
        say("m", {file.get()});
        const auto blob = create_blob(60, next_message().identifiers.at(0)[0], size);
        ASSERT_TRUE(blob);
        const bool itself = size == 8192;
        EXPECT_EQ(blob->map_info, itself ? 0x31u : 0x11u);
        const Mapping mapping = map(60);
        EXPECT_EQ(mapping.bytes().size(), 8192u);
        ASSERT_EQ(::pwrite(file.get(), "new", 3, 0), 3);
        EXPECT_EQ(text_of(mapping.bytes().first(3)), itself ? "new" : "kkk");
        destroy_blob(60);
    }
}

/// QEMU 11.1 cannot map what may not be written.
TEST_F(ChannelTest, AFileForReadingIsCopied) {
    connect();
    const UniqueFd file = memory_file(std::string(8192, 'k'), F_SEAL_SHRINK | F_SEAL_WRITE);
    say("m", {file.get()});
    const auto blob = create_blob(60, next_message().identifiers.at(0)[0], 8192);
    ASSERT_TRUE(blob);
    EXPECT_EQ(blob->map_info, 0x11u);
    const auto shared = wait_for<rutabaga::SharedMemory>(
        [&](auto done) { renderer->export_blob(60, std::move(done)); });
    ASSERT_TRUE(shared);
    EXPECT_TRUE(examine_memory(shared->fd.get())->writable);
    EXPECT_EQ(text_of(map(60).bytes().first(3)), "kkk");
    destroy_blob(60);
}

TEST_F(ChannelTest, AFileThatShrinksBeforeItIsCopiedReadsAsZero) {
    connect();
    const UniqueFd file = memory_file(std::string(8192, 'f'), 0);
    say("m", {file.get()});
    const RingMessage message = next_message();
    ASSERT_EQ(::ftruncate(file.get(), 4), 0);
    ASSERT_TRUE(create_blob(60, message.identifiers.at(0)[0], 8192));
    const Mapping mapping = map(60);
    EXPECT_EQ(text_of(mapping.bytes().first(4)), "ffff");
    EXPECT_EQ(mapping.bytes()[4], std::byte{0});
    EXPECT_EQ(mapping.bytes()[8191], std::byte{0});
    destroy_blob(60);
}

/// rutabaga_gfx ends its worker for one.
TEST_F(ChannelTest, AFileOf6GiB) {
    connect();
    UniqueFd file(::memfd_create("large", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(file.get(), off_t{6} << 30), 0);
    ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    say("m", {file.get()});
    const RingMessage message = next_message();
    ASSERT_EQ(message.identifiers.size(), 1u);
    EXPECT_EQ(message.identifiers[0][2], 0xfffff000u);
    ASSERT_TRUE(create_blob(60, message.identifiers[0][0], message.identifiers[0][2]));
    destroy_blob(60);
    say("m", {file.get()});
    EXPECT_TRUE(create_blob(61, next_message().identifiers.at(0)[0], uint64_t{6} << 30));
    destroy_blob(61);
    say("m", {file.get()});
    EXPECT_FALSE(create_blob(62, next_message().identifiers.at(0)[0], (uint64_t{6} << 30) + 1));
}

/// rutabaga_gfx says 30 and fills 28 entries.
TEST_F(ChannelTest, ThirtyFilesInOneMessage) {
    connect();
    std::vector<UniqueFd> files;
    std::vector<int> fds;
    for (int i = 0; i < 30; ++i) {
        files.push_back(memory_file(std::string(1, static_cast<char>('A' + i)), F_SEAL_SHRINK));
        fds.push_back(files.back().get());
    }
    say("0123456789", fds);
    const RingMessage first = next_message();
    const RingMessage second = next_message();
    ASSERT_EQ(first.identifiers.size(), 28u);
    ASSERT_EQ(second.identifiers.size(), 2u);
    EXPECT_EQ(text_of(first.bytes), "012345678");
    EXPECT_EQ(text_of(second.bytes), "9");
    std::set<uint32_t> ids;
    for (const RingMessage* const message : {&first, &second})
        for (const auto& identifier : message->identifiers) ids.insert(identifier[0]);
    EXPECT_EQ(ids.size(), 30u);
    ASSERT_TRUE(create_blob(60, second.identifiers[1][0], 1));
    EXPECT_EQ(map(60).bytes()[0], static_cast<std::byte>('A' + 29));
    destroy_blob(60);
    say("after");
    EXPECT_EQ(text_of(next_message().bytes), "after");
}

TEST_F(ChannelTest, MoreFilesThanBytesEndTheStream) {
    connect();
    const UniqueFd file = memory_file("x", F_SEAL_SHRINK);
    say("0", std::vector<int>(30, file.get()));
    EXPECT_TRUE(is_end(next_message()));
}

/// rutabaga_gfx ends its worker for the first of them, without a word to the guest.
TEST_F(ChannelTest, FilesNoGuestKnowsArePipesToIt) {
    connect();
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    const UniqueFd directory(::open("/", O_RDONLY | O_CLOEXEC));
    const UniqueFd path(::open("/", O_PATH | O_CLOEXEC));
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    say("odd", {read_end.get(), directory.get(), path.get(), null.get(), compositor.get()});
    const RingMessage message = next_message();
    ASSERT_EQ(message.identifiers.size(), 5u);
    for (const auto& [id, type, size] : message.identifiers) {
        EXPECT_EQ(type, static_cast<uint32_t>(IdentifierType::kWritePipe));
        EXPECT_TRUE(submit(write(id, "into nothing")));
        EXPECT_TRUE(submit(write(id, "", true)));
        EXPECT_FALSE(submit(write(id, "", true))) << "it is closed";
    }
    say("after");
    EXPECT_EQ(text_of(next_message().bytes), "after");
}

TEST_F(ChannelTest, FilesOverTheLimitEndTheStream) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 5;
    renderer.reset();
    budget = Budget::create(limits);
    start({{{ChannelType::kWayland, listener.path()}}});
    connect();
    const UniqueFd file = memory_file("x", F_SEAL_SHRINK);
    say("abcd", {file.get(), file.get(), file.get(), file.get()});
    EXPECT_EQ(next_message().identifiers.size(), 4u);
    say("e", {file.get()});
    EXPECT_TRUE(is_end(next_message()));
    EXPECT_TRUE(is_closed_for_compositor());
}

/// They are no files of ours, but each is an id that a compositor makes us keep.
TEST_F(ChannelTest, FilesNoGuestKnowsAreCounted) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 5;
    renderer.reset();
    budget = Budget::create(limits);
    start({{{ChannelType::kWayland, listener.path()}}});
    connect();
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int i = 0; i < 3; ++i) {
        say("a", {null.get()});
        EXPECT_EQ(next_message().identifiers.size(), 1u);
        EXPECT_TRUE(all_closed());
        EXPECT_EQ(budget->used(BudgetKind::kFiles), i + 2u);
    }
    // Until it is closed it is a file as well, and so one too many, unless the closer was faster.
    say("d", {null.get()});
    if (is_end(next_message())) return;
    say("e", {null.get()});
    EXPECT_TRUE(is_end(next_message()));
}

TEST_F(ChannelTest, FilesThatAreStillToBeToldAreCounted) {
    connect();
    const UniqueFd file = memory_file("x", F_SEAL_SHRINK);
    say("0123456789", std::vector<int>(100, file.get()));
    EXPECT_EQ(next_message().identifiers.size(), 28u);
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 101u);
    destroy_context();
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 0u);
}

TEST_F(ChannelTest, MemoryOfOthersIsCounted) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 3;
    renderer.reset();
    budget = Budget::create(limits);
    start({{{ChannelType::kWayland, listener.path()}}});
    connect();
    rutabaga::SharedMemory memory;
    memory.fd = memory_file("pixels", F_SEAL_SHRINK);
    memory.size = 4096;
    for (const uint32_t resource : {70, 71, 72})
        renderer->attach_resource(1, resource, {4096, nullptr, &memory});
    EXPECT_TRUE(submit(send("x", {{71, IdentifierType::kVirtgpuBlob}})));
    EXPECT_FALSE(submit(send("x", {{72, IdentifierType::kVirtgpuBlob}})));
    renderer->detach_resource(1, 70);
    renderer->attach_resource(1, 72, {4096, nullptr, &memory});
    EXPECT_TRUE(submit(send("x", {{72, IdentifierType::kVirtgpuBlob}})));
}

/// What is left of a message that the limit cut does not come after the end.
TEST_F(ChannelTest, NothingComesAfterTheEnd) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 5;
    renderer.reset();
    budget = Budget::create(limits);
    start({{{ChannelType::kWayland, listener.path()}}});
    connect();
    const UniqueFd file = memory_file("x", F_SEAL_SHRINK);
    say("0123456789", std::vector<int>(30, file.get()));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(is_end(next_message())) << i;
}

TEST_F(ChannelTest, AnImageReachesTheCompositor) {
    connect();
    const auto requirements = image(100'000, 1, "R8  ");
    EXPECT_EQ(requirements.size, 102'400u);
    EXPECT_FALSE(create_blob(50, requirements.blob_id, requirements.size - 4096));
    ASSERT_TRUE(create_blob(50, requirements.blob_id, requirements.size));
    const Mapping guest = map(50);
    std::memcpy(guest.data() + 99'999, "!", 1);
    ASSERT_TRUE(submit(send("create_pool", {{50, IdentifierType::kVirtgpuBlob}})));
    std::vector<UniqueFd> fds;
    EXPECT_EQ(hear(11, &fds), "create_pool");
    ASSERT_EQ(fds.size(), 1u);
    const Mapping theirs = *Mapping::peer_file(fds[0].get(), 0, 100'000, Access::kReadWrite);
    EXPECT_EQ(theirs.data()[99'999], static_cast<std::byte>('!'));
    // Again, from the same template: memory of its own.
    ASSERT_TRUE(create_blob(51, requirements.blob_id, requirements.size));
    EXPECT_EQ(map(51).data()[99'999], std::byte{0});
    destroy_blob(50);
    destroy_blob(51);
}

TEST_F(ChannelTest, OnlyWhatIsAttachedAndSharedCanBeSent) {
    connect();
    EXPECT_FALSE(submit(send("x", {{kRing, IdentifierType::kVirtgpuBlob}}))) << "guest memory";
    EXPECT_FALSE(submit(send("x", {{999, IdentifierType::kVirtgpuBlob}})));
    EXPECT_FALSE(submit(send("x", {{1, IdentifierType::kVirtgpuSync}})));
    EXPECT_FALSE(submit(send("x", {{1, static_cast<IdentifierType>(77)}})));
    const auto requirements = image(64, 64, "AR24");
    ASSERT_TRUE(create_blob(50, requirements.blob_id, requirements.size));
    renderer->detach_resource(1, 50);
    EXPECT_FALSE(submit(send("x", {{50, IdentifierType::kVirtgpuBlob}})));
    destroy_blob(50);
    ASSERT_TRUE(submit(send("fine")));
    EXPECT_EQ(hear(4), "fine");
}

TEST_F(ChannelTest, AnotherRenderersMemoryCanBeSent) {
    connect();
    const UniqueFd file = memory_file("pixels", F_SEAL_SHRINK);
    rutabaga::SharedMemory memory;
    memory.fd = file.duplicate();
    memory.size = 4096;
    renderer->attach_resource(1, 70, {4096, nullptr, &memory});
    memory.fd.reset();
    ASSERT_TRUE(submit(send("x", {{70, IdentifierType::kVirtgpuBlob}})));
    std::vector<UniqueFd> fds;
    EXPECT_EQ(hear(1, &fds), "x");
    ASSERT_EQ(fds.size(), 1u);
    EXPECT_EQ(text_of(Mapping::peer_file(fds[0].get(), 0, 6, Access::kRead)->bytes()), "pixels");
}

}  // namespace
}  // namespace swede::cross_domain::testing
