// SPDX-License-Identifier: Apache-2.0
#include "test_renderer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/checked.h"

namespace swede::test {
namespace {

using rutabaga::Completion;
using rutabaga::ContextId;
using rutabaga::ResourceId;

constexpr uint64_t kMax3dSize = uint64_t{64} << 20;  ///< bytes
constexpr uint64_t kFillChunk = 1024;                ///< words
constexpr int kMaxFilesCounted = 65536;

/// Bytes of a 3D resource: four each texel, above 0 and bounded.
Result<uint64_t> size_of_3d(const wire::ResourceCreate3d& request) {
    auto size = checked_mul<uint64_t>(request.width, request.height);
    if (size) size = checked_mul<uint64_t>(*size, 4);
    if (!size || *size == 0 || *size > kMax3dSize)
        return fail(ErrorCode::kOutOfMemory, "A resource of {} x {} texels is not possible.",
                    request.width, request.height);
    return *size;
}

int ring_of(std::optional<uint8_t> ring) {
    return ring ? *ring : -1;
}

uint32_t try_to_escape() {
    uint32_t worked = 0;
    if (const UniqueFd file(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)); file)
        worked |= SWEDE_TEST_ESCAPE_OPEN;
    if (const UniqueFd made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); made)
        worked |= SWEDE_TEST_ESCAPE_SOCKET;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    if (child > 0) worked |= SWEDE_TEST_ESCAPE_FORK;
    void* const code =
        ::mmap(nullptr, kPageSize, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code != MAP_FAILED) {
        ::munmap(code, kPageSize);
        worked |= SWEDE_TEST_ESCAPE_EXECUTE;
    }
    if (::ptrace(PTRACE_SEIZE, ::getppid(), nullptr, nullptr) == 0)
        worked |= SWEDE_TEST_ESCAPE_TRACE;
    if (::kill(::getppid(), 0) == 0) worked |= SWEDE_TEST_ESCAPE_SIGNAL;
    if (const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
        event && ::fcntl(event.get(), F_SETOWN, ::getppid()) == 0)
        worked |= SWEDE_TEST_ESCAPE_OWNER;
    return worked;
}

uint32_t count_files() {
    uint32_t count = 0;
    for (int fd = 0; fd < kMaxFilesCounted; ++fd)
        if (::fcntl(fd, F_GETFL) >= 0) ++count;
    return count;
}

[[noreturn]] void hang() {
    for (;;) ::pause();
}

}  // namespace

std::span<std::byte> TestRenderer::Memory::bytes() const {
    const Mapping& where = placed ? placed : home;
    return where ? where.bytes().first(size) : std::span<std::byte>();
}

TestRenderer::TestRenderer(std::shared_ptr<rutabaga::CompletionSink> sink, Faults faults)
    : sink_(std::move(sink)), faults_(faults) {
    const swede_test_capset data{SWEDE_TEST_CAPSET_MAGIC, SWEDE_TEST_MAX_RINGS,
                                 SWEDE_TEST_MAX_BLOB_SIZE};
    const auto bytes = bytes_of(data);
    capset_ = {SWEDE_TEST_CAPSET_ID, SWEDE_TEST_CAPSET_VERSION, {bytes.begin(), bytes.end()}};
}

template <typename T, typename Value>
void TestRenderer::answer(Completion<T> done, Value value) {
    Result<T> result;
    if (std::exchange(fail_, false))
        result = fail(ErrorCode::kOutOfMemory, "The test asked for a failure.");
    else
        result = std::move(value);
    if (std::exchange(never_answer_, false)) {
        unanswered_.emplace_back([done = std::move(done)] {});
        return;
    }
    const auto delay = std::exchange(slow_, std::chrono::milliseconds(0));
    if (delay.count() == 0) return done(std::move(result));
    delayed_.schedule(Clock::now() + delay,
                      [done = std::move(done), result = std::move(result)]() mutable {
                          done(std::move(result));
                      });
}

// --- contexts ---

void TestRenderer::create_context(ContextId context, const rutabaga::ContextInfo& info,
                                  Completion<> done) {
    if (info.debug_name == SWEDE_TEST_REFUSED_NAME)
        return done(fail(ErrorCode::kUnsupported, "The test asked for no context."));
    contexts_[context];
    done({});
}

void TestRenderer::destroy_context(ContextId context, Completion<> done) {
    contexts_.erase(context);
    timelines_.erase(timelines_.lower_bound({context, -1}),
                     timelines_.upper_bound({context, std::numeric_limits<int>::max()}));
    done({});
}

