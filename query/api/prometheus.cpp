#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include <boost/json.hpp>

#include "http/gzip.hpp"
#include "query/api/answer.hpp"
#include "query/api/parameters.hpp"
#include "query/api/routes.hpp"
#include "query/api/write.hpp"

namespace muster::query {
namespace {

namespace asio = boost::asio;

// An answer above it is packed here, not while the I/O thread waits.
constexpr std::size_t pack_min = 64u << 10;
constexpr int pack_level = 1;
// No limit was asked for.
constexpr std::size_t all = std::numeric_limits<std::size_t>::max() / 2;

Timestamp wall_clock() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::microseconds>(now).count()};
}

int status_of(const Error& fault) {
  if (fault.where == "bad_data") return 400;
  if (fault.where == "execution") return 422;
  if (fault.where == "internal") return 500;
  return 503;  // timeout, canceled, unavailable
}

http::Response failed(const Error& fault) {
  std::string body = R"({"status":"error","errorType":)";
  append_string(body, fault.where);
  body += R"(,"error":)";
  append_string(body, fault.what);
  body += '}';
  http::Response response = http::json(std::move(body), status_of(fault));
  if (fault.where == "unavailable") response.headers.emplace_back("Retry-After", "2");
  return response;
}

// {"status":"success","data":…} with what else there is to say.
Result<http::Response> succeeded(Context& context, std::string data, bool packs,
                                 const std::vector<std::string>& warnings = {}, const std::string& muster = {}) {
  if (data.size() > context.settings.answer_bytes_max)
    return Error{"execution", "the answer has " + std::to_string(data.size() >> 20) + " MiB, more than " +
                                  std::to_string(context.settings.answer_bytes_max >> 20) +
                                  "; ask for fewer series or a longer step"};
  std::string body = R"({"status":"success","data":)";
  body += data;
  if (!warnings.empty()) {
    body += R"(,"warnings":[)";
    for (std::size_t i = 0; i < warnings.size(); ++i) {
      if (i > 0) body += ',';
      append_string(body, warnings[i]);
    }
    body += ']';
  }
  if (!muster.empty()) body += R"(,"muster":)" + muster;
  body += '}';
  http::Response response = http::json(std::move(body));
  if (packs && response.body.size() >= pack_min) {
    response.body = http::gzip(response.body, pack_level);
    response.headers.emplace_back("Content-Encoding", "gzip");
    response.headers.emplace_back("Vary", "Accept-Encoding");
  }
  return response;
}

// A request as its job sees it.
struct Asked {
  Parameters parameters;
  Timestamp now;
  bool packs = false;
};
using Work = Result<http::Response> (*)(Context&, const Asked&);

asio::awaitable<http::Response> run(Runner& runner, http::Request request, Work work) {
  Result<Parameters> parameters = Parameters::of(request);
  if (!parameters) co_return failed(parameters.error());
  // A dashboard that waits less than the server would tells it so.
  const auto timeout = parameters->duration("timeout", Duration(runner.settings().timeout));
  if (!timeout) co_return failed(timeout.error());
  const auto asked = std::make_shared<Asked>();
  asked->parameters = std::move(*parameters);
  asked->now = wall_clock();
  asked->packs = http::accepts_gzip(request.header("Accept-Encoding"));
  const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(*timeout);
  Runner::Job job = [asked, work](Context& context) { return work(context, *asked); };
  Result<http::Response> answer = co_await runner.run(request.gone, patience, std::move(job));
  if (!answer) co_return failed(answer.error());
  co_return std::move(*answer);
}

