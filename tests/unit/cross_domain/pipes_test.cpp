// SPDX-License-Identifier: Apache-2.0
// Clipboards: pipes that pass over the connection, both ways, and events.
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <thread>

#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

struct PipesTest : CrossDomainTest {
    /// The guest asks for a paste: what the compositor gets to write into.
    UniqueFd paste(uint32_t id) {
        EXPECT_TRUE(submit(send("receive", {{id, IdentifierType::kReadPipe}})));
        std::vector<UniqueFd> fds;
        EXPECT_EQ(hear(7, &fds), "receive");
        EXPECT_EQ(fds.size(), 1u);
        return fds.empty() ? UniqueFd() : std::move(fds[0]);
    }
    /// The compositor asks for what the guest has: its reading end, and the guest's id.
    std::pair<UniqueFd, uint32_t> copy() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        const UniqueFd write_end(ends[1]);
        say("send", {write_end.get()});
        const RingMessage message = next_message();
        EXPECT_EQ(message.identifiers.at(0)[1], static_cast<uint32_t>(IdentifierType::kWritePipe));
        return {UniqueFd(ends[0]), message.identifiers.at(0)[0]};
    }
    static std::string read_all(int fd) {
        std::string text;
        char buffer[65536];
        for (ssize_t count; (count = ::read(fd, buffer, sizeof(buffer))) > 0;)
            text.append(buffer, static_cast<size_t>(count));
        return text;
    }
    static std::string numbered(size_t size) {
        std::string text(size, '\0');
        for (size_t i = 0; i < size; ++i)
            text[i] = static_cast<char>('!' + (i * 31 + i / 4072) % 90);
        return text;
    }
};

TEST_F(PipesTest, APasteIntoTheGuest) {
    connect();
    UniqueFd theirs = paste(0x80000001);
    ASSERT_EQ(::write(theirs.get(), "text", 4), 4);
    const RingMessage data = next_message();
    EXPECT_EQ(data.head.header.command, 6);
    EXPECT_EQ(data.read.identifier, 0x80000001u);
    EXPECT_EQ(data.read.hang_up, 0u);
    EXPECT_EQ(text_of(data.bytes), "text");
    theirs.reset();
    const RingMessage end = next_message();
    EXPECT_EQ(end.read.identifier, 0x80000001u);
    EXPECT_EQ(end.read.hang_up, 1u);
    EXPECT_TRUE(end.bytes.empty());
    // The id is free again.
    static_cast<void>(paste(0x80000001));
}

TEST_F(PipesTest, TenMegabytesIntoTheGuest) {
    connect();
    const UniqueFd theirs = paste(0x80000001);
    const std::string text = numbered(10 << 20);
    std::thread writer([&] {
        for (size_t done = 0; done < text.size();) {
            const ssize_t count = ::write(theirs.get(), text.data() + done, text.size() - done);
            if (count <= 0) break;
            done += static_cast<size_t>(count);
        }
    });
    std::string got;
    while (got.size() < text.size()) {
        const RingMessage message = next_message();
        ASSERT_EQ(message.head.header.command, 6);
        ASSERT_EQ(message.read.hang_up, 0u);
        got += text_of(message.bytes);
    }
    writer.join();
    EXPECT_TRUE(got == text);
}

