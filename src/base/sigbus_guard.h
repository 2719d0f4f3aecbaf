// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// Keeps a peer from ending the process by truncating a file that we have mapped: a fault inside a
/// guarded range is answered with private zero pages from there to the range's end: a file is cut
/// at its end, and one fault for all is one kernel mapping, not one a page (their number is
/// limited). The range stays usable (reads see zeroes, writes go nowhere) and is reported by
/// was_hit(), so its owner can drop the peer.
///
/// The handler takes no lock: ranges live in a fixed table of atomics. It is installed with the
/// first range; faults outside the table, and signals that a process sent, go to the handler that
/// was there before.
namespace swede::sigbus_guard {

/// `size` is a multiple of `page_size`, both in bytes. False when the table is full. Any thread.
[[nodiscard]] bool add(void* data, uint64_t size, uint64_t page_size, int protection);
/// Before the range is unmapped. Any thread.
void remove(void* data);
/// True when the range that starts at `data` has faulted since it was added. Any thread.
[[nodiscard]] bool was_hit(const void* data);
/// How many faults were answered since the process started. Any thread.
[[nodiscard]] uint64_t hits();

}  // namespace swede::sigbus_guard
