#include "collector/decode/exposition.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>

#include "collector/decode/page_memory.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::decode;

namespace {

constexpr auto text = ExpositionFormat::text;
constexpr auto open = ExpositionFormat::openmetrics;

struct Line {
  std::string series;
  double value = 0;
  std::optional<std::int64_t> millis;
  std::string type;
  bool created = false;
};
struct Pages {
  std::vector<Line> lines;
  std::string fault;
  std::uint64_t exemplars = 0;
};

std::string shown(const Labels& labels) {
  std::string out;
  for (const Label& label : labels) out += label.name + "=" + label.value + ";";
  return out;
}

Pages parse(std::string_view page, ExpositionFormat format) {
  Pages out;
  ExpositionParser parser(page, format);
  ExpositionSample sample;
  while (parser.next(sample)) {
    const auto labels = exposition_labels(sample.series, format);
    if (!labels) {
      out.fault = "line " + std::to_string(sample.line) + ": " + labels.error().what;
      return out;
    }
    out.lines.push_back({shown(*labels), sample.value, sample.millis,
                         std::string(to_word(sample.type)), sample.created});
  }
  if (parser.fault()) out.fault = parser.fault()->where + ": " + parser.fault()->what;
  out.exemplars = parser.exemplars();
  return out;
}

Line one(std::string_view line, ExpositionFormat format = text) {
  std::string page(line);
  page += format == open ? "\n# EOF\n" : "\n";
  const Pages pages = parse(page, format);
  INFO(line << ": " << pages.fault);
  REQUIRE(pages.fault.empty());
  REQUIRE(pages.lines.size() == 1);
  return pages.lines[0];
}
std::string fault(std::string_view page, ExpositionFormat format = text) {
  return parse(page, format).fault;
}

}  // namespace

// By hand from the page "Exposition formats" of Prometheus's documentation, with its own example.
TEST_CASE("text 0.0.4: the documentation's example") {
  const Pages pages = parse(R"(# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
)",
                            text);
  CHECK(pages.fault.empty());
  REQUIRE(pages.lines.size() == 12);
  CHECK(pages.lines[0].series == "__name__=http_requests_total;code=200;method=post;");
  CHECK(pages.lines[0].value == 1027);
  CHECK(pages.lines[0].millis == 1395066363000);
  CHECK(pages.lines[0].type == "counter");
  CHECK(pages.lines[1].value == 3);
  CHECK(pages.lines[2].series ==
        "__name__=msdos_file_access_time_seconds;error=Cannot find file:\n\"FILE.TXT\";"
        "path=C:\\DIR\\FILE.TXT;");
  CHECK(pages.lines[2].value == 1.458255915e9);
  CHECK(pages.lines[3].series == "__name__=metric_without_timestamp_and_labels;");
  CHECK(pages.lines[3].type == "unknown");
  CHECK(pages.lines[4].value == HUGE_VAL);
  CHECK(pages.lines[4].millis == -3982045);
  CHECK(pages.lines[5].type == "histogram");
  CHECK(pages.lines[8].series == "__name__=http_request_duration_seconds_count;");
  CHECK(pages.lines[8].type == "histogram");
  CHECK(pages.lines[9].type == "summary");
  CHECK(pages.lines[11].type == "summary");
}

TEST_CASE("values: every form, and those that are none") {
  CHECK(one("a 1").value == 1);
  CHECK(one("a -1.5e-3").value == -1.5e-3);
  CHECK(one("a +7").value == 7);
  CHECK(one("a .5").value == 0.5);
  CHECK(one("a 5.").value == 5);
  CHECK(one("a Inf").value == HUGE_VAL);
  CHECK(one("a +inf").value == HUGE_VAL);
  CHECK(one("a -Inf").value == -HUGE_VAL);
  CHECK(one("a -INFINITY").value == -HUGE_VAL);
  CHECK(one("a 1e-400").value == 0);
  CHECK(one("a 4.9406564584124654e-324").value == 4.9406564584124654e-324);
  CHECK(one("a 9007199254740993").value == 9007199254740992);  // to the nearest double
  // Prometheus's ordinary NaN, whatever is written: a page cannot send a stale marker.
  CHECK(std::bit_cast<std::uint64_t>(one("a NaN").value) == 0x7ff8000000000001ULL);
  CHECK(std::bit_cast<std::uint64_t>(one("a nan").value) == 0x7ff8000000000001ULL);
  for (const auto* bad :
       {"a 1e999", "a 0x1p3", "a 1_000", "a one", "a -NaN", "a nan(2)", "a +-1", "a --1", "a", "a ",
        "a{b=\"c\"}", "a{b=\"c\"} ", "a 1 2 3", "a 1 2.5", "a 1 1e3", "a 1\r", "a 1 # {} 1"}) {
    INFO(bad);
    CHECK(fault(std::string(bad) + "\n").starts_with("line 1: "));
  }
}

