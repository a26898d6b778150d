#include <algorithm>
#include <cmath>
#include <utility>

#include "query/expression.hpp"
#include "query/functions.hpp"
#include "query/number.hpp"

namespace muster::query {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

// Ends the reading from any depth; parse() turns it into an Error and nobody else sees it.
struct Refused {
  std::string what;
};

struct Token {
  enum class Is { end, name, number, duration, text, sign };
  Is is = Is::end;
  std::string_view text;  // as written; of a string: with its quotes
  std::string value;      // of a string: what it stands for
  std::size_t at = 0;
};

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : whole_(text) { next(); }

  ExpressionPtr whole() {
    ExpressionPtr expression = binary(0);
    if (token_.is != Token::Is::end) refuse("unexpected " + shown(token_));
    return expression;
  }

  Selector selector_alone() {
    Expression selector;
    if (token_.is == Token::Is::name) {
      add_name(selector, take().text);
    } else if (!is("{")) {
      refuse("a selector is wanted, e.g. up{job=\"api\"}");
    }
    if (is("{")) matchers(selector);
    if (token_.is != Token::Is::end) refuse("unexpected " + shown(token_) + " behind the selector");
    return std::move(selector.matchers);
  }

 private:
  using Made = std::unique_ptr<Expression>;

  [[noreturn]] void refuse(std::string what) const {
    throw Refused{"character " + std::to_string(token_.at + 1) + ": " + std::move(what)};
  }
  static std::string shown(const Token& token) {
    if (token.is == Token::Is::end) return "end of the query";
    return "\"" + std::string(token.text.substr(0, 40)) + "\"";
  }

  // ---- characters to tokens

  char look(std::size_t ahead = 0) const {
    return at_ + ahead < whole_.size() ? whole_[at_ + ahead] : '\0';
  }

  void next() {
    for (;;) {
      while (at_ < whole_.size() && is_space(whole_[at_])) ++at_;
      if (look() != '#') break;
      while (at_ < whole_.size() && whole_[at_] != '\n') ++at_;
    }
    token_ = {};
    token_.at = at_;
    if (at_ >= whole_.size()) return;
    const char c = look();
    const std::size_t from = at_;
    const auto made = [&](Token::Is is) {
      token_.is = is;
      token_.text = whole_.substr(from, at_ - from);
    };
    if (is_letter(c) || (c == ':' && !in_brackets_)) {
      while (is_letter(look()) || is_digit(look()) || look() == ':') ++at_;
      return made(Token::Is::name);
    }
    if (is_digit(c) || (c == '.' && is_digit(look(1)))) return number_or_duration(from);
    if (c == '"' || c == '\'' || c == '`') {
      string(c);
      return made(Token::Is::text);
    }
    for (const std::string_view sign : {"=~", "!~", "==", "!=", ">=", "<="}) {
      if (whole_.substr(at_, 2) == sign) {
        at_ += 2;
        return made(Token::Is::sign);
      }
    }
    ++at_;
    if (std::string_view("+-*/%^=<>(){}[],:@").find(c) == std::string_view::npos) {
      made(Token::Is::sign);
      refuse("unexpected character " + shown(token_));
    }
    made(Token::Is::sign);
  }

  void number_or_duration(std::size_t from) {
    const auto made = [&](Token::Is is) {
      token_.is = is;
      token_.text = whole_.substr(from, at_ - from);
    };
    // 5m, 1h30m: digits and a unit's letter that is no exponent.
    std::size_t end = at_;
    while (end < whole_.size() && (is_digit(whole_[end]) || is_letter(whole_[end]))) ++end;
    if (parse_duration(whole_.substr(at_, end - at_))) {
      at_ = end;
      return made(Token::Is::duration);
    }
    if (look() == '0' && (look(1) == 'x' || look(1) == 'X')) {
      at_ = end;
    } else {
      while (is_digit(look())) ++at_;
      if (look() == '.') ++at_;
      while (is_digit(look())) ++at_;
      const bool exponent = look() == 'e' || look() == 'E';
      if (exponent && (is_digit(look(1)) || ((look(1) == '-' || look(1) == '+') && is_digit(look(2))))) {
        at_ += 2;
        while (is_digit(look())) ++at_;
      }
      if (is_letter(look())) {
        at_ = std::max(at_, end);
        made(Token::Is::number);
        refuse("bad number or duration " + shown(token_));
      }
    }
    made(Token::Is::number);
  }

