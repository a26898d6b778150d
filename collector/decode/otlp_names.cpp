#include "collector/decode/otlp_names.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace muster::decode {
namespace {

using Word = std::pair<std::string_view, std::string_view>;

constexpr std::array units = {
    Word{"d", "days"},          Word{"h", "hours"},        Word{"min", "minutes"},
    Word{"s", "seconds"},       Word{"ms", "milliseconds"}, Word{"us", "microseconds"},
    Word{"ns", "nanoseconds"},  Word{"By", "bytes"},       Word{"KiBy", "kibibytes"},
    Word{"MiBy", "mebibytes"},  Word{"GiBy", "gibibytes"}, Word{"TiBy", "tibibytes"},
    Word{"KBy", "kilobytes"},   Word{"kBy", "kilobytes"},  Word{"MBy", "megabytes"},
    Word{"GBy", "gigabytes"},   Word{"TBy", "terabytes"},  Word{"m", "meters"},
    Word{"V", "volts"},         Word{"A", "amperes"},      Word{"J", "joules"},
    Word{"W", "watts"},         Word{"g", "grams"},        Word{"Cel", "celsius"},
    Word{"Hz", "hertz"},        Word{"1", ""},             Word{"%", "percent"}};

constexpr std::array per_units = {Word{"s", "second"}, Word{"m", "minute"}, Word{"min", "minute"},
                                  Word{"h", "hour"},   Word{"d", "day"},    Word{"w", "week"},
                                  Word{"mo", "month"}, Word{"y", "year"}};

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
// A byte within a character of several; the first one stands for all of them.
constexpr bool is_continued(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// What a byte of a key becomes in a label's name; 0 is nothing.
constexpr std::array<char, 256> label_letters = [] {
  std::array<char, 256> out{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<char>(i);
    out[i] = is_letter(c) || is_digit(c) ? c : is_continued(c) ? '\0' : '_';
  }
  return out;
}();

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Letters, digits and colons that stand together, in their order.
void split(std::string_view text, std::vector<std::string_view>& tokens) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && (is_letter(text[end]) || is_digit(text[end]) || text[end] == ':'))
      ++end;
    if (end > at) tokens.push_back(text.substr(at, end - at));
    at = end + 1;
  }
}

std::string joined(const std::vector<std::string_view>& tokens) {
  std::string out;
  for (const std::string_view token : tokens) {
    if (!out.empty()) out += '_';
    out += token;
  }
  return out;
}

template <class Table>
std::string word_for(std::string_view ucum, const Table& table) {
  ucum = trim(ucum);
  // {requests} is a remark of UCUM and no unit.
  if (ucum.empty() || ucum.find_first_of("{}") != ucum.npos) return {};
  for (const auto& [unit, word] : table)
    if (unit == ucum) return std::string(word);
  std::vector<std::string_view> tokens;
  split(ucum, tokens);
  return joined(tokens);
}

// A unit's two halves: bytes, second.
std::pair<std::string, std::string> halves(std::string_view ucum) {
  const std::size_t slash = ucum.find('/');
  return {word_for(ucum.substr(0, slash), units),
          slash == ucum.npos ? std::string() : word_for(ucum.substr(slash + 1), per_units)};
}

}  // namespace

std::string prometheus_unit(std::string_view ucum) {
  auto [main, per] = halves(ucum);
  if (per.empty()) return main;
  return main + (main.empty() ? "per_" : "_per_") + per;
}

std::string prometheus_name(std::string_view name, std::string_view ucum, OtlpData data,
                            bool monotonic) {
  std::vector<std::string_view> tokens;
  split(name, tokens);
  if (tokens.empty()) return {};
  const auto has = [&](std::string_view word) {
    return std::find(tokens.begin(), tokens.end(), word) != tokens.end();
  };
  const auto last = [&](std::string_view word) {
    tokens.erase(std::remove(tokens.begin(), tokens.end(), word), tokens.end());
    tokens.push_back(word);
  };

  const auto [main, per] = halves(ucum);
  if (!main.empty() && !has(main)) tokens.push_back(main);
  if (!per.empty() && !has(per)) {
    tokens.push_back("per");
    tokens.push_back(per);
  }
  if (data == OtlpData::sum && monotonic) last("total");
  // Only gauges: many counters of things say "1" and mean nothing by it.
  if (data == OtlpData::gauge && ucum == "1") last("ratio");
  std::string out = joined(tokens);
  if (is_digit(out.front())) out.insert(out.begin(), '_');
  return out;
}

bool is_prometheus_label(std::string_view key) {
  if (key.empty() || is_digit(key.front())) return false;
  if (key.front() == '_' && !key.starts_with("__")) return false;
  return std::all_of(key.begin(), key.end(),
                     [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
}

void prometheus_label(std::string_view key, std::string& out) {
  out.resize(key.size());
  char* at = out.data();
  for (const char c : key) {
    *at = label_letters[static_cast<unsigned char>(c)];
    at += *at != '\0';
  }
  out.resize(static_cast<std::size_t>(at - out.data()));
  if (out.empty()) return;
  if (is_digit(out.front())) {
    out.insert(0, "key_");
  } else if (out.front() == '_' && !out.starts_with("__")) {
    out.insert(0, "key");
  }
}

}  // namespace muster::decode