Result<http::Response> query(Context& context, const Asked& asked) {
  const Parameters& p = asked.parameters;
  const auto at = p.time("time", asked.now);
  if (!at) return at.error();
  const auto limit = p.number("limit", all, all);
  if (!limit) return limit.error();
  const auto expression = parse(p.text("query"));
  if (!expression) return Error{"bad_data", "invalid parameter \"query\": " + expression.error().what};
  Explanation explanation;
  Result<Value> value = answer(context, **expression, {*at, Duration(1), 1}, explanation);
  if (!value) return value.error();
  std::string data;
  std::vector<std::string> warnings;
  if (append_instant(data, *value, *at, *limit)) warnings.emplace_back("results truncated due to limit");
  return succeeded(context, std::move(data), asked.packs, warnings,
                   p.flag("explain") ? to_json(explanation) : std::string());
}

Result<http::Response> query_range(Context& context, const Asked& asked) {
  const Parameters& p = asked.parameters;
  const auto start = p.time("start", std::nullopt);
  if (!start) return start.error();
  const auto end = p.time("end", std::nullopt);
  if (!end) return end.error();
  const auto step = p.duration("step", std::nullopt);
  if (!step) return step.error();
  const auto limit = p.number("limit", all, all);
  if (!limit) return limit.error();
  if (*end < *start)
    return Error{"bad_data", "invalid parameter \"end\": end timestamp must not be before start time"};
  if (*step <= Duration::zero())
    return Error{"bad_data",
                 "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a "
                 "positive integer"};
  const auto intervals = static_cast<std::size_t>((*end - *start) / *step);
  if (intervals > context.settings.limits.steps_max)
    return Error{"bad_data",
                 "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
                 "(?step=XX)"};
  const auto expression = parse(p.text("query"));
  if (!expression) return Error{"bad_data", "invalid parameter \"query\": " + expression.error().what};
  const Type type = (*expression)->type;
  if (type != Type::scalar && type != Type::vector)
    return Error{"bad_data", "invalid parameter \"query\": invalid expression type \"" + std::string(to_word(type)) +
                                 "\" for range query, must be Scalar or instant Vector"};
  Steps steps{*start, *step, intervals + 1};
  steps.beyond = *end - steps.last();
  Explanation explanation;
  Result<Value> value = answer(context, **expression, steps, explanation);
  if (!value) return value.error();
  std::string data;
  std::vector<std::string> warnings;
  if (append_range(data, *value, steps, *limit)) warnings.emplace_back("results truncated due to limit");
  return succeeded(context, std::move(data), asked.packs, warnings,
                   p.flag("explain") ? to_json(explanation) : std::string());
}

// Series of any of the match[] parameters; nothing when none was given.
Result<std::optional<std::vector<SeriesNumber>>> matched(Context& context, const Parameters& p) {
  std::vector<std::string_view> texts = p.all("match[]");
  for (const std::string_view text : p.all("match")) texts.push_back(text);
  if (texts.empty()) return std::optional<std::vector<SeriesNumber>>();
  std::vector<SeriesNumber> series;
  for (const std::string_view text : texts) {
    const Result<Selector> selector = parse_selector(text);
    if (!selector) return Error{"bad_data", "invalid parameter \"match[]\": " + selector.error().what};
    const Result<std::vector<SeriesNumber>> some = select(context, *selector);
    if (!some) return some.error();
    series.insert(series.end(), some->begin(), some->end());
  }
  std::sort(series.begin(), series.end());
  series.erase(std::unique(series.begin(), series.end()), series.end());
  return std::optional(std::move(series));
}

Result<http::Response> list(Context& context, const Asked& asked, std::vector<std::string> texts) {
  const auto limit = asked.parameters.number("limit", all, all);
  if (!limit) return limit.error();
  std::vector<std::string> warnings;
  if (texts.size() > *limit) {
    texts.resize(*limit);
    warnings.emplace_back("results truncated due to limit");
  }
  std::string data = "[";
  for (const std::string& text : texts) {
    if (data.size() > 1) data += ',';
    append_string(data, text);
  }
  data += ']';
  return succeeded(context, std::move(data), asked.packs, warnings);
}

