// SPDX-License-Identifier: Apache-2.0
// A hostile driver: the input is RAM with rings in it, then steps of device and driver in turn.
// Parsers: src/virtio/virtqueue.cpp
#include <fuzzer/FuzzedDataProvider.h>

#include <bitset>

#include "require.h"
#include "unit/virtio/driver.h"
#include "virtio/virtqueue.h"

namespace {

using namespace swede;
using namespace swede::virtio;
using fuzz::require;

constexpr uint64_t kBase = 0x1000;
constexpr uint64_t kSize = 64 << 10;

struct Run {
    explicit Run(FuzzedDataProvider& provider) : input(provider) {}

    FuzzedDataProvider& input;
    virtio::testing::TestGuest& guest = shared_guest();
    Virtqueue queue{guest.memory};
    Chain chain;
    std::vector<Chain> out;  ///< taken and not given back
    std::bitset<Virtqueue::kMaxSize> out_heads;
    bool plugged = true;

    static virtio::testing::TestGuest& shared_guest() {
        static virtio::testing::TestGuest guest(kBase, kSize);
        return guest;
    }

    void poke() {
        const auto bytes = input.ConsumeBytes<uint8_t>(input.ConsumeIntegralInRange<size_t>(0, 64));
        const auto at = input.ConsumeIntegralInRange<uint64_t>(kBase, kBase + kSize - 64);
        guest.fill(at, std::as_bytes(std::span(bytes)));
    }

    /// One descriptor, and an available entry for it now and then.
    void offer() {
        const auto size = std::max<uint16_t>(queue.size(), 1);
        const auto index = input.ConsumeIntegralInRange<uint16_t>(0, size - 1);
        const Descriptor descriptor{
            input.ConsumeBool() ? input.ConsumeIntegralInRange<uint64_t>(0, kBase + kSize + 64)
                                : input.ConsumeIntegral<uint64_t>(),
            input.ConsumeBool() ? input.ConsumeIntegralInRange<uint32_t>(0, 4096)
                                : input.ConsumeIntegral<uint32_t>(),
            input.ConsumeIntegralInRange<uint16_t>(0, 7),
            input.ConsumeIntegralInRange<uint16_t>(0, size)};
        store(queue.descriptors() + index * sizeof(Descriptor), descriptor);
        if (input.ConsumeBool()) {
            const auto next = load<uint16_t>(queue.available() + kRingIndex);
            store(queue.available() + kRingEntries + next % size * 2, index);
            store(queue.available() + kRingIndex, static_cast<uint16_t>(next + 1));
        }
    }

    bool in_ram(uint64_t address, uint64_t size) const {
        return address >= kBase && address - kBase <= kSize - size;
    }
    template <typename T>
    void store(uint64_t address, const T& value) {
        if (in_ram(address, sizeof(T))) guest.store(address, value);
    }
    template <typename T>
    T load(uint64_t address) const {
        return in_ram(address, sizeof(T)) ? guest.load<T>(address) : T{};
    }

    void set_up() {
        if (!queue.set_size(input.ConsumeIntegral<uint16_t>() &
                            input.ConsumeIntegral<uint16_t>()))  // few bits: often a power of two
            (void)queue.set_size(static_cast<uint16_t>(1 << input.ConsumeIntegralInRange(0, 10)));
        const auto place = [&] { return input.ConsumeIntegralInRange<uint64_t>(0, kSize); };
        const uint64_t descriptors = kBase + (place() & ~uint64_t{15});
        const uint64_t available = kBase + (place() & ~uint64_t{1});
        const uint64_t used = kBase + (place() & ~uint64_t{3});
        queue.set_addresses(descriptors, available, used);
        queue.set_next_available(input.ConsumeIntegral<uint16_t>());
        store(available + kRingIndex, queue.next_available());
        (void)queue.enable(input.ConsumeBool());
    }

    void pop() {
        const bool served = queue.enabled() && !queue.broken();
        const auto popped = queue.pop(chain);
        if (!popped) {
            require(served && queue.broken() && popped.error().code == ErrorCode::kProtocol);
            return;
        }
        if (!*popped) return;
        require(served && plugged);
        require(chain.head < queue.size() && !out_heads[chain.head]);
        require(chain.readable.size() + chain.writable.size() <=
                queue.size() + Virtqueue::kMaxIndirectEntries);
        uint64_t readable = 0;
        uint64_t writable = 0;
        for (const GuestRange& range : chain.readable) readable += range.size;
        for (const GuestRange& range : chain.writable) writable += range.size;
        require(readable == chain.readable_size && writable == chain.writable_size);
        require(readable + writable <= Virtqueue::kMaxChainBytes);
        out_heads.set(chain.head);
        out.push_back(chain);
    }

    void push() {
        if (out.empty()) {
            chain.head = input.ConsumeIntegral<uint16_t>();
            require(!queue.push(chain, {}));
            return;
        }
        const size_t index = input.ConsumeIntegralInRange<size_t>(0, out.size() - 1);
        const Chain& given = out[index];
        const auto bytes = input.ConsumeBytes<uint8_t>(input.ConsumeIntegralInRange<size_t>(0, 64));
        const auto response = std::as_bytes(std::span(bytes));
        require(queue.push(given, response).has_value() != queue.broken());
        require(!queue.push(given, {}));  // once is enough
        out_heads.reset(given.head);
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(index));
    }

    void read() {
        if (out.empty()) return;
        std::vector<std::byte> bytes(input.ConsumeIntegralInRange<size_t>(0, 512));
        const auto offset = input.ConsumeIntegralInRange<uint64_t>(0, 4096);
        const auto done = queue.read(out.back(), offset, bytes);
        if (offset + bytes.size() > out.back().readable_size) require(!done);
    }

    void reset() {
        queue.reset();
        out.clear();
        out_heads.reset();
        require(!queue.enabled() && !queue.broken() && queue.size() == 0);
        set_up();
    }

    void step() {
        switch (input.ConsumeIntegralInRange(0, 13)) {
            case 0:
                return poke();
            case 1:
            case 2:
                return offer();
            case 3:
            case 4:
                return pop();
            case 5:
            case 7:
                return push();
            case 6:
                return read();
            case 8:
                (void)queue.take_interrupt();
                return;
            case 9:
                return queue.set_notifications(input.ConsumeBool());
            case 10:
                (void)queue.looks_unshared();
                return;
            case 11:
                plugged ? guest.unplug() : guest.plug();
                plugged = !plugged;
                return;
            case 12:
                queue.disable();
                (void)queue.enable(input.ConsumeBool());
                return;
            default:
                return reset();
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    FuzzedDataProvider input(data, size);
    Run run(input);
    std::memset(run.guest.at(kBase), 0, kSize);
    run.set_up();
    while (input.remaining_bytes() != 0) run.step();
    if (!run.plugged) run.guest.plug();
    return 0;
}
