// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace swede {

/// Lets this process open as many files as it may; each blob, region of guest memory, queue and
/// client takes some.
void raise_file_limit();

}  // namespace swede
