// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>

#include "transports/local_socket/session.h"

/// What session.cpp and session_requests.cpp share. Included by them only.
namespace swede::local_socket {

using RequestType = wire::local::Request;

/// A connection has one context, as an open file of Linux's driver has.
inline constexpr rutabaga::ContextId kContext = 1;

struct Session::Row {
    RequestType type;
    size_t body;      ///< bytes of the structure
    size_t max_tail;  ///< bytes that may follow it
    size_t min_fds;
    size_t max_fds;
    bool answered;       ///< it has an answer, so it must have a number
    bool needs_context;  ///< Linux makes one with the first such ioctl
    Result<void> (Session::*handler)();
};

template <typename T, typename Function>
rutabaga::Completion<T> Session::later(Function function) {
    busy_ = true;
    return rutabaga::Completion<T>(
        completions_, [this, function = std::move(function)](Result<T> result) mutable {
            busy_ = false;
            settle(function(std::move(result)));
        });
}

template <typename T>
Result<T> Session::body() const {
    return payload().read<T>();
}

}  // namespace swede::local_socket