Result<http::Response> labels(Context& context, const Asked& asked) {
  const auto series = matched(context, asked.parameters);
  if (!series) return series.error();
  return list(context, asked, context.catalogue.look([&](const SeriesIndex& index) {
    return index.names(*series ? &**series : nullptr);
  }));
}

Result<http::Response> label_values(Context& context, const Asked& asked) {
  const std::string_view name = asked.parameters.text("muster:label");
  if (!is_label_name(name))
    return Error{"bad_data", "invalid label name: \"" + std::string(name.substr(0, 60)) + "\""};
  const auto series = matched(context, asked.parameters);
  if (!series) return series.error();
  return list(context, asked, context.catalogue.look([&](const SeriesIndex& index) {
    return index.values(name, *series ? &**series : nullptr);
  }));
}

// Prometheus's list of label sets; with details=true, beside it and in its order, what muster knows more.
Result<http::Response> series(Context& context, const Asked& asked) {
  const auto limit = asked.parameters.number("limit", all, all);
  if (!limit) return limit.error();
  auto found = matched(context, asked.parameters);
  if (!found) return found.error();
  if (!*found) return Error{"bad_data", "no match[] parameter provided"};
  std::vector<std::string> warnings;
  if ((*found)->size() > *limit) {
    (*found)->resize(*limit);
    warnings.emplace_back("results truncated due to limit");
  }
  const bool details = asked.parameters.flag("details");
  const std::vector<Newest> newest = details ? context.catalogue.newest(**found) : std::vector<Newest>();
  std::string data = "[", more = "[";
  context.catalogue.look([&](const SeriesIndex& index) {
    for (std::size_t i = 0; i < (*found)->size(); ++i) {
      const SeriesNumber number = (**found)[i];
      if (i > 0) data += ',';
      append_labels(data, index.labels(number));
      if (!details) continue;
      if (i > 0) more += ',';
      more += R"({"id":")" + std::to_string(static_cast<std::int64_t>(index.id(number))) + R"(","kind":)";
      append_string(more, to_word(index.kind(number)));
      if (i < newest.size() && newest[i].at != Newest::never)
        more += R"(,"newest_ts":)" + std::to_string(to_millis({newest[i].at}));
      more += '}';
    }
    return 0;
  });
  data += ']';
  more += ']';
  return succeeded(context, std::move(data), asked.packs, warnings, details ? more : std::string());
}

}  // namespace

void add_prometheus(http::Routes& routes, Runner& runner) {
  const auto with = [&runner](Work work) {
    return [&runner, work](http::Request request) { return run(runner, std::move(request), work); };
  };
  const std::pair<std::string_view, Work> asked[] = {{"/api/v1/query", query},
                                                     {"/api/v1/query_range", query_range},
                                                     {"/api/v1/labels", labels},
                                                     {"/api/v1/series", series}};
  for (const auto& [path, work] : asked) {
    routes.add(http::Method::get, path, with(work));
    routes.add(http::Method::post, path, with(work));
  }
  routes.add(http::Method::get, "/api/v1/label/{name}/values", [&runner](http::Request request) {
    // The name stands in the path; to the job it is a parameter like the others, first so that it counts.
    std::string name;
    for (const char c : request.argument("name")) name += is_label_name(std::string("_") + c) ? c : '-';
    request.query = "muster:label=" + name + '&' + request.query;
    return run(runner, std::move(request), label_values);
  });
  routes.add(http::Method::get, "/api/v1/status/buildinfo", [](http::Request) -> asio::awaitable<http::Response> {
    // Grafana asks which Prometheus it has before it; the API is that of this version.
    http::Response response = http::json(
        R"({"status":"success","data":{"version":"2.42.0","revision":"muster","branch":"","buildUser":"",)"
        R"("buildDate":"","goVersion":""}})");
    co_return response;
  });
}

void add_routes(http::Routes& routes, Runner& runner) {
  add_prometheus(routes, runner);
  add_ranges(routes, runner);
}

}  // namespace muster::query
