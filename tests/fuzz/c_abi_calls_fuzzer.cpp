// SPDX-License-Identifier: Apache-2.0
// A VMM whose guest is hostile: the input is a row of calls of one instance, with a renderer that
// fails, is late and loses contexts as the commands in them say.
// Parsers: src/transports/c_abi/instance_resources.cpp src/transports/c_abi/instance.cpp
// Parsers: src/transports/c_abi/mapped_blobs.cpp src/transports/c_abi/qemu_quirks.cpp
// Parsers: src/transports/c_abi/caller_memory.cpp src/transports/c_abi/fence_book.cpp
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "require.h"
#include "small_limits.h"
#include "test_renderer.h"
#include "transports/c_abi/caller_memory.h"
#include "transports/c_abi/instance.h"
#include "transports/c_abi/qemu_quirks.h"

namespace {

using namespace swede;
using namespace swede::c_abi;
using fuzz::require;

/// Takes numbers from the front of the input; 0 when it is used up.
class Input {
  public:
    explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    uint8_t byte() {
        if (bytes_.empty()) return 0;
        const uint8_t value = bytes_[0];
        bytes_ = bytes_.subspan(1);
        return value;
    }
    /// Mostly small, as ids and sizes are.
    uint32_t word() {
        const uint8_t kind = byte();
        if (kind < 0xfc) return kind;
        if (kind == 0xfc) return ~uint32_t{0} - byte();
        if (kind == 0xfd) return uint32_t{byte()} << 12;
        uint32_t value = 0;
        for (int i = 0; i < 4; ++i) value = value << 8 | byte();
        return value;
    }
    uint64_t long_word() { return (byte() & 1) != 0 ? uint64_t{word()} << 32 | word() : word(); }
    std::span<const uint8_t> bytes(size_t size) {
        const auto head = bytes_.first(std::min(size, bytes_.size()));
        bytes_ = bytes_.subspan(head.size());
        return head;
    }

  private:
    std::span<const uint8_t> bytes_;
};

/// What the VMM was promised of fences: each once, in order on its timeline.
class Fences {
  public:
    using Timeline = std::pair<uint32_t, uint64_t>;  ///< context and ring, or neither

    static Timeline timeline_of(const rutabaga_fence& fence) {
        if ((fence.flags & RUTABAGA_FLAG_INFO_RING_IDX) == 0) return {0, uint64_t{1} << 32};
        return {fence.ctx_id, fence.ring_idx};
    }
    void expect(const rutabaga_fence& fence) {
        const std::scoped_lock lock(mutex_);
        expected_[timeline_of(fence)].push_back(fence.fence_id);
    }
    void reached(const rutabaga_fence& fence) {
        const std::scoped_lock lock(mutex_);
        std::deque<uint64_t>& ids = expected_[timeline_of(fence)];
        require(!ids.empty() && ids.front() == fence.fence_id);
        ids.pop_front();
    }
    void all_are_reached() {
        const std::scoped_lock lock(mutex_);
        for (const auto& [timeline, ids] : expected_) require(ids.empty());
    }

  private:
    std::mutex mutex_;
    std::map<Timeline, std::deque<uint64_t>> expected_;
};

/// Guest memory for all inputs: lists of pieces point into it.
std::array<uint8_t, 1 << 16> guest;

class Run {
  public:
    explicit Run(Input& input) : input_(input) {
        Options options;
        options.callbacks = {reinterpret_cast<uint64_t>(&fences_),
                             [](uint64_t fences, const rutabaga_fence* fence) {
                                 reinterpret_cast<Fences*>(fences)->reached(*fence);
                             },
                             [](uint64_t, const rutabaga_debug* debug) {
                                 require(std::strlen(debug->message) != 0);
                             }};
        const uint8_t kind = input_.byte();
        if ((kind & 1) == 0) options.capset_mask = uint64_t{1} << SWEDE_TEST_CAPSET_ID;
        options.answer_limit = std::chrono::milliseconds(2);
        options.limits = fuzz::limits_with({{BudgetKind::kHostBytes, 1 << 20},
                                            {BudgetKind::kResources, 24},
                                            {BudgetKind::kContexts, 4},
                                            {BudgetKind::kBackingSegments, 64},
                                            {BudgetKind::kMappings, 6}});
        instance_ = Instance::create(std::move(options), [](const RendererRequest& request) {
                        MadeRenderers made;
                        made.renderers.push_back(std::make_unique<test::TestRenderer>(
                            request.sink, test::TestRenderer::Faults::kNone));
                        return made;
                    }).value();
    }