  // A string with Go's escapes; behind ` none.
  void string(char quote) {
    ++at_;
    for (;;) {
      if (at_ >= whole_.size()) refuse("the string that begins here lacks its closing quote");
      const char c = whole_[at_++];
      if (c == quote) return;
      if (quote != '`' && c == '\n') refuse("the string that begins here is broken by a line end");
      if (c != '\\' || quote == '`') {
        token_.value += c;
        continue;
      }
      escape(quote);
    }
  }

  void escape(char quote) {
    const char c = look();
    ++at_;
    static constexpr std::string_view from = "abfnrtv\\", to = "\a\b\f\n\r\t\v\\";
    if (const auto simple = from.find(c); simple != from.npos && c != '\0') {
      token_.value += to[simple];
      return;
    }
    if (c == quote) {
      token_.value += c;
      return;
    }
    int width = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    unsigned base = 16;
    if (c >= '0' && c <= '7') {
      width = 3;
      base = 8;
      --at_;
    }
    if (width == 0) refuse("the string that begins here has an unknown escape");
    std::uint64_t value = 0;
    for (int i = 0; i < width; ++i, ++at_) {
      const char d = look();
      const unsigned digit = is_digit(d)                ? static_cast<unsigned>(d - '0')
                             : (d | 0x20) >= 'a' && (d | 0x20) <= 'f' ? static_cast<unsigned>((d | 0x20) - 'a' + 10)
                                                        : 99;
      if (digit >= base) refuse("the string that begins here has a cut escape");
      value = value * base + digit;
    }
    if (c == 'u' || c == 'U') {
      if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        refuse("the string that begins here has an escape that names no character");
      append_utf8(token_.value, static_cast<char32_t>(value));
    } else {
      if (value > 255) refuse("the string that begins here has an octal escape over \\377");
      token_.value += static_cast<char>(value);
    }
  }

  Token take() {
    Token taken = std::move(token_);
    next();
    return taken;
  }
  bool is(std::string_view sign) const { return token_.is == Token::Is::sign && token_.text == sign; }
  bool is_word(std::string_view word) const {
    return token_.is == Token::Is::name && lower(token_.text) == word;
  }
  bool take_if(std::string_view sign) {
    if (!is(sign)) return false;
    next();
    return true;
  }
  void want(std::string_view sign) {
    if (!take_if(sign)) refuse("\"" + std::string(sign) + "\" is wanted, not " + shown(token_));
  }

  // ---- tokens to expressions

  struct Precedence {
    Operator op;
    int level;
  };
  std::optional<Precedence> operator_here() const {
    struct Word {
      std::string_view word;
      Precedence is;
    };
    static constexpr Word words[] = {
        {"or", {Operator::either, 1}}, {"and", {Operator::both, 2}},  {"unless", {Operator::unless, 2}},
        {"==", {Operator::eq, 3}},     {"!=", {Operator::ne, 3}},     {">", {Operator::gt, 3}},
        {"<", {Operator::lt, 3}},      {">=", {Operator::ge, 3}},     {"<=", {Operator::le, 3}},
        {"+", {Operator::add, 4}},     {"-", {Operator::sub, 4}},     {"*", {Operator::mul, 5}},
        {"/", {Operator::div, 5}},     {"%", {Operator::mod, 5}},     {"atan2", {Operator::atan2, 5}},
        {"^", {Operator::pow, 7}}};
    if (token_.is != Token::Is::sign && token_.is != Token::Is::name) return std::nullopt;
    const std::string here = token_.is == Token::Is::name ? lower(token_.text) : std::string(token_.text);
    for (const Word& word : words)
      if (word.word == here) return word.is;
    return std::nullopt;
  }

