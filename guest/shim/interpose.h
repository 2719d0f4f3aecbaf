// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Defines a function under the name of one of libc's, without that name's declaration, attributes
/// and macros: SWEDE_SHIM_FUNCTION(int, open, (const char* path, int flags, ...)) { ... }. The
/// names that leave the library are listed in exports.map.
#define SWEDE_SHIM_FUNCTION(result, name, parameters)                                         \
    extern "C" [[gnu::visibility("default")]] result swede_shim_##name parameters asm(#name); \
    extern "C" result swede_shim_##name parameters