    void step() {
        switch (input_.byte() % 20) {
            case 0:
                return create_3d();
            case 1:
                return create_2d();
            case 2:
                return create_blob();
            case 3:
                return of_resource([](Instance& i, uint32_t id) { return i.unref(id); });
            case 4:
                return attach_backing();
            case 5:
                return of_resource([](Instance& i, uint32_t id) { return i.detach_backing(id); });
            case 6:
                return transfer();
            case 7:
                return map();
            case 8:
                return unmap();
            case 9:
                return map_info();
            case 10:
                return export_blob();
            case 11:
                return import();
            case 12:
                return create_context();
            case 13:
                return of_resource([](Instance& i, uint32_t id) { return i.destroy_context(id); });
            case 14:
                return attach_resource();
            case 15:
                return submit();
            case 16:
            case 17:
                return create_fence();
            case 18:
                return capsets();
            case 19:
                return touch();
        }
    }

    void end() {
        touch();
        require(instance_->finish());
        fences_.all_are_reached();
        require(call([](Instance&) -> Result<void> { return {}; }) == -EINVAL);
        require(instance_->mapped().count() == 0 && instance_->pending_fences() == 0);
    }

  private:
    struct Mapped {
        uint32_t id;
        std::span<uint8_t> bytes;
    };

    template <typename Function>
    int32_t call(Function function) {
        const int32_t result = instance_->call("a call", function);
        constexpr std::array kErrors{0,       -EINVAL,  -ENOENT, -ENOMEM,
                                     -EEXIST, -ENOTSUP, -ENODEV, -EIO};
        require(std::ranges::find(kErrors, result) != kErrors.end());
        return result;
    }
    template <typename Function>
    void of_resource(Function function) {
        const uint32_t id = input_.word();
        call([&](Instance& i) { return function(i, id); });
    }
    /// Pieces of guest memory, and some that are none.
    struct Pieces {
        std::vector<iovec> list;
        rutabaga_iovecs words;
    };
    Pieces pieces() {
        std::vector<iovec> list(input_.byte() % 8);
        for (iovec& piece : list) {
            const uint32_t start = input_.word() % guest.size();
            const uint32_t size = input_.word();
            piece = {guest.data() + start, std::min<size_t>(size, guest.size() - start)};
            if (size == UINT32_MAX) piece = {nullptr, 5};
            if (size == UINT32_MAX - 1) piece.iov_len = SIZE_MAX;
        }
        Pieces made{std::move(list), {}};
        made.words = {made.list.data(), made.list.size()};
        if ((input_.byte() & 31) == 31) made.words.iovecs = nullptr;
        return made;
    }
    void create_3d() {
        rutabaga_create_3d request{};
        const uint32_t id = input_.word();
        for (uint32_t* const word :
             {&request.target, &request.format, &request.bind, &request.width, &request.height,
              &request.depth, &request.array_size, &request.last_level, &request.nr_samples,
              &request.flags})
            *word = input_.word();
        call([&](Instance& i) { return i.create_3d(id, request); });
    }
    void create_2d() {
        const uint32_t id = input_.word();
        const uint32_t width = input_.word();
        const uint32_t height = input_.word();
        call([&](Instance& i) { return i.create_3d(id, {2, 1, 2, width, height, 1, 1, 0, 0, 1}); });
    }
    void create_blob() {
        const uint32_t context = input_.word();
        const uint32_t id = input_.word();
        const rutabaga_create_blob request{input_.byte() % 5u, input_.word(), input_.word(),
                                           input_.long_word()};
        const Pieces memory = pieces();
        GivenHandle handle = input_.byte() % 4 == 3 ? given() : GivenHandle();
        call([&](Instance& i) -> Result<void> {
            return i.create_blob(context, id, request, SWEDE_TRY(entries_of(&memory.words)),
                                 std::move(handle));
        });
    }
    void attach_backing() {
        const Pieces memory = pieces();
        of_resource([&](Instance& i, uint32_t id) -> Result<void> {
            return i.attach_backing(id, SWEDE_TRY(entries_of(&memory.words)));
        });
    }
    void transfer() {
        rutabaga_transfer transfer{};
        const uint8_t kind = input_.byte();
        const uint32_t context = input_.word();
        const uint32_t id = input_.word();
        for (uint32_t* const word : {&transfer.x, &transfer.y, &transfer.w, &transfer.h})
            *word = input_.word();
        transfer.d = 1;
        if ((kind & 4) != 0)
            for (uint32_t* const word : {&transfer.z, &transfer.d, &transfer.level,
                                         &transfer.stride, &transfer.layer_stride})
                *word = input_.word();
        if ((kind & 8) != 0) transfer.offset = input_.long_word();
        std::array<uint8_t, 4096> to;
        to.fill(0xee);
        const iovec list{(kind & 16) != 0 ? nullptr : to.data(), input_.word() % to.size()};
        call([&](Instance& i) {
            if ((kind & 1) != 0) return i.transfer_write(context, id, transfer);
            return i.transfer_read(context, id, transfer, (kind & 2) != 0 ? &list : nullptr);
        });
        const auto behind = std::span(to).subspan(list.iov_len);
        require(std::ranges::all_of(behind, [](uint8_t byte) { return byte == 0xee; }));
    }
    void map() {
        of_resource([&](Instance& i, uint32_t id) -> Result<void> {
            const rutabaga_mapping mapping = SWEDE_TRY(i.map(id));
            require(mapping.ptr != nullptr && mapping.size != 0 && mapping.size % 4096 == 0);
            mapped_.push_back({id, {static_cast<uint8_t*>(mapping.ptr), mapping.size}});
            return {};
        });
    }
    void unmap() {
        of_resource([&](Instance& i, uint32_t id) -> Result<void> {
            SWEDE_TRY(i.unmap(id));
            // Of two with one id the VMM may have meant either: both stay until both are.
            if (++unmaps_[id] == std::ranges::count(mapped_, id, &Mapped::id)) {
                unmaps_[id] = 0;
                std::erase_if(mapped_, [&](const Mapped& mapped) { return mapped.id == id; });
            }
            return {};
        });
    }
    void map_info() {
        of_resource([](Instance& i, uint32_t id) -> Result<void> {
            const uint32_t info = SWEDE_TRY(i.map_info(id));
            require((info & RUTABAGA_MAP_ACCESS_MASK) != 0);
            return {};
        });
    }
    void export_blob() {
        of_resource([](Instance& i, uint32_t id) -> Result<void> {
            const rutabaga_handle handle = SWEDE_TRY(i.export_blob(id));
            require(::close(static_cast<int>(handle.os_handle)) == 0);
            return {};
        });
    }
    void import() {
        const uint32_t id = input_.word();
        rutabaga_import_data data{};
        data.flags = input_.word();
        data.info_3d.width = input_.word();
        data.info_3d.height = input_.word();
        data.info_3d.drm_fourcc = 'X' | 'R' << 8 | '2' << 16 | ('4' + input_.byte() % 2) << 24;
        data.info_3d.strides[0] = input_.word();
        data.info_3d.offsets[0] = input_.word();
        data.info_3d.modifier = input_.byte() & 1;
        GivenHandle handle = given();
        call([&](Instance& i) { return i.import_resource(id, std::move(handle), data); });
    }
    /// A file of the VMM's: mostly memory, sealed or not.
    GivenHandle given() {
        const uint8_t kind = input_.byte();
        const uint64_t size = uint64_t{input_.byte()} * 1024;
        if ((kind & 3) == 3) return {UniqueFd(::memfd_create("fuzz", MFD_CLOEXEC)), kind};
        const uint32_t type = (kind & 4) != 0 ? kind : RUTABAGA_HANDLE_TYPE_MEM_SHM;
        if ((kind & 8) != 0) return {UniqueFd(), type};
        return {create_memfd("fuzz", size).value(), type};
    }
    void create_context() {
        const uint32_t id = input_.word();
        const uint32_t capset = (input_.byte() & 7) == 0 ? input_.word() : SWEDE_TEST_CAPSET_ID;
        static constexpr std::array<char, 64> kName{"a field as the guest's command has it"};
        const uint32_t length = input_.word();
        call([&](Instance& i) {
            return i.create_context(id, capset, qemu::context_name(kName.data(), length));
        });
    }
    void attach_resource() {
        const bool attach = (input_.byte() & 1) == 0;
        const uint32_t context = input_.word();
        of_resource([&](Instance& i, uint32_t id) {
            return attach ? i.attach_resource(context, id) : i.detach_resource(context, id);
        });
    }
    void submit() {
        const uint32_t context = input_.word();
        swede_test_command command{};
        command.operation = input_.byte() % 10;
        if (command.operation == 0) command.operation = SWEDE_TEST_LOSE_CONTEXT;
        // Times are milliseconds; longer ones only make the run slower.
        command.value = input_.byte() % 4;
        command.resource = input_.word();
        command.offset = input_.long_word();
        command.argument = input_.word() % 64;
        const auto data = input_.bytes(input_.byte() % 32 / 4 * 4);
        command.size = static_cast<uint32_t>(sizeof(command) + data.size());
        std::vector<uint8_t> bytes(command.size);
        std::memcpy(bytes.data(), &command, sizeof(command));
        std::ranges::copy(data, bytes.begin() + sizeof(command));
        if ((input_.byte() & 31) == 31) bytes.resize(bytes.size() / 2);
        call([&](Instance& i) { return i.submit(context, bytes); });
    }
    void create_fence() {
        const rutabaga_fence fence{RUTABAGA_FLAG_FENCE | (input_.byte() & 14u), ++last_fence_,
                                   input_.word(), input_.word()};
        fences_.expect(fence);
        require(call([&](Instance& i) { return i.create_fence(fence); }) == 0);
    }
    void capsets() {
        const uint32_t id = input_.word();
        const uint32_t version = input_.byte();
        std::vector<uint8_t> bytes(input_.byte() % 64, 0xee);
        call([&](Instance& i) -> Result<void> {
            if (const auto capset = i.capset_at(id % 4)) require((*capset)->id != 0);
            return i.get_capset(id, version, bytes);
        });
    }
    /// What the guest has mapped is there whatever else happens.
    void touch() {
        for (const Mapped& mapped : mapped_) {
            volatile uint8_t* const bytes = mapped.bytes.data();
            bytes[0] = static_cast<uint8_t>(bytes[mapped.bytes.size() - 1] + 1);
        }
    }

    Input& input_;
    Fences fences_;
    std::shared_ptr<Instance> instance_;
    std::vector<Mapped> mapped_;
    std::map<uint32_t, ptrdiff_t> unmaps_;  ///< of mapped_, by id
    uint64_t last_fence_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(std::span(data, size));
    Run run(input);
    for (int steps = 0; steps < 200 && !input.empty(); ++steps) run.step();
    run.end();
    return 0;
}
