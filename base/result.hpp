#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace muster {

// What went wrong with input from outside, written so that its sender can fix it.
// where  the place: "body, line 3", "labels of series 7", "config.yaml:12"
// what   the fault and, where it is not obvious, the remedy
struct Error {
  std::string where;
  std::string what;
};

// A value, or why there is none. Bad input is a Result; a broken world throws.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return held_.index() == 0; }
  bool has_value() const { return held_.index() == 0; }

  T& value() & { return assert(has_value()), std::get<0>(held_); }
  const T& value() const& { return assert(has_value()), std::get<0>(held_); }
  T&& value() && { return assert(has_value()), std::get<0>(std::move(held_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const { return assert(!has_value()), std::get<1>(held_); }

 private:
  std::variant<T, Error> held_;
};

// A Result without a value: done, or why not.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}

  explicit operator bool() const { return !failed_; }
  bool has_value() const { return !failed_; }
  const Error& error() const { return assert(failed_), error_; }

 private:
  Error error_;
  bool failed_ = false;
};

}  // namespace muster
