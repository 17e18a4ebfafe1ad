#include <kephas/proto/json/number.hpp>
#include <kephas/proto/json/value.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>

namespace kephas {

namespace {

using json_detail::block;

// Up to here members are compared one by one; above it they are sorted, so that a peer that sends an object with
// 100,000 keys cannot make it cost their square.
constexpr std::size_t few_members = 16;

constinit const json null_value;

template <class T>
block<T> allocate(std::size_t capacity) {
    if (capacity > std::numeric_limits<std::uint32_t>::max()) throw std::length_error{"json: too many elements"};
    return {std::allocator<T>{}.allocate(capacity), 0, static_cast<std::uint32_t>(capacity)};
}

template <class T>
void release(block<T> old) noexcept {
    if (old.data == nullptr) return;
    std::destroy_n(old.data, old.size);
    std::allocator<T>{}.deallocate(old.data, old.capacity);
}

template <class T>
block<T> moved(std::span<T> from, std::size_t capacity) {
    if (capacity == 0) return {};
    block<T> to = allocate<T>(capacity);
    std::uninitialized_move(from.begin(), from.end(), to.data);  // which cannot fail
    to.size = static_cast<std::uint32_t>(from.size());
    return to;
}

template <class T>
block<T> copied(std::span<T> from) {
    if (from.empty()) return {};
    block<T> to = allocate<T>(from.size());
    try {
        for (; to.size < to.capacity; ++to.size) std::construct_at(to.data + to.size, from[to.size]);
    } catch (...) {
        release(to);
        throw;
    }
    return to;
}

template <class T>
T& append(block<T>& to, T&& last) {
    if (to.size == to.capacity) {
        const block<T> bigger = moved(to.all(), std::max<std::size_t>(4, std::size_t{2} * to.capacity));
        release(std::exchange(to, bigger));
    }
    T* const added = std::construct_at(to.data + to.size, std::move(last));
    ++to.size;
    return *added;
}

std::vector<std::size_t> order_of_keys(std::span<const json_member> members) {
    std::vector<std::size_t> order(members.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [members](std::size_t a, std::size_t b) {
        const int difference = members[a].key.compare(members[b].key);
        return difference != 0 ? difference < 0 : a < b;
    });
    return order;
}

// Both keep those that are left in front, and return how many these are.
std::size_t merge_few_duplicates(std::span<json_member> members) {
    std::size_t kept = 0;
    for (json_member& next : members) {
        const auto before = members.first(kept);
        const auto same = std::ranges::find(before, next.key, &json_member::key);
        if (same != before.end()) {
            same->value = std::move(next.value);
        } else {
            if (&members[kept] != &next) members[kept] = std::move(next);
            ++kept;
        }
    }
    return kept;
}

std::size_t merge_many_duplicates(std::span<json_member> members) {
    const auto order = order_of_keys(members);
    std::vector<bool> superseded(members.size());
    bool any = false;
    for (std::size_t i = 0, first = 0; i < order.size(); ++i) {
        if (members[order[i]].key != members[order[first]].key) first = i;
        if (i == first) continue;
        members[order[first]].value = std::move(members[order[i]].value);
        superseded[order[i]] = any = true;
    }
    if (!any) return members.size();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
        if (superseded[i]) continue;
        if (kept != i) members[kept] = std::move(members[i]);
        ++kept;
    }
    return kept;
}

bool equal_members(std::span<const json_member> a, std::span<const json_member> b) {
    if (std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) { return x.key == y.key; }))
        return std::equal(a.begin(), a.end(), b.begin(), b.end());
    if (a.size() != b.size()) return false;
    const auto order_a = order_of_keys(a);
    const auto order_b = order_of_keys(b);
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (!(a[order_a[i]] == b[order_b[i]])) return false;
    }
    return true;
}

}  // namespace

json json::array(std::initializer_list<json> elements) { return array(std::vector<json>{elements}); }

json json::array_of(std::span<json> elements) {
    json value;
    value.data_.elements = moved(elements, elements.size());
    value.rep_ = rep::array;
    return value;
}

json json::object(std::initializer_list<json_member> members) { return object(std::vector<json_member>{members}); }

json json::object(std::vector<json_member>&& members) { return object_of(members); }

json json::object_of(std::span<json_member> members) {
    const bool few = members.size() <= few_members;
    const std::size_t kept = few ? merge_few_duplicates(members) : merge_many_duplicates(members);
    json value;
    value.data_.members = moved(members.first(kept), kept);
    value.rep_ = rep::object;
    return value;
}

json json::number_text(std::string_view text) {
    json value;
    value.set_text(rep::decimal, text);
    return value;
}

json_kind json::kind() const noexcept {
    switch (rep_) {
        case rep::null: return json_kind::null;
        case rep::boolean: return json_kind::boolean;
        case rep::int64:
        case rep::uint64:
        case rep::float64:
        case rep::decimal: return json_kind::number;
        case rep::string: return json_kind::string;
        case rep::array: return json_kind::array;
        case rep::object: return json_kind::object;
    }
    return json_kind::null;
}

std::optional<bool> json::as_bool() const noexcept {
    if (rep_ != rep::boolean) return std::nullopt;
    return data_.boolean;
}

std::optional<std::int64_t> json::as_int64() const noexcept {
    if (rep_ == rep::int64) return data_.int64;
    if (rep_ != rep::float64 && rep_ != rep::decimal) return std::nullopt;
    const double value = *as_double();
    if (!(value >= -0x1p63 && value < 0x1p63)) return std::nullopt;  // NaN too
    const auto integer = static_cast<std::int64_t>(value);
    if (static_cast<double>(integer) != value) return std::nullopt;
    return integer;
}

