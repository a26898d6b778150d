#include "router/channels/webhook.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>

namespace muster::channels {
namespace {

// URLs, passwords and tokens are short; whatever is longer is the wrong file.
constexpr std::size_t secret_bytes_max = 64 << 10;

// What a person reads of a receiver's refusal. The body is the receiver's text: one line, and not all of it.
constexpr std::size_t answer_text_max = 200;

std::string one_line(std::string_view body) {
  std::string out(body.substr(0, answer_text_max));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out;
}

Timestamp wall_clock() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

}  // namespace

Result<std::string> read_secret(const Secret& secret) {
  if (secret.file.empty()) return secret.value;
  std::ifstream in(secret.file, std::ios::binary);
  std::string text(secret_bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.eof() || in.bad() || text.size() > secret_bytes_max)
    return Error{secret.file, "cannot be read, or holds more than 64 KiB"};
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.pop_back();
  if (text.empty()) return Error{secret.file, "is empty"};
  return text;
}

std::string base64(std::string_view bytes) {
  static constexpr char letters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k <= bytes.size() ? letters[three >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

Webhook::Webhook(http::Client& client, WebhookSettings settings)
    : client_(client), settings_(std::move(settings)) {}

Result<http::Outgoing> Webhook::request(const Notice& notice) const {
  http::Outgoing out;
  auto url = read_secret(settings_.url);
  if (!url) return url.error();
  out.url = std::move(*url);
  if (Result<void> usable = http::check_url(out.url); !usable) return usable.error();
  out.body = notice.body;
  out.headers = settings_.headers;
  out.headers.emplace_back("Idempotency-Key", notice.key);
  if (!settings_.credentials.empty()) {
    auto credentials = read_secret(settings_.credentials);
    if (!credentials) return credentials.error();
    out.headers.emplace_back("Authorization", settings_.authorization_type + ' ' + *credentials);
  } else if (!settings_.username.empty()) {
    auto password = read_secret(settings_.password);
    if (!password) return password.error();
    out.headers.emplace_back("Authorization",
                             "Basic " + base64(settings_.username + ':' + *password));
  }
  out.deadline = settings_.timeout;
  out.repeatable = true;  // the key tells the receiver that it is the same notice
  return out;
}

boost::asio::awaitable<router::Answer> Webhook::deliver(const Notice& notice) {
  router::Answer answer;
  Result<http::Outgoing> ready = request(notice);
  if (!ready) {
    // A secret that is not there yet, or a URL that somebody is about to mend.
    answer.what = ready.error().where + ": " + ready.error().what;
    co_return answer;
  }
  http::Outgoing outgoing = std::move(*ready);
  const Result<http::Response> got = co_await client_.send(std::move(outgoing));
  if (!got) {
    answer.what = got.error().where + ": " + got.error().what;
    co_return answer;
  }
  answer.status = got->status;
  answer.outcome = router::outcome_of(got->status);
  if (answer.outcome != router::Answer::Outcome::sent)
    answer.what = "status " + std::to_string(got->status) + ": " + one_line(got->body);
  for (const auto& [name, value] : got->headers) {
    const bool same = std::equal(
        name.begin(), name.end(), "retry-after", "retry-after" + 11,
        [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; });
    if (same && answer.outcome == router::Answer::Outcome::retry)
      answer.retry_after = router::parse_retry_after(value, wall_clock());
  }
  co_return answer;
}

}  // namespace muster::channels