void TestRenderer::attach_resource(ContextId context, ResourceId resource,
                                   const rutabaga::AttachedResource& view) {
    const auto found = contexts_.find(context);
    if (found == contexts_.end()) return;
    found->second.sizes[resource] = view.size;
    if (view.backing) found->second.attached[resource] = view.backing;
}

void TestRenderer::detach_resource(ContextId context, ResourceId resource) {
    const auto found = contexts_.find(context);
    if (found == contexts_.end()) return;
    found->second.sizes.erase(resource);
    found->second.attached.erase(resource);
}

// --- resources ---

TestRenderer::Memory* TestRenderer::memory_of(ResourceId resource) {
    const auto found = resources_.find(resource);
    return found == resources_.end() ? nullptr : &found->second;
}

void TestRenderer::create_blob(ContextId, ResourceId resource, const rutabaga::BlobRequest& request,
                               std::shared_ptr<Backing> backing,
                               Completion<rutabaga::BlobInfo> done) {
    const auto pages = page_align(request.size);
    if (!pages || *pages > SWEDE_TEST_MAX_BLOB_SIZE)
        return done(
            fail(ErrorCode::kOutOfMemory, "A blob of {} bytes is too large.", request.size));
    Memory memory;
    memory.size = request.size;
    memory.backing = std::move(backing);
    auto file = create_memfd("swede-test-blob", *pages);
    if (!file) return done(std::unexpected(file.error()));
    auto home = Mapping::own_file(file->get(), 0, *pages, Access::kReadWrite);
    if (!home) return done(std::unexpected(home.error()));
    memory.file = std::move(*file);
    memory.home = std::move(*home);
    const bool made = !fail_;
    if (made) resources_.insert_or_assign(resource, std::move(memory));
    answer(std::move(done), rutabaga::BlobInfo{wire::kMapCacheCached});
}

void TestRenderer::create_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                             Completion<> done) {
    const auto size = size_of_3d(request);
    if (!size) return done(std::unexpected(size.error()));
    auto file = create_memfd("swede-test-3d", *page_align(*size));
    if (!file) return done(std::unexpected(file.error()));
    done(add_3d(resource, request.width, *size, std::move(*file)));
}

void TestRenderer::import_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                             rutabaga::SharedMemory memory, Completion<> done) {
    const auto size = size_of_3d(request);
    if (!size) return done(std::unexpected(size.error()));
    if (memory.offset != 0 || memory.size < *size)
        return done(fail(ErrorCode::kInvalidParameter,
                         "Memory of {} bytes at {} does not hold resource {} of {} bytes.",
                         memory.size, memory.offset, resource, *size));
    done(add_3d(resource, request.width, *size, std::move(memory.fd)));
}

Result<void> TestRenderer::add_3d(ResourceId resource, uint32_t width, uint64_t size,
                                  UniqueFd file) {
    Memory memory;
    memory.home =
        SWEDE_TRY(Mapping::peer_file(file.get(), 0, *page_align(size), Access::kReadWrite));
    memory.size = size;
    memory.file = std::move(file);
    memory.is_3d = true;
    memory.stride = width * 4;
    resources_.insert_or_assign(resource, std::move(memory));
    return {};
}

void TestRenderer::attach_backing(ResourceId resource, std::shared_ptr<Backing> backing) {
    if (Memory* const memory = memory_of(resource)) memory->backing = std::move(backing);
}

void TestRenderer::detach_backing(ResourceId resource) {
    if (Memory* const memory = memory_of(resource)) memory->backing.reset();
}

void TestRenderer::destroy_resource(ResourceId resource, Completion<> done) {
    resources_.erase(resource);
    done({});
}

void TestRenderer::export_blob(ResourceId resource, Completion<rutabaga::SharedMemory> done) {
    Memory* const memory = memory_of(resource);
    if (memory == nullptr)
        return done(fail(ErrorCode::kInvalidResource, "There is no resource {}.", resource));
    UniqueFd copy = (memory->placed ? memory->window : memory->file).duplicate();
    if (!copy) return done(fail_errno("Cannot share a blob", errno));
    answer(std::move(done),
           rutabaga::SharedMemory{std::move(copy), memory->placed ? memory->window_offset : 0,
                                  memory->home.size(), memory->stride});
}

