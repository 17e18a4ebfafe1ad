#pragma once

namespace kephas {

/// Memory for what is written before it is read, and never destroyed.
template <class T>
union uninitialised {
    uninitialised() noexcept {}
    T value;
};

}  // namespace kephas