TEST_CASE("labels: every form, and those that are none") {
  CHECK(one(R"(a{b="c",} 1)").series == "__name__=a;b=c;");
  CHECK(one(R"(a{} 1)").series == "__name__=a;");
  CHECK(one(R"(a{b=""} 1)").series == "__name__=a;b=;");
  CHECK(one(R"(  a { b = "1.0" , c = "x" }   8 )").series == "__name__=a;b=1.0;c=x;");
  CHECK(one("a\t{b=\"c\"}\t1\t2").millis == 2);
  CHECK(one(R"(a{b="}"} 1)").series == "__name__=a;b=};");
  CHECK(one(R"(a{b="x} 3"} 1)").series == "__name__=a;b=x} 3;");
  CHECK(one(R"(a{b="\\"} 1)").series == "__name__=a;b=\\;");
  CHECK(one(R"(a{b="\\\""} 1)").series == "__name__=a;b=\\\";");
  CHECK(one(R"(a{b="\d"} 1)").series == "__name__=a;b=\\d;");  // no escape: stays as it stands
  CHECK(one("a{b=\"caf\xc3\xa9\"} 1").series == "__name__=a;b=caf\xc3\xa9;");
  CHECK(one("a:b{c=\"d\"} 1").series == "__name__=a:b;c=d;");
  // Names in quotes, the metric's within the braces (Prometheus 3).
  CHECK(one(R"({"my.metric","a.b"="c",d="e"} 1)").series == "__name__=my.metric;a.b=c;d=e;");
  CHECK(one(R"({"my.metric"} 1)").series == "__name__=my.metric;");
  CHECK(one(R"({"my.metric",a="b"} 1)", open).series == "__name__=my.metric;a=b;");
  for (const auto* bad : {"a{b=\"c\" 1",
                          "a{b=\"c} 1",
                          "a{b=c} 1",
                          "a{b} 1",
                          "a{=\"c\"} 1",
                          "a{1b=\"c\"} 1",
                          "a{b=\"c\"d=\"e\"} 1",
                          "a{b=\"c\",,} 1",
                          "a{b=\"c\",b=\"d\"} 1",
                          "a{b:c=\"d\"} 1",
                          "{b=\"c\"} 1",
                          "{} 1",
                          "a{\"b\"} 1",
                          "{\"a\",\"b\"} 1",
                          "a{b=\"\xff\"} 1",
                          "a-b 1",
                          "9a 1",
                          "a{b=\"c\"}} 1",
                          "a} 1",
                          "a{b=\"c\\\"} 1",
                          "a{__name__=\"x\"} 1",
                          "a.b 1"}) {
    INFO(bad);
    CHECK(fault(std::string(bad) + "\n").starts_with("line 1: "));
  }
  CHECK(fault("ok 1\n\n# c\nx{y=1} 2\n") ==
        "line 4: label y: a value in quotes is expected, and not '1}'");
}

TEST_CASE("text: comments, blank lines, and the types it has") {
  CHECK(parse("\n\n  \n#\n# \n#TYPE a nonsense\n# any words\na 1", text).lines.size() == 1);
  CHECK(parse("# TYPE a untyped\na 1\n", text).lines[0].type == "unknown");
  CHECK(parse("#   TYPE \t a   gauge  \na 1\n", text).lines[0].type == "gauge");
  CHECK(parse("# TYPE \"my.metric\" gauge\n{\"my.metric\",a=\"b\"} 1\n", text).lines[0].type ==
        "gauge");
  CHECK(parse("", text).fault.empty());
  // Families that are mixed, or of which one name begins the other.
  const Pages mixed = parse(
      "# TYPE a counter\n# TYPE a_sum gauge\n# TYPE h histogram\na_sum 1\na 2\nh_sum 3\nh_other "
      "4\nab 5\n",
      text);
  REQUIRE(mixed.lines.size() == 5);
  CHECK(mixed.lines[0].type == "gauge");
  CHECK(mixed.lines[1].type == "counter");
  CHECK(mixed.lines[2].type == "histogram");
  CHECK(mixed.lines[3].type == "unknown");
  CHECK(mixed.lines[4].type == "unknown");
  // In this format a family named _created is one like any other.
  CHECK_FALSE(parse("# TYPE a_created gauge\na_created 1\n", text).lines[0].created);
  for (const auto* bad : {"# TYPE a cuonter\n", "# TYPE a info\n", "# TYPE a\n",
                          "# TYPE 1a gauge\n", "# HELP 1a x\n", "# TYPE \"a gauge\n"}) {
    INFO(bad);
    CHECK(fault(bad).starts_with("line 1: "));
  }
}