void TestRenderer::place_blob(ResourceId resource, const rutabaga::WindowRange& range,
                              Completion<> done) {
    Memory* const memory = memory_of(resource);
    if (memory == nullptr || memory->is_3d || memory->placed)
        return done(fail(ErrorCode::kInvalidResource, "Resource {} cannot be placed.", resource));
    if (range.size < memory->size)
        return done(fail(ErrorCode::kInvalidParameter,
                         "{} bytes of window do not hold the {} of "
                         "resource {}.",
                         range.size, memory->size, resource));
    if (fail_) return answer(std::move(done), Result<void>());
    auto placed = Mapping::peer_file(range.fd, range.offset, range.size, Access::kReadWrite);
    if (!placed) return done(std::unexpected(placed.error()));
    memory->window = UniqueFd(::fcntl(range.fd, F_DUPFD_CLOEXEC, 0));
    if (!memory->window) return done(fail_errno("Cannot keep the window", errno));
    memory->window_offset = range.offset;
    std::memcpy(placed->data(), memory->home.data(), memory->size);
    memory->placed = std::move(*placed);
    answer(std::move(done), Result<void>());
}

void TestRenderer::displace_blob(ResourceId resource, Completion<> done) {
    Memory* const memory = memory_of(resource);
    if (memory == nullptr || !memory->placed)
        return done(fail(ErrorCode::kInvalidResource, "Resource {} is not placed.", resource));
    std::memcpy(memory->home.data(), memory->placed.data(), memory->size);
    memory->placed = {};
    memory->window.reset();
    answer(std::move(done), Result<void>());
}

void TestRenderer::transfer(bool to_host, ResourceId resource, const wire::TransferHost3d& transfer,
                            Completion<> done) {
    Memory* const memory = memory_of(resource);
    if (memory == nullptr || !memory->backing)
        return done(
            fail(ErrorCode::kInvalidResource, "Resource {} has no guest memory.", resource));
    const uint64_t start = uint64_t{transfer.box.x} * 4;
    const uint64_t size = uint64_t{transfer.box.width} * 4;
    if (!range_fits(start, size, memory->size))
        return done(fail(ErrorCode::kInvalidParameter, "The transfer is outside the resource."));
    const auto bytes = memory->bytes().subspan(start, size);
    done(to_host ? memory->backing->read(transfer.offset, bytes)
                 : memory->backing->write(transfer.offset, bytes));
}

void TestRenderer::transfer_to_host(ContextId, ResourceId resource,
                                    const wire::TransferHost3d& transfer_, Completion<> done) {
    transfer(true, resource, transfer_, std::move(done));
}

void TestRenderer::transfer_from_host(ContextId, ResourceId resource,
                                      const wire::TransferHost3d& transfer_, Completion<> done) {
    transfer(false, resource, transfer_, std::move(done));
}

// --- commands ---

Result<void> TestRenderer::submit(ContextId context, std::optional<uint8_t> ring,
                                  std::span<const std::byte> commands) {
    ByteReader reader(commands);
    while (reader.remaining() != 0) {
        const auto command = SWEDE_TRY(reader.read<Command>());
        if (command.size < sizeof(Command))
            return fail(ErrorCode::kInvalidParameter, "A command of {} bytes is too short.",
                        command.size);
        const auto data = SWEDE_TRY(reader.read_bytes(command.size - sizeof(Command)));
        SWEDE_TRY(execute(context, {context, ring_of(ring)}, command, data));
    }
    return {};
}

Result<void> TestRenderer::execute(ContextId context, TimelineId timeline, const Command& command,
                                   std::span<const std::byte> data) {
    const auto write_word = [&](uint32_t word) {
        return write(context, command.resource, command.offset, bytes_of(word));
    };
    switch (command.operation) {
        case SWEDE_TEST_ECHO:
            return write(context, command.resource, command.offset, data);
        case SWEDE_TEST_ADD: {
            uint32_t word = 0;
            SWEDE_TRY(read(context, command.resource, command.offset,
                           std::as_writable_bytes(std::span(&word, 1))));
            return write_word(word + command.value);
        }
        case SWEDE_TEST_FILL:
            return fill(context, command);
        case SWEDE_TEST_DELAY: {
            Timeline& state = timelines_[timeline];
            state.busy_until =
                std::max(state.busy_until, Clock::now()) + std::chrono::milliseconds(command.value);
            return {};
        }
        case SWEDE_TEST_STALL_RING:
            timelines_[timeline].stalled = true;
            return {};
        case SWEDE_TEST_SLOW:
            slow_ = std::chrono::milliseconds(command.value);
            return {};
        case SWEDE_TEST_FAIL:
            fail_ = true;
            return {};
        case SWEDE_TEST_NEVER_ANSWER:
            never_answer_ = true;
            return {};
        case SWEDE_TEST_REFUSE:
            return fail(ErrorCode::kInvalidParameter, "The test asked for a refusal.");
        case SWEDE_TEST_LOSE_CONTEXT:
            sink_->context_lost(context, Error{ErrorCode::kDeviceLost, "The test asked for it."});
            return {};
        case SWEDE_TEST_CRASH:
            if (faults_ == Faults::kAll) std::abort();
            break;
        case SWEDE_TEST_HANG:
            if (faults_ == Faults::kAll) hang();
            break;
        case SWEDE_TEST_ESCAPE:
            if (faults_ == Faults::kAll) return write_word(try_to_escape());
            break;
        case SWEDE_TEST_COUNT_FILES:
            return write_word(count_files());
        case SWEDE_TEST_NEW_FILE: {
            Memory* const memory = memory_of(command.resource);
            if (memory == nullptr || memory->placed) break;
            memory->file = SWEDE_TRY(create_memfd("swede-test-moved", memory->home.size()));
            memory->home = SWEDE_TRY(
                Mapping::own_file(memory->file.get(), 0, memory->home.size(), Access::kReadWrite));
            return {};
        }
        default:
            break;
    }
    return fail(ErrorCode::kInvalidParameter, "The test renderer does not do {}.",
                command.operation);
}