std::optional<std::uint64_t> json::as_uint64() const noexcept {
    if (rep_ == rep::uint64) return data_.uint64;
    if (const auto integer = as_int64()) {
        if (*integer < 0) return std::nullopt;
        return static_cast<std::uint64_t>(*integer);
    }
    if (rep_ != rep::float64 && rep_ != rep::decimal) return std::nullopt;
    const double value = *as_double();
    if (!(value >= 0x1p63 && value < 0x1p64)) return std::nullopt;  // an integer, as every double of that size
    return static_cast<std::uint64_t>(value);
}

std::optional<double> json::as_double() const noexcept {
    switch (rep_) {
        case rep::int64: return static_cast<double>(data_.int64);
        case rep::uint64: return static_cast<double>(data_.uint64);
        case rep::float64: return data_.float64;
        case rep::decimal: return to_double(text()).value_or(std::numeric_limits<double>::infinity());
        default: return std::nullopt;
    }
}

std::optional<std::string_view> json::as_string() const noexcept {
    if (rep_ != rep::string) return std::nullopt;
    return text();
}

std::size_t json::size() const noexcept { return rep_ == rep::object ? members().size() : elements().size(); }

std::span<const json> json::elements() const noexcept {
    return rep_ == rep::array ? data_.elements.all() : std::span<json>{};
}

std::span<json> json::elements() noexcept {
    return rep_ == rep::array ? data_.elements.all() : std::span<json>{};
}

std::span<const json_member> json::members() const noexcept {
    return rep_ == rep::object ? data_.members.all() : std::span<json_member>{};
}

const json* json::find(std::string_view key) const noexcept {
    for (const json_member& member : members()) {
        if (member.key == key) return &member.value;
    }
    return nullptr;
}

json* json::find(std::string_view key) noexcept { return const_cast<json*>(std::as_const(*this).find(key)); }

const json& json::at(std::string_view key) const noexcept {
    const json* const found = find(key);
    return found != nullptr ? *found : null_value;
}

const json& json::at(std::size_t index) const noexcept {
    const auto all = elements();
    return index < all.size() ? all[index] : null_value;
}

json& json::operator[](std::string_view key) {
    if (json* const found = find(key)) return *found;
    if (rep_ != rep::object) *this = object();
    return append(data_.members, json_member{std::string{key}, json{}}).value;
}

json& json::push_back(json element) {
    if (rep_ != rep::array) *this = array();
    return append(data_.elements, std::move(element));
}

bool json::erase(std::string_view key) {
    if (rep_ != rep::object) return false;
    const std::span<json_member> all = data_.members.all();
    const auto found = std::ranges::find(all, key, &json_member::key);
    if (found == all.end()) return false;
    std::move(found + 1, all.end(), found);
    std::destroy_at(&all.back());
    --data_.members.size;
    return true;
}

bool json::equal(const json& a, const json& b) {
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
        case json_kind::null: return true;
        case json_kind::boolean: return a.data_.boolean == b.data_.boolean;
        case json_kind::string: return a.text() == b.text();
        case json_kind::array:
            return std::equal(a.elements().begin(), a.elements().end(), b.elements().begin(), b.elements().end());
        case json_kind::object: return equal_members(a.members(), b.members());
        case json_kind::number: break;
    }
    // Integers are compared as such: as doubles 2^53 and 2^53 + 1 would be one.
    const auto a_int = a.as_int64(), b_int = b.as_int64();
    if (a_int || b_int) return a_int == b_int;
    const auto a_uint = a.as_uint64(), b_uint = b.as_uint64();
    if (a_uint || b_uint) return a_uint == b_uint;
    return *a.as_double() == *b.as_double();
}

void json::set_int64(std::int64_t value) noexcept {
    rep_ = rep::int64;
    data_.int64 = value;
}

void json::set_uint64(std::uint64_t value) noexcept {
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        set_int64(static_cast<std::int64_t>(value));
    } else {
        rep_ = rep::uint64;
        data_.uint64 = value;
    }
}

void json::set_text(rep kind, std::string_view text) {
    if (text.size() <= max_small) {
        std::copy(text.begin(), text.end(), data_.small);
        text_size_ = static_cast<std::uint8_t>(text.size());
    } else {
        data_.text = {new char[text.size()], text.size()};
        std::memcpy(data_.text.data, text.data(), text.size());
        text_size_ = on_heap;
    }
    rep_ = kind;  // last: if the allocation fails this is still null
}

std::string_view json::text() const noexcept {
    if (text_size_ == on_heap) return {data_.text.data, data_.text.size};
    return {data_.small, text_size_};
}

void json::copy_from(const json& other) {
    switch (other.rep_) {
        case rep::decimal:
        case rep::string: set_text(other.rep_, other.text()); return;
        case rep::array: data_.elements = copied(other.data_.elements.all()); break;
        case rep::object: data_.members = copied(other.data_.members.all()); break;
        default: data_ = other.data_;
    }
    rep_ = other.rep_;
}

void json::destroy() noexcept {
    switch (rep_) {
        case rep::decimal:
        case rep::string:
            if (text_size_ == on_heap) delete[] data_.text.data;
            break;
        case rep::array: release(data_.elements); break;
        case rep::object: release(data_.members); break;
        default: break;
    }
}

}  // namespace kephas