  struct Deeper {
    explicit Deeper(Parser& of) : parser(of) {
      if (++parser.depth_ > nesting_max)
        parser.refuse("nested deeper than " + std::to_string(nesting_max) + " levels");
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  // Operators of at least `level`, by precedence climbing; ^ binds to the right.
  Made binary(int level) {
    const Deeper deeper(*this);
    Made left = unary();
    for (int chained = 0;; ++chained) {
      const auto found = operator_here();
      if (!found || found->level < level) return left;
      // A chain to the left grows the tree by a level each.
      if (chained > nesting_max)
        refuse("more than " + std::to_string(nesting_max) + " operators in a row");
      next();
      auto made = std::make_unique<Expression>();
      made->is = Expression::Is::binary;
      made->op = found->op;
      const bool matched = modifiers(*made);
      Made right = binary(found->op == Operator::pow ? found->level : found->level + 1);
      made->operands.push_back(std::move(left));
      made->operands.push_back(std::move(right));
      check_binary(*made, matched);
      left = std::move(made);
    }
  }

  // A sign binds looser than ^ and tighter than *.
  Made unary() {
    if (!is("-") && !is("+")) return postfix();
    const Deeper deeper(*this);
    const bool minus = take().text == "-";
    Made operand = binary(7);
    if (operand->type != Type::scalar && operand->type != Type::vector)
      refuse("a sign stands before a scalar or an instant vector, not before a " +
             std::string(to_word(operand->type)));
    if (!minus) return operand;
    if (operand->is == Expression::Is::number) {
      operand->number = -operand->number;
      return operand;
    }
    auto made = std::make_unique<Expression>();
    made->is = Expression::Is::negative;
    made->type = operand->type;
    made->operands.push_back(std::move(operand));
    return made;
  }

  // Whether on or ignoring was said.
  bool modifiers(Expression& e) {
    if (is_word("bool")) {
      if (!is_comparison(e.op)) refuse("bool stands behind comparisons only");
      e.returns_bool = true;
      next();
    }
    Matching& m = e.matching;
    if (is_set_operator(e.op)) m.cardinality = Matching::Cardinality::many_to_many;
    if (!is_word("on") && !is_word("ignoring")) return false;
    m.on = lower(take().text) == "on";
    m.labels = label_list();
    const bool left = is_word("group_left");
    if (!left && !is_word("group_right")) return true;
    if (is_set_operator(e.op)) refuse("no grouping for and, or, unless");
    next();
    m.cardinality = left ? Matching::Cardinality::many_to_one : Matching::Cardinality::one_to_many;
    if (is("(")) m.include = label_list();
    for (const std::string& label : m.include)
      if (m.on && std::find(m.labels.begin(), m.labels.end(), label) != m.labels.end())
        refuse("label \"" + label + "\" must not stand in on() and in group_left() or group_right()");
    return true;
  }

  void check_binary(Expression& e, bool matched) const {
    const Type left = e.operands[0]->type, right = e.operands[1]->type;
    for (const Type type : {left, right})
      if (type != Type::scalar && type != Type::vector)
        refuse("an operator stands between scalars and instant vectors, not at a " +
               std::string(to_word(type)));
    const bool scalars = left == Type::scalar && right == Type::scalar;
    if (scalars && is_comparison(e.op) && !e.returns_bool)
      refuse("comparisons between scalars need the word bool");
    if (is_set_operator(e.op) && (left == Type::scalar || right == Type::scalar))
      refuse("and, or and unless stand between instant vectors");
    if (matched && (left == Type::scalar || right == Type::scalar))
      refuse("on and ignoring stand between instant vectors");
    e.type = scalars ? Type::scalar : Type::vector;
  }

  std::vector<std::string> label_list() {
    want("(");
    std::vector<std::string> labels;
    while (!is(")")) {
      if (token_.is != Token::Is::name || !is_label_name(token_.text))
        refuse("a label name is wanted, not " + shown(token_));
      labels.emplace_back(take().text);
      if (!take_if(",")) break;
    }
    want(")");
    return labels;
  }

  Made postfix() {
    Made e = primary();
    for (;;) {
      if (is("[")) {
        range(e);
      } else if (is_word("offset")) {
        next();
        if (!can_move(*e)) refuse("offset stands behind a selector or a subquery");
        if (e->offset != Duration::zero()) refuse("offset may be said once");
        const bool minus = take_if("-");
        if (!minus) take_if("+");
        const Duration by = duration();
        e->offset = minus ? -by : by;
      } else if (is("@")) {
        next();
        if (!can_move(*e)) refuse("@ stands behind a selector or a subquery");
        if (e->at.is != At::Is::step) refuse("@ may be said once");
        at_time(e->at);
      } else {
        return e;
      }
    }
  }

  static bool can_move(const Expression& e) {
    return e.is == Expression::Is::selector || e.is == Expression::Is::subquery;
  }

  void at_time(At& at) {
    if (is_word("start") || is_word("end")) {
      at.is = lower(take().text) == "start" ? At::Is::start : At::Is::end;
      want("(");
      want(")");
      return;
    }
    const bool minus = take_if("-");
    if (!minus) take_if("+");
    if (token_.is != Token::Is::number)
      refuse("@ wants unix seconds, start() or end(), not " + shown(token_));
    const double seconds = *parse_number(token_.text) * (minus ? -1 : 1);
    if (!(std::abs(seconds) < 9e12)) refuse("@ wants unix seconds");
    at.is = At::Is::time;
    at.time = from_millis(std::llround(seconds * 1e3));
    next();
  }

  Duration duration() {
    if (token_.is != Token::Is::duration) refuse("a duration is wanted, e.g. 5m, not " + shown(token_));
    const Duration d = *parse_duration(token_.text);
    next();
    return d;
  }

  void range(Made& e) {
    in_brackets_ = true;
    next();
    const Duration length = duration();
    if (length <= Duration::zero()) refuse("a range must be longer than 0");
    if (take_if(":")) {
      if (e->type != Type::vector && e->type != Type::scalar)
        refuse("a subquery stands behind an instant vector, not behind a " +
               std::string(to_word(e->type)));
      auto made = std::make_unique<Expression>();
      made->is = Expression::Is::subquery;
      made->type = Type::range;
      made->range = length;
      if (!is("]")) {
        made->step = duration();
        if (made->step <= Duration::zero()) refuse("the step of a subquery must be longer than 0");
      }
      made->operands.push_back(std::move(e));
      e = std::move(made);
    } else {
      if (e->is != Expression::Is::selector || e->range != Duration::zero())
        refuse("a range stands behind a selector, or as a subquery [5m:1m] behind an expression");
      if (e->offset != Duration::zero() || e->at.is != At::Is::step)
        refuse("offset and @ stand behind the range");
      e->range = length;
      e->type = Type::range;
    }
    in_brackets_ = false;
    want("]");
  }

  Made primary() {
    switch (token_.is) {
      case Token::Is::number:
      case Token::Is::duration: {
        auto made = std::make_unique<Expression>();
        if (token_.is == Token::Is::number) {
          const auto value = parse_number(token_.text);
          if (!value) refuse("bad number " + shown(token_));
          made->number = *value;
        } else {
          made->number = static_cast<double>(parse_duration(token_.text)->count()) / 1e6;
        }
        next();
        return made;
      }
      case Token::Is::text: {
        auto made = std::make_unique<Expression>();
        made->is = Expression::Is::text;
        made->type = Type::text;
        made->text = take().value;
        return made;
      }
      case Token::Is::name:
        return named();
      default:
        break;
    }
    if (take_if("(")) {
      Made inner = binary(0);
      want(")");
      return inner;
    }
    if (is("{")) {
      auto made = selector();
      matchers(*made);
      check_selector(*made);
      return made;
    }
    refuse("an expression is wanted, not " + shown(token_));
  }

  Made selector() {
    auto made = std::make_unique<Expression>();
    made->is = Expression::Is::selector;
    made->type = Type::vector;
    made->index = selectors_++;
    return made;
  }

  void add_name(Expression& e, std::string_view name) {
    e.matchers.push_back({"__name__", Matcher::Op::equal, std::string(name), nullptr});
  }

  Made named() {
    const Token name = take();
    const std::string word = lower(name.text);
    static constexpr std::pair<std::string_view, Aggregation> aggregations[] = {
        {"sum", Aggregation::sum},           {"avg", Aggregation::avg},
        {"min", Aggregation::min},           {"max", Aggregation::max},
        {"count", Aggregation::count},       {"group", Aggregation::group},
        {"stddev", Aggregation::stddev},     {"stdvar", Aggregation::stdvar},
        {"topk", Aggregation::topk},         {"bottomk", Aggregation::bottomk},
        {"quantile", Aggregation::quantile}, {"count_values", Aggregation::count_values}};
    const bool call = is("(");
    if (call || is_word("by") || is_word("without")) {
      for (const auto& [its, aggregation] : aggregations)
        if (its == word) return aggregate(aggregation);
    }
    if (call) {
      const Function* found = function(name.text);
      if (!found) refuse("there is no function \"" + std::string(name.text) + "\"");
      return arguments(*found);
    }
    if (word == "inf" || word == "nan") {
      auto made = std::make_unique<Expression>();
      made->number = *parse_number(word);
      return made;
    }
    auto made = selector();
    add_name(*made, name.text);
    if (is("{")) matchers(*made);
    check_selector(*made);
    return made;
  }

  void matchers(Expression& e) {
    want("{");
    while (!is("}")) {
      if (token_.is != Token::Is::name || !is_label_name(token_.text))
        refuse("a label name is wanted, not " + shown(token_));
      std::string name(take().text);
      Matcher::Op op = Matcher::Op::equal;
      if (is("!=")) {
        op = Matcher::Op::not_equal;
      } else if (is("=~")) {
        op = Matcher::Op::regex;
      } else if (is("!~")) {
        op = Matcher::Op::not_regex;
      } else if (!is("=")) {
        refuse("one of = != =~ !~ is wanted, not " + shown(token_));
      }
      next();
      if (token_.is != Token::Is::text) refuse("a value in quotes is wanted, not " + shown(token_));
      if (name == "__name__" && op == Matcher::Op::equal && !e.matchers.empty() &&
          e.matchers.front().name == "__name__" && e.matchers.front().op == Matcher::Op::equal)
        refuse("the metric's name must not be set twice");
      Result<Matcher> made = make_matcher(std::move(name), op, token_.value);
      if (!made) refuse(made.error().what);
      e.matchers.push_back(std::move(*made));
      next();
      if (!take_if(",")) break;
    }
    want("}");
  }

  void check_selector(const Expression& e) const {
    for (const Matcher& m : e.matchers)
      if (!m.matches("")) return;
    refuse("a selector needs at least one matcher that does not match the empty string");
  }

  Made aggregate(Aggregation aggregation) {
    auto made = std::make_unique<Expression>();
    made->is = Expression::Is::aggregate;
    made->type = Type::vector;
    made->aggregation = aggregation;
    bool grouped = false;
    const auto grouping = [&] {
      if (!is_word("by") && !is_word("without")) return;
      if (grouped) refuse("by or without may be said once");
      grouped = true;
      made->without = lower(take().text) == "without";
      made->grouping = label_list();
    };
    grouping();
    want("(");
    const bool has_parameter = aggregation >= Aggregation::topk;
    Made parameter;
    if (has_parameter) {
      parameter = binary(0);
      const Type wanted = aggregation == Aggregation::count_values ? Type::text : Type::scalar;
      if (parameter->type != wanted)
        refuse(std::string(to_word(aggregation)) + " wants a " + std::string(to_word(wanted)) +
               " first, not a " + std::string(to_word(parameter->type)));
      if (wanted == Type::text && !is_label_name(parameter->text))
        refuse("\"" + parameter->text + "\" is no label name");
      want(",");
    }
    Made vector = binary(0);
    if (vector->type != Type::vector)
      refuse(std::string(to_word(aggregation)) + " wants an instant vector, not a " +
             std::string(to_word(vector->type)));
    take_if(",");
    want(")");
    grouping();
    made->operands.push_back(std::move(vector));
    if (parameter) made->operands.push_back(std::move(parameter));
    return made;
  }

  Made arguments(const Function& function) {
    auto made = std::make_unique<Expression>();
    made->is = Expression::Is::call;
    made->function = &function;
    made->type = function.result;
    want("(");
    while (!is(")")) {
      Made argument = binary(0);
      const std::size_t i = made->operands.size();
      if (i >= function.arguments.size() && !function.repeats)
        refuse(std::string(function.name) + " takes " + std::to_string(function.arguments.size()) +
               " arguments at most");
      const Type wanted = function.arguments[std::min(i, function.arguments.size() - 1)];
      if (argument->type != wanted)
        refuse("argument " + std::to_string(i + 1) + " of " + std::string(function.name) + " must be a " +
               std::string(to_word(wanted)) + ", not a " + std::string(to_word(argument->type)) +
               (wanted == Type::range && argument->type == Type::vector ? "; write [5m] behind it" : ""));
      made->operands.push_back(std::move(argument));
      if (!take_if(",")) break;
    }
    want(")");
    if (made->operands.size() < function.required)
      refuse(std::string(function.name) + " wants " + std::to_string(function.required) +
             " arguments, not " + std::to_string(made->operands.size()));
    return made;
  }

  std::string_view whole_;
  std::size_t at_ = 0;
  Token token_;
  bool in_brackets_ = false;  // there ':' stands alone and begins no name
  std::size_t selectors_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string_view to_word(Type type) {
  switch (type) {
    case Type::scalar: return "scalar";
    case Type::vector: return "instant vector";
    case Type::range: return "range vector";
    case Type::text: return "string";
  }
  return "";
}

std::string_view to_word(Operator op) {
  static constexpr std::string_view words[] = {"+",  "-", "*", "/",  "%",  "^",   "atan2", "==",
                                               "!=", ">", "<", ">=", "<=", "and", "or",    "unless"};
  return words[static_cast<std::size_t>(op)];
}

std::string_view to_word(Aggregation aggregation) {
  static constexpr std::string_view words[] = {"sum",    "avg",    "min",  "max",     "count",    "group",
                                               "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values"};
  return words[static_cast<std::size_t>(aggregation)];
}

bool is_label_name(std::string_view name) {
  if (name.empty() || !is_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

Result<ExpressionPtr> parse(std::string_view text) {
  if (text.size() > query_bytes_max)
    return Error{"bad_data", "the query has more than " + std::to_string(query_bytes_max) + " bytes"};
  try {
    return Parser(text).whole();
  } catch (const Refused& refused) {
    return Error{"bad_data", refused.what};
  }
}

Result<Selector> parse_selector(std::string_view text, bool metric_is_name) {
  if (text.size() > query_bytes_max)
    return Error{"bad_data", "the selector has more than " + std::to_string(query_bytes_max) + " bytes"};
  try {
    Selector matchers = Parser(text).selector_alone();
    if (metric_is_name)
      for (Matcher& m : matchers)
        if (m.name == "metric") m.name = "__name__";
    for (const Matcher& m : matchers)
      if (!m.matches("")) return matchers;
    return Error{"bad_data",
                 "a selector needs at least one matcher that does not match the empty string"};
  } catch (const Refused& refused) {
    return Error{"bad_data", refused.what};
  }
}

}  // namespace muster::query
