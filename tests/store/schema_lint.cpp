#include "tests/store/schema_lint.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <sstream>

namespace muster::test {
namespace {

using Words = std::vector<std::string>;

// Lower-case words, numbers and single signs; comments and quoted texts are left out (a text as ').
Words words_of(std::string_view sql) {
  Words words;
  for (std::size_t i = 0; i < sql.size();) {
    const char c = sql[i];
    if (c == '-' && sql.substr(i, 2) == "--") {
      i = std::min(sql.find('\n', i), sql.size());
    } else if (c == '\'') {
      i = sql.find('\'', i + 1);
      i = i == sql.npos ? sql.size() : i + 1;
      words.push_back("'");
    } else if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
      std::string word;
      while (i < sql.size() &&
             (std::isalnum(static_cast<unsigned char>(sql[i])) || sql[i] == '_')) {
        word += static_cast<char>(std::tolower(static_cast<unsigned char>(sql[i++])));
      }
      words.push_back(word);
    } else {
      if (!std::isspace(static_cast<unsigned char>(c))) words.push_back(std::string(1, c));
      ++i;
    }
  }
  return words;
}

std::vector<Words> split(const Words& words, const std::string& at) {
  std::vector<Words> parts(1);
  int depth = 0;
  for (const std::string& w : words) {
    if (w == "(") ++depth;
    if (w == ")") --depth;
    if (depth == 0 && w == at) {
      parts.emplace_back();
    } else {
      parts.back().push_back(w);
    }
  }
  if (parts.back().empty()) parts.pop_back();
  return parts;
}

// Where `phrase` begins in `words`, from `from` on.
std::optional<std::size_t> find(const Words& words, const Words& phrase, std::size_t from = 0) {
  const auto at =
      std::search(words.begin() + static_cast<std::ptrdiff_t>(std::min(from, words.size())),
                  words.end(), phrase.begin(), phrase.end());
  if (at == words.end()) return std::nullopt;
  return static_cast<std::size_t>(at - words.begin());
}

// What stands between the parenthesis at or after `from` and its partner.
Words inside(const Words& words, std::size_t from) {
  while (from < words.size() && words[from] != "(") ++from;
  Words body;
  int depth = 0;
  for (; from < words.size(); ++from) {
    if (words[from] == "(" && depth++ == 0) continue;
    if (words[from] == ")" && --depth == 0) break;
    body.push_back(words[from]);
  }
  return body;
}

bool begins_with(const Words& words, const Words& phrase) {
  return words.size() >= phrase.size() && std::equal(phrase.begin(), phrase.end(), words.begin());
}

struct Linter {
  const TableClasses& classes;
  std::vector<std::string> complaints;
  std::set<std::string> tables;

  bool is_fact(const std::string& table) const {
    const auto at = classes.find(table);
    return at != classes.end() && at->second == "fact";
  }
  void say(const std::string& what) { complaints.push_back(what); }

  void constraint(const std::string& table, const Words& c, bool fact, bool& has_key) {
    // c is: constraint NAME primary key (…) | unique (…) | foreign key (…) | check (…) | exclude …
    const std::string name = c.size() > 1 ? c[1] : "?";
    const Words rest(c.begin() + std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(c.size())),
                     c.end());
    if (begins_with(rest, {"primary", "key"})) has_key = true;
    if (begins_with(rest, {"exclude"})) say(table + ": " + name + " is an EXCLUDE constraint");
    const bool keyed = begins_with(rest, {"primary", "key"}) || begins_with(rest, {"unique"}) ||
                       begins_with(rest, {"foreign", "key"});
    if (fact && keyed && !begins_with(inside(rest, 0), {"shard"})) {
      say(table + ": " + name + " does not begin with shard");
    }
    if (begins_with(rest, {"foreign", "key"})) {
      if (const auto to = find(rest, {"references"}); to && *to + 1 < rest.size()) {
        const std::string other = rest[*to + 1];
        if (is_fact(table) != is_fact(other))
          say(table + ": " + name + " joins a fact table with another class");
      }
    }
  }

