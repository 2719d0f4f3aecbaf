// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/host_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/log.h"

namespace swede::gfxstream {
namespace {

log::Module log_("gfxstream");

/// Bytes that change their place at once: little, since a writer that meets the moment between is
/// found by comparing.
constexpr uint64_t kStep = uint64_t{256} << 10;

/// A part of a file.
struct Place {
    int fd;
    uint64_t offset;  ///< bytes
};

using Word = uint64_t;

/// The memory is a driver's and a guest's too: word by word, so that a write is seen or not.
void copy_words(std::byte* to, const std::byte* from, uint64_t size) {
    auto* const words_to = reinterpret_cast<Word*>(to);
    const auto* const words_from = reinterpret_cast<const Word*>(from);
    for (uint64_t i = 0; i < size / sizeof(Word); ++i)
        __atomic_store_n(words_to + i, __atomic_load_n(words_from + i, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
}

/// False: the range reads as zero and nothing needs to be copied.
bool holds_data(const Place& place, uint64_t size) {
    const off_t data = ::lseek(place.fd, static_cast<off_t>(place.offset), SEEK_DATA);
    if (data < 0) return errno != ENXIO;
    return static_cast<uint64_t>(data) < place.offset + size;
}

Result<void> map_over(std::byte* at, uint64_t size, const Place& place) {
    if (::mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, place.fd,
               static_cast<off_t>(place.offset)) == MAP_FAILED)
        return fail_errno("Cannot move memory to another file", errno);
    return {};
}

/// Moves what is mapped at `at` from one file to the other, whose range reads as zero.
Result<void> move(std::byte* at, uint64_t size, const Place& from, const Place& to) {
    const Mapping old_place =
        SWEDE_TRY(Mapping::own_file(from.fd, from.offset, size, Access::kRead));
    const Mapping new_place =
        SWEDE_TRY(Mapping::own_file(to.fd, to.offset, size, Access::kReadWrite));
    std::vector<std::byte> copied(std::min(size, kStep));
    bool copied_is_zero = true;
    for (uint64_t done = 0; done < size; done += kStep) {
        const uint64_t step = std::min(size - done, kStep);
        const Place step_from{from.fd, from.offset + done};
        if (holds_data(step_from, step)) {
            copy_words(copied.data(), old_place.data() + done, step);
            copy_words(new_place.data() + done, copied.data(), step);
            copied_is_zero = false;
        } else if (!std::exchange(copied_is_zero, true)) {
            std::ranges::fill(copied, std::byte{0});
        }
        if (auto mapped = map_over(at + done, step, {to.fd, to.offset + done}); !mapped) {
            // Back to where it was, the failed step first, whose mapping may be gone.
            if (!map_over(at + done, step, step_from) || (done != 0 && !move(at, done, to, from))) {
                log_.error("Memory of {} bytes is torn apart: {}", size, mapped.error().message);
                std::abort();
            }
            return mapped;
        }
        // All processors have forgotten the old place now: it changes no more.
        if (holds_data(step_from, step))
            carry_over_late_writes({old_place.data() + done, step}, std::span(copied).first(step),
                                   {at + done, step});
    }
    return {};
}

/// Zeroes in the place of what is mapped at `at`: one mapping for one, which takes no more of what
/// the system has run out of.
void leave(std::byte* at, uint64_t size) {
    if (::mmap(at, size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED)
        return;
    log_.error("Memory of {} bytes cannot be taken out of the window (errno {}).", size, errno);
    std::abort();
}

/// Gives the file's pages back to the system; it reads as zero then.
void empty(const Place& place, uint64_t size) {
    if (::fallocate(place.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(place.offset), static_cast<off_t>(size)) != 0)
        log_.warn("{}", fail_errno("Cannot empty a memory file", errno).error().message);
}

Result<void> check_seals(int fd) {
    const int seals = ::fcntl(fd, F_GET_SEALS);
    if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0) return {};
    return fail(ErrorCode::kInvalidParameter, "A file that can shrink cannot hold host memory.");
}

}  // namespace

void carry_over_late_writes(std::span<const std::byte> old_place, std::span<const std::byte> copied,
                            std::span<std::byte> new_place) {
    const auto* const old_words = reinterpret_cast<const Word*>(old_place.data());
    const auto* const copied_words = reinterpret_cast<const Word*>(copied.data());
    for (size_t i = 0; i < copied.size() / sizeof(Word); ++i) {
        const Word late = __atomic_load_n(old_words + i, __ATOMIC_RELAXED);
        if (late == copied_words[i]) [[likely]]
            continue;
        // Two writers of one word each have bytes of their own in it.
        for (size_t byte = i * sizeof(Word); byte < (i + 1) * sizeof(Word); ++byte) {
            auto* const target = reinterpret_cast<unsigned char*>(new_place.data() + byte);
            auto expected = std::to_integer<unsigned char>(copied[byte]);
            const auto wanted = static_cast<unsigned char>(
                late >> (8 * (byte % sizeof(Word))));  // little-endian, as all that we run on
            if (wanted != expected)
                __atomic_compare_exchange_n(target, &expected, wanted, false, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED);
        }
    }
}

Result<std::shared_ptr<HostMemory>> HostMemory::create(uint64_t size,
                                                       const std::shared_ptr<Budget>& budget) {
    const auto pages = page_align(size);
    if (!pages || *pages == 0)
        return fail(ErrorCode::kInvalidParameter, "Host memory of {} bytes is not possible.", size);
    Budget::Charge charge;
    if (budget) charge = SWEDE_TRY(budget->charge(BudgetKind::kHostBytes, *pages));
    UniqueFd fd = SWEDE_TRY(create_memfd("swede-gfxstream", *pages));
    Mapping mapping = SWEDE_TRY(Mapping::own_file(fd.get(), 0, *pages, Access::kReadWrite));
    return std::shared_ptr<HostMemory>(
        new HostMemory({std::move(fd), 0, *pages}, std::move(mapping), std::move(charge), false));
}

Result<std::shared_ptr<HostMemory>> HostMemory::adopt(rutabaga::SharedMemory memory) {
    if (memory.size == 0 || !is_page_aligned(memory.size) || !is_page_aligned(memory.offset))
        return fail(ErrorCode::kInvalidParameter,
                    "Shared memory of {} bytes at offset {:#x} is not whole pages.", memory.size,
                    memory.offset);
    Mapping mapping = SWEDE_TRY(
        Mapping::peer_file(memory.fd.get(), memory.offset, memory.size, Access::kReadWrite));
    return std::shared_ptr<HostMemory>(
        new HostMemory(std::move(memory), std::move(mapping), {}, true));
}

HostMemory::~HostMemory() = default;

bool HostMemory::placed() const {
    const std::scoped_lock lock(mutex_);
    return static_cast<bool>(window_.fd);
}

Result<rutabaga::SharedMemory> HostMemory::share() const {
    const std::scoped_lock lock(mutex_);
    const rutabaga::SharedMemory& place = window_.fd ? window_ : file_;
    UniqueFd copy = place.fd.duplicate();
    if (!copy) return fail_errno("Cannot share memory", errno);
    return rutabaga::SharedMemory{std::move(copy), place.offset, size()};
}

Result<void> HostMemory::place(const rutabaga::WindowRange& range) {
    const std::scoped_lock lock(mutex_);
    if (window_.fd || adopted_)
        return fail(ErrorCode::kInvalidParameter, "The memory cannot be placed: it is {}.",
                    adopted_ ? "another guest's" : "in the window already");
    if (range.size < size() || !is_page_aligned(range.offset) || range.offset > INT64_MAX)
        return fail(ErrorCode::kInvalidParameter,
                    "A range of {:#x} bytes at offset {:#x} of the window does not hold {:#x}.",
                    range.size, range.offset, size());
    SWEDE_TRY(check_seals(range.fd));
    UniqueFd fd(::fcntl(range.fd, F_DUPFD_CLOEXEC, 0));
    if (!fd) return fail_errno("Cannot keep the window's file", errno);
    SWEDE_TRY(move(data(), size(), {file_.fd.get(), file_.offset}, {fd.get(), range.offset}));
    window_ = {std::move(fd), range.offset, size()};
    empty({file_.fd.get(), file_.offset}, size());
    return {};
}

Result<void> HostMemory::displace() {
    const std::scoped_lock lock(mutex_);
    if (!window_.fd) return {};
    auto moved =
        move(data(), size(), {window_.fd.get(), window_.offset}, {file_.fd.get(), file_.offset});
    // The range of the window goes to somebody else now, whatever becomes of the contents.
    if (!moved) leave(data(), size());
    window_ = {};
    return moved;
}

}  // namespace swede::gfxstream