// By hand from the specification OpenMetrics 1.0.0, with lines of its examples.
TEST_CASE("OpenMetrics: its types, times, exemplars and its end") {
  const Pages pages = parse(R"(# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP request router.
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
# TYPE go_goroutines gauge
# HELP go_goroutines Number of goroutines that currently exist.
go_goroutines 69
# TYPE process_cpu_seconds counter
# UNIT process_cpu_seconds seconds
process_cpu_seconds_total 4.20072246e+06 1520879607.789
# TYPE foo histogram
foo_bucket{le="0.1"} 8 # {} 0.054
foo_bucket{le="1.0"} 11 # {trace_id="KOO5S4vxi0o"} 0.67
foo_bucket{le="+Inf"} 17 123 # {trace_id="a} # {b",x="y"} 9.8 1520879607.789
foo_count 17
foo_sum 324789.3
foo_created 1520430000.123
# TYPE s stateset
s{s="on"} 1
# TYPE i info
i_info{version="1"} 1
# TYPE g gaugehistogram
g_bucket{le="+Inf"} 42
g_gcount 42
g_gsum 3289.3
# TYPE u unknown
u 1
# TYPE nothing gauge
# EOF
)",
                            open);
  CHECK(pages.fault.empty());
  REQUIRE(pages.lines.size() == 17);
  CHECK(pages.lines[0].type == "summary");
  CHECK(pages.lines[2].created);
  CHECK_FALSE(pages.lines[1].created);
  CHECK(pages.lines[4].type == "counter");
  CHECK(pages.lines[4].millis == 1520879607789);
  CHECK(pages.lines[5].type == "histogram");
  CHECK(pages.lines[7].millis == 123000);
  CHECK(pages.lines[10].created);
  CHECK(pages.lines[11].type == "stateset");
  CHECK(pages.lines[12].type == "info");
  CHECK(pages.lines[13].type == "gaugehistogram");
  CHECK(pages.lines[14].type == "gaugehistogram");
  CHECK(pages.lines[16].type == "unknown");
  CHECK(pages.exemplars == 3);
  CHECK(parse("# EOF\n", open).fault.empty());
  CHECK(parse("# EOF", open).fault.empty());

  for (const auto* bad : {"a 1\n",
                          "",
                          "a 1",
                          "# EOF\na 1\n",
                          "# EOF\n# EOF\n",
                          "a 1\n\n# EOF\n",
                          "a  1\n# EOF\n",
                          " a 1\n# EOF\n",
                          "# words\n# EOF\n",
                          "# TYPE a cuonter\n# EOF\n",
                          "# TYPE a untyped\n# EOF\n",
                          "# UNIT a_seconds minutes\n# EOF\n",
                          "# UNIT seconds seconds\n# EOF\n",
                          "a 1 \n# EOF\n",
                          "a 1 NaN\n# EOF\n",
                          "a 1 # 3\n# EOF\n",
                          "a 1 # {x=\"y\"}\n# EOF\n",
                          "a 1 # {x=\"y\"} z\n# EOF\n",
                          "a 1 # {x=\"y} 1\n# EOF\n",
                          "a 1 # {x=y} 1\n# EOF\n",
                          "a 1 # {x=\"y\"} 1 2 3\n# EOF\n",
                          "a{b=\"#} 1\n# EOF\n",
                          "a 1 x\n# EOF\n"}) {
    INFO(bad);
    CHECK(fault(bad, open).starts_with("line "));
  }
}

TEST_CASE("the format is what the Content-Type says") {
  CHECK(exposition_format("text/plain; version=0.0.4; charset=utf-8").value() == text);
  CHECK(exposition_format("").value() == text);
  CHECK(exposition_format("Application/OpenMetrics-Text; version=1.0.0").value() == open);
  for (const auto* bad :
       {"text/html", "application/json", "application/vnd.google.protobuf; proto=x"}) {
    CHECK(exposition_format(bad).error().what.find("fallback_scrape_protocol") !=
          std::string::npos);
  }
}

TEST_CASE("pages of any bytes neither throw nor take long") {
  fuzz::Plan plan;
  plan.corpus = {
      "# TYPE a counter\na_total{b=\"c\",d=\"e\"} 1 2\na_created{b=\"c\",d=\"e\"} 12\n# EOF\n",
      "a{b=\"c\\n\\\"\"} +Inf -1\n{\"x.y\",z=\"1\"} NaN\n",
      "# UNIT a_seconds seconds\na_seconds_bucket{le=\"+Inf\"} 1 # {t=\"x\"} 1 2\n# EOF\n"};
  plan.words = {"# TYPE ",
                "# EOF\n",
                "\"",
                "{",
                "}",
                "\\",
                " # {",
                "1e308",
                "\n",
                "NaN",
                "9223372036854775807"};
  for (const auto format : {text, open}) {
    const fuzz::Outcome outcome = fuzz::run(plan, [format](std::string_view bytes) {
      PageMemory memory(std::make_shared<const PageRules>(
          PageRules{.target = {{"instance", "i"}, {"job", "j"}}}));
      for (int i = 0; i < 2; ++i) {
        const auto page = memory.read(bytes, format, from_seconds(1));
        if (!page) continue;
        const SampleBatch batch = memory.batch_of(*page);
        for (const RawSeries& series : batch.series) (void)batch.identify(series.labels, Mapping());
        memory.delivered();
      }
    });
    INFO(outcome.summary);
    CHECK(outcome.failure.empty());
    CHECK(outcome.inputs > 1000);
  }
}