/// "A 10 MB paste does not delay a frame."
TEST_F(PipesTest, TheCompositorsEventsComeBeforeAPaste) {
    connect();
    const UniqueFd theirs = paste(0x80000001);
    ASSERT_EQ(::write(theirs.get(), std::string(60'000, 'p').data(), 60'000), 60'000);
    EXPECT_EQ(next_message().head.header.command, 6);
    say("frame done");
    // At most one more piece of the paste, which was on its way.
    RingMessage message = next_message();
    if (message.head.header.command == 6) message = next_message();
    EXPECT_EQ(text_of(message.bytes), "frame done");
}

TEST_F(PipesTest, PastesTakeTurns) {
    connect();
    const UniqueFd first = paste(0x80000001);
    const UniqueFd second = paste(0x80000002);
    for (const UniqueFd* const fd : {&first, &second})
        ASSERT_EQ(::write(fd->get(), std::string(60'000, 'p').data(), 60'000), 60'000);
    std::map<uint32_t, int> pieces;
    for (int i = 0; i < 10; ++i) ++pieces[next_message().read.identifier];
    EXPECT_GE(pieces[0x80000001], 4);
    EXPECT_GE(pieces[0x80000002], 4);
}

/// rutabaga_gfx refuses a wrong guess and is out of step for ever.
TEST_F(PipesTest, TheGuestsIdCountsWhateverItIs) {
    connect();
    std::vector<UniqueFd> theirs;
    for (const uint32_t id : {0x80000005u, 0x80000002u, 0xffffffffu}) {
        theirs.push_back(paste(id));
        ASSERT_EQ(::write(theirs.back().get(), "x", 1), 1);
        EXPECT_EQ(next_message().read.identifier, id);
    }
    EXPECT_FALSE(submit(send("receive", {{0x80000005, IdentifierType::kReadPipe}}))) << "taken";
    EXPECT_FALSE(submit(send("receive", {{0, IdentifierType::kReadPipe}})));
    // One that was made before the failure ends at once: nobody has its other end.
    EXPECT_FALSE(submit(send(
        "receive", {{0x80000007, IdentifierType::kReadPipe}, {0, IdentifierType::kReadPipe}})));
    const RingMessage end = next_message();
    EXPECT_EQ(end.read.identifier, 0x80000007u);
    EXPECT_EQ(end.read.hang_up, 1u);
}

TEST_F(PipesTest, TwoPipesInOneMessage) {
    connect();
    ASSERT_TRUE(submit(send("two", {{0x80000001, IdentifierType::kReadPipe},
                                    {0x80000002, IdentifierType::kReadPipe}})));
    std::vector<UniqueFd> fds;
    EXPECT_EQ(hear(3, &fds), "two");
    ASSERT_EQ(fds.size(), 2u);
    ASSERT_EQ(::write(fds[1].get(), "second", 6), 6);
    const RingMessage message = next_message();
    EXPECT_EQ(message.read.identifier, 0x80000002u);
    EXPECT_EQ(text_of(message.bytes), "second");
}

TEST_F(PipesTest, ACopyOutOfTheGuest) {
    connect();
    const auto [theirs, id] = copy();
    ASSERT_TRUE(submit(write(id, "some ")));
    ASSERT_TRUE(submit(write(id, "text", true)));
    EXPECT_EQ(read_all(theirs.get()), "some text");
    EXPECT_FALSE(submit(write(id, "more")));
}

TEST_F(PipesTest, AnEmptyWriteMayEndIt) {
    connect();
    const auto [theirs, id] = copy();
    ASSERT_TRUE(submit(write(id, "text")));
    ASSERT_TRUE(submit(write(id, "", true)));
    EXPECT_EQ(read_all(theirs.get()), "text");
}

/// rutabaga_gfx writes with the VMM's thread, which waits for the reader, or loses the rest.
TEST_F(PipesTest, TenMegabytesOutOfTheGuestToASlowReader) {
    connect();
    const auto [theirs, id] = copy();
    const std::string text = numbered(10 << 20);
    for (size_t done = 0; done < text.size(); done += 4096)
        ASSERT_TRUE(submit(
            write(id, std::string_view(text).substr(done, 4096), done + 4096 >= text.size())));
    EXPECT_TRUE(read_all(theirs.get()) == text);
}

TEST_F(PipesTest, AReaderThatIsAlwaysBehindHoldsWhatWaits) {
    connect();
    const auto [theirs, id] = copy();
    const std::string text(32 << 10, 'x');
    std::string got(text.size(), '\0');
    size_t ahead = 0;
    for (size_t passed = 0; passed < (50u << 20); passed += text.size()) {
        ASSERT_TRUE(submit(write(id, text)));
        if (++ahead <= 8) continue;  // of which the kernel's pipe takes two
        for (size_t read = 0; read < text.size();) {
            const ssize_t count = ::read(theirs.get(), got.data(), text.size() - read);
            ASSERT_GT(count, 0);
            read += static_cast<size_t>(count);
        }
        ASSERT_LT(budget->used(BudgetKind::kHostBytes), 1u << 20) << passed;
    }
    destroy_context();
}

TEST_F(PipesTest, AReaderThatGoesIsNoSignal) {
    connect();
    auto [theirs, id] = copy();
    theirs.reset();
    ASSERT_TRUE(submit(write(id, "to nobody")));
    ASSERT_TRUE(sink->run_until([&] { return budget->used(BudgetKind::kHostBytes) == 0; }));
    EXPECT_TRUE(submit(write(id, "still to nobody", true)));
    EXPECT_FALSE(submit(write(id, "")));
}

TEST_F(PipesTest, AReaderThatNeverReadsIsGivenUp) {
    connect();
    const auto [theirs, id] = copy();
    const std::string text(60'000, 'x');
    Result<void> written;
    size_t count = 0;
    for (; count < 10'000 && written; ++count) written = submit(write(id, text));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kOutOfMemory);
    EXPECT_GT(count * text.size(), size_t{60} << 20);
    ASSERT_TRUE(submit(send("others go on")));
    EXPECT_EQ(hear(12), "others go on");
}

/// The flag that says whether writing waits belongs to the description, which the compositor has
/// too; rutabaga_gfx writes there.
TEST_F(PipesTest, ACompositorThatMakesItsPipeWaitStopsNobody) {
    connect();
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    say("send", {write_end.get()});
    const uint32_t id = next_message().identifiers.at(0)[0];
    ASSERT_EQ(::fcntl(write_end.get(), F_SETFL, 0), 0);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(submit(write(id, std::string(50'000, 'w'))));
    say("still here");  // by the same thread that writes
    EXPECT_EQ(text_of(next_message().bytes), "still here");
    ASSERT_TRUE(submit(send("and here")));
    EXPECT_EQ(hear(8), "and here");
    destroy_context();
}

/// One with a name is not opened anew.
TEST_F(PipesTest, APipeWithANameIsWrittenWithoutWaiting) {
    connect();
    const std::string path = listener.directory() + "/fifo";
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    const UniqueFd read_end(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    const UniqueFd write_end(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(write_end);
    say("send", {write_end.get()});
    const uint32_t id = next_message().identifiers.at(0)[0];
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(submit(write(id, std::string(50'000, 'w'))));
    say("still here");
    EXPECT_EQ(text_of(next_message().bytes), "still here");
    destroy_context();
}

TEST_F(PipesTest, AnEndedContextLeavesNoPipe) {
    connect();
    const UniqueFd theirs = paste(0x80000001);
    const auto [reader, id] = copy();
    destroy_context();
    pollfd poll{theirs.get(), POLLOUT, 0};
    ASSERT_EQ(::poll(&poll, 1, 60'000), 1);
    EXPECT_NE(poll.revents & POLLERR, 0) << "nobody reads any more";
    EXPECT_EQ(read_all(reader.get()), "");
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 0u);
}

TEST_F(PipesTest, PipesOutliveTheConnection) {
    connect();
    const UniqueFd theirs = paste(0x80000001);
    compositor.reset();
    ASSERT_EQ(::write(theirs.get(), "late", 4), 4);
    bool data = false;
    bool end = false;
    for (int i = 0; i < 20 && !(data && end); ++i) {
        const RingMessage message = next_message();
        data = data || (message.head.header.command == 6 && text_of(message.bytes) == "late");
        end = end || is_end(message);
    }
    EXPECT_TRUE(data);
    EXPECT_TRUE(end);
}

// --- events ---

TEST_F(PipesTest, AnEventIsWrittenAndRead) {
    create_context();
    ASSERT_TRUE(submit(command(Command::kInit, 36, {kQueryRing, kRing, 1})));
    compositor = listener.accept();
    const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    say("event", {event.get()});
    const RingMessage message = next_message();
    const auto [id, type, size] = message.identifiers.at(0);
    EXPECT_EQ(type, static_cast<uint32_t>(IdentifierType::kEvent));
    const uint64_t three = 3;
    ASSERT_TRUE(submit(write(id, {reinterpret_cast<const char*>(&three), 8})));
    EXPECT_FALSE(submit(write(id, "short")));
    uint64_t value = 0;
    ASSERT_TRUE(sink->run_until([&] { return ::read(event.get(), &value, 8) == 8; }));
    EXPECT_EQ(value, 3u);

    ASSERT_TRUE(submit(command(Command::kReadCreateEvent, 16, {id})));
    const uint64_t ticket = poll();
    const uint64_t five = 5;
    ASSERT_EQ(::write(event.get(), &five, 8), 8);
    ASSERT_TRUE(wait_fence(ticket));
    const RingMessage read = read_ring(ring_pages);
    EXPECT_EQ(read.read.identifier, id);
    EXPECT_EQ(read.read.hang_up, 0u);
    ASSERT_EQ(read.bytes.size(), 8u);
    std::memcpy(&value, read.bytes.data(), 8);
    EXPECT_EQ(value, 5u);
    EXPECT_FALSE(submit(command(Command::kReadCreateEvent, 16, {id + 1})));
}

TEST_F(PipesTest, AnEventThatIsFullStopsNobody) {
    create_context();
    ASSERT_TRUE(submit(command(Command::kInit, 36, {kQueryRing, kRing, 1})));
    compositor = listener.accept();
    const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    say("event", {event.get()});
    const uint32_t id = next_message().identifiers.at(0)[0];
    ASSERT_TRUE(submit(command(Command::kReadCreateEvent, 16, {id})));
    // Nothing to read, and a flag that says to wait for it: asked on the device thread.
    ASSERT_EQ(::fcntl(event.get(), F_SETFL, 0), 0);
    const uint64_t ticket = poll();
    say("still here");
    ASSERT_TRUE(wait_fence(ticket));
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "still here");
    // One unit is left, so that poll() says that there is room.
    const uint64_t most = ~uint64_t{0} - 2;
    ASSERT_EQ(::write(event.get(), &most, 8), 8);
    const uint64_t three = 3;
    ASSERT_TRUE(submit(write(id, {reinterpret_cast<const char*>(&three), 8})));
    const RingMessage read = next_message();
    EXPECT_EQ(read.read.identifier, id);
    EXPECT_EQ(read.bytes.size(), 8u);
    say("and here");
    RingMessage message = next_message();
    if (message.head.header.command == 6) message = next_message();  // the three, if they came late
    EXPECT_EQ(text_of(message.bytes), "and here");
    destroy_context();
}

/// Wayland's proxies end on a type they do not know.
TEST_F(PipesTest, AnEventIsAPipeToAWaylandProxy) {
    connect();
    const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    say("event", {event.get()});
    EXPECT_EQ(next_message().identifiers.at(0)[1],
              static_cast<uint32_t>(IdentifierType::kWritePipe));
}

TEST_F(PipesTest, LibkrunHasANumberOfItsOwnForEvents) {
    create_context();
    ASSERT_TRUE(submit(command(Command::kInit, 24, {kQueryRing, kRing, 1, 1})));
    compositor = listener.accept();
    const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    say("event", {event.get()});
    EXPECT_EQ(next_message().identifiers.at(0)[1],
              static_cast<uint32_t>(IdentifierType::kEventLibkrun));
}

}  // namespace
}  // namespace swede::cross_domain::testing
