#include "app/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace muster::app {
namespace {

constexpr int bar_width = 32;
constexpr auto redraw_every = std::chrono::milliseconds(100);  // smooth to the eye
constexpr auto line_every = std::chrono::seconds(5);           // a log that stays readable

}  // namespace

Progress::Progress(std::string what, std::uint64_t total)
    : what_(std::move(what)),
      total_(std::max<std::uint64_t>(total, 1)),
      terminal_(isatty(STDERR_FILENO) == 1),
      drawn_(terminal_ ? started_ - redraw_every : started_) {}

Progress::~Progress() {
  if (!finished_ && terminal_) std::fputc('\n', stderr);
}

void Progress::update(std::uint64_t done, std::string_view note) {
  const auto now = Clock::now();
  if (now - drawn_ < (terminal_ ? Clock::duration(redraw_every) : Clock::duration(line_every)))
    return;
  drawn_ = now;
  draw(std::min(done, total_), note, false);
}

void Progress::finish(std::string_view note) {
  finished_ = true;
  draw(total_, note, true);
}

void Progress::draw(std::uint64_t done, std::string_view note, bool last) {
  const double share = static_cast<double>(done) / static_cast<double>(total_);
  const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  std::string line = what_ + " ";
  if (terminal_) {
    const auto full = static_cast<int>(share * bar_width);
    line += '[';
    for (int i = 0; i < bar_width; ++i) line += i < full ? '=' : ' ';
    line += "] ";
  }
  char numbers[32];
  std::snprintf(numbers, sizeof numbers, "%3.0f %%, %.1f s", 100 * share, seconds);
  line += numbers;
  if (!note.empty()) line += ", " + std::string(note);
  // \r and erase to the end: the next drawing stands on the same line.
  std::fprintf(stderr, terminal_ ? (last ? "\r\033[K%s\n" : "\r\033[K%s") : "%s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace muster::app