  void create_table(const Words& s) {
    std::size_t at = begins_with(s, {"create", "table", "if", "not", "exists"}) ? 5 : 2;
    const std::string table = at < s.size() ? s[at] : "?";
    tables.insert(table);
    if (!classes.contains(table)) say(table + ": has no class in classes.txt");
    const bool fact = is_fact(table);

    bool has_key = false, has_shard = false;
    for (const Words& part : split(inside(s, at), ",")) {
      if (part.empty()) continue;
      if (part[0] == "constraint") {
        constraint(table, part, fact, has_key);
        continue;
      }
      if (part[0] == "primary" || part[0] == "unique" || part[0] == "foreign" ||
          part[0] == "check" || part[0] == "exclude") {
        say(table + ": a constraint (" + part[0] + ") without a name");
        continue;
      }
      // A column. Constraints stand by themselves, with a name.
      for (const char* word : {"primary", "unique", "references", "check"}) {
        if (find(part, {word}))
          say(table + "." + part[0] + ": a constraint (" + word + ") without a name");
      }
      if (part[0] == "shard" && begins_with(part, {"shard", "int", "not", "null"}))
        has_shard = true;
      const bool counts =
          find(part, {"identity"}) || find(part, {"serial"}) || find(part, {"bigserial"});
      if (fact && counts) say(table + "." + part[0] + ": an identity column in a fact table");
    }
    if (!has_key) say(table + ": has no primary key");
    if (fact && !has_shard) say(table + ": has no column shard int NOT NULL");
  }

  void statement(const Words& s) {
    if (s.empty()) return;
    if (begins_with(s, {"create", "table"})) return create_table(s);
    if (begins_with(s, {"create", "unique", "index"})) {
      const auto on = find(s, {"on"});
      if (on && *on + 1 < s.size() && is_fact(s[*on + 1]) &&
          !begins_with(inside(s, *on), {"shard"})) {
        say(s[*on + 1] + ": a unique index that does not begin with shard");
      }
    }
    if (begins_with(s, {"alter", "table"})) {
      if (find(s, {"add", "primary"}) || find(s, {"add", "unique"}) ||
          find(s, {"add", "foreign"}) || find(s, {"add", "check"})) {
        say((s.size() > 2 ? s[2] : "?") + ": a constraint without a name is added");
      }
      if (const auto add = find(s, {"add", "constraint"})) {
        bool has_key = false;
        constraint(s[2], Words(s.begin() + static_cast<std::ptrdiff_t>(*add) + 1, s.end()),
                   is_fact(s[2]), has_key);
      }
    }
    if (find(s, {"trigger"})) say("a trigger: " + s[0] + " …");
    if (find(s, {"merge", "into"})) say("MERGE");
    if (find(s, {"with", "recursive"})) say("WITH RECURSIVE");
  }
};

}  // namespace

TableClasses read_classes(std::string_view text, std::vector<std::string>& complaints) {
  TableClasses classes;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string table, of, more;
    words >> table >> of;
    const bool known = of == "fact" || of == "catalog" || of == "control";
    if (!known || words >> more || !classes.emplace(table, of).second) {
      complaints.push_back("classes.txt: '" + line + "' is not a table and its class, once");
    }
  }
  return classes;
}

std::vector<std::string> lint(std::string_view sql, const TableClasses& classes) {
  Linter linter{classes, {}, {}};
  for (const Words& s : split(words_of(sql), ";")) linter.statement(s);
  return linter.complaints;
}

std::vector<std::string> lint_all(const std::vector<std::string>& files,
                                  const TableClasses& classes) {
  Linter linter{classes, {}, {}};
  for (const std::string& file : files) {
    for (const Words& s : split(words_of(file), ";")) linter.statement(s);
  }
  for (const auto& [table, of] : classes) {
    if (!linter.tables.contains(table)) linter.say("classes.txt: no migration makes " + table);
  }
  return linter.complaints;
}

}  // namespace muster::test