Result<void> TestRenderer::write(ContextId context, ResourceId resource, uint64_t offset,
                                 std::span<const std::byte> bytes) {
    const auto owner = contexts_.find(context);
    if (owner == contexts_.end() || !owner->second.sizes.contains(resource))
        return fail(ErrorCode::kInvalidResource, "Resource {} is not attached.", resource);
    if (Memory* const memory = memory_of(resource)) {
        if (!range_fits(offset, bytes.size(), memory->size))
            return fail(ErrorCode::kInvalidParameter, "Offset {} is outside resource {}.", offset,
                        resource);
        if (!bytes.empty())
            std::memcpy(memory->bytes().data() + offset, bytes.data(), bytes.size());
        return {};
    }
    const auto attached = owner->second.attached.find(resource);
    if (attached == owner->second.attached.end())
        return fail(ErrorCode::kInvalidResource, "Resource {} has no memory.", resource);
    return attached->second->write(offset, bytes);
}

Result<void> TestRenderer::read(ContextId context, ResourceId resource, uint64_t offset,
                                std::span<std::byte> bytes) {
    const auto owner = contexts_.find(context);
    if (owner == contexts_.end() || !owner->second.sizes.contains(resource))
        return fail(ErrorCode::kInvalidResource, "Resource {} is not attached.", resource);
    if (Memory* const memory = memory_of(resource)) {
        if (!range_fits(offset, bytes.size(), memory->size))
            return fail(ErrorCode::kInvalidParameter, "Offset {} is outside resource {}.", offset,
                        resource);
        std::memcpy(bytes.data(), memory->bytes().data() + offset, bytes.size());
        return {};
    }
    const auto attached = owner->second.attached.find(resource);
    if (attached == owner->second.attached.end())
        return fail(ErrorCode::kInvalidResource, "Resource {} has no memory.", resource);
    return attached->second->read(offset, bytes);
}

Result<void> TestRenderer::fill(ContextId context, const Command& command) {
    std::vector<uint32_t> words(kFillChunk);
    uint32_t next = command.value;
    uint64_t offset = command.offset;
    for (uint64_t left = command.argument; left != 0;) {
        const uint64_t count = std::min(left, kFillChunk);
        for (uint64_t i = 0; i < count; ++i) words[i] = next++;
        SWEDE_TRY(
            write(context, command.resource, offset, std::as_bytes(std::span(words).first(count))));
        left -= count;
        offset += count * sizeof(uint32_t);
    }
    return {};
}

void TestRenderer::create_fence(const rutabaga::Fence& fence) {
    const auto found = timelines_.find({fence.context, ring_of(fence.ring)});
    if (found == timelines_.end()) return sink_->fence_done(fence.ticket);
    if (found->second.stalled) return;
    // Through the queue even if it is over by now: fences before it may still be in there.
    delayed_.schedule(found->second.busy_until,
                      [sink = sink_, ticket = fence.ticket] { sink->fence_done(ticket); });
}

void TestRenderer::reset(Completion<> done) {
    delayed_.clear();
    contexts_.clear();
    resources_.clear();
    timelines_.clear();
    slow_ = std::chrono::milliseconds(0);
    fail_ = false;
    const bool never = std::exchange(never_answer_, false);
    unanswered_.clear();
    if (never)
        unanswered_.emplace_back([done = std::move(done)] {});
    else
        done({});
}

}  // namespace swede::test
