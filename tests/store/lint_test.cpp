#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "schema/store/migrate.hpp"
#include "tests/store/schema_lint.hpp"

using namespace muster;
using test::lint;
using test::TableClasses;

namespace {

using Complaints = std::vector<std::string>;

const std::filesystem::path folder = std::filesystem::path(MUSTER_SOURCE_DIR) / "migrations";

std::string whole(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("the migrations keep the rules of the schema") {
  Complaints complaints;
  const TableClasses classes = test::read_classes(whole(folder / "classes.txt"), complaints);
  CHECK(classes.at("sample_log") == "fact");
  std::vector<std::string> files{whole(folder / "ledger.sql")};
  for (const auto& migration : store::migrations()) files.emplace_back(migration.sql);
  for (const std::string& c : test::lint_all(files, classes)) complaints.push_back(c);
  CHECK(complaints == Complaints{});
}

TEST_CASE("the migrations in the program are the files of the folder, numbered without a gap") {
  int version = 0;
  for (const auto& migration : store::migrations()) {
    CHECK(migration.version == ++version);
    CHECK(whole(folder / migration.name) == migration.sql);
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() == ".sql" && name != "ledger.sql") ++files;
  }
  CHECK(files == version);
}

TEST_CASE("each rule of the schema is seen to be broken") {
  const TableClasses classes{{"f", "fact"}, {"g", "fact"}, {"c", "control"}};
  CHECK(lint("CREATE TABLE f (shard int NOT NULL, a int, CONSTRAINT f_pk PRIMARY KEY (shard, a));"
             "CREATE TABLE c (a bigint GENERATED ALWAYS AS IDENTITY, CONSTRAINT c_pk PRIMARY KEY "
             "(a)); -- UNIQUE",
             classes) == Complaints{});

  const auto of = [&](const char* sql) { return lint(sql, classes); };
  CHECK(of("CREATE TABLE x (a int, CONSTRAINT x_pk PRIMARY KEY (a))") ==
        Complaints{"x: has no class in classes.txt"});
  CHECK(of("CREATE TABLE c (a int)") == Complaints{"c: has no primary key"});
  CHECK(of("CREATE TABLE c (a int PRIMARY KEY)") ==
        Complaints{"c.a: a constraint (primary) without a name", "c: has no primary key"});
  CHECK(of("CREATE TABLE c (a int, b int CHECK (b > 0), CONSTRAINT c_pk PRIMARY KEY (a))") ==
        Complaints{"c.b: a constraint (check) without a name"});
  CHECK(of("CREATE TABLE c (a int, UNIQUE (a), CONSTRAINT c_pk PRIMARY KEY (a))") ==
        Complaints{"c: a constraint (unique) without a name"});
  CHECK(of("CREATE TABLE f (a int, CONSTRAINT f_pk PRIMARY KEY (a))") ==
        Complaints{"f: f_pk does not begin with shard", "f: has no column shard int NOT NULL"});
  CHECK(of("CREATE TABLE f (shard int NOT NULL, a int, CONSTRAINT f_pk PRIMARY KEY (shard, a), "
           "CONSTRAINT f_one UNIQUE (a))") == Complaints{"f: f_one does not begin with shard"});
  CHECK(of("CREATE TABLE f (shard int NOT NULL, a bigint GENERATED ALWAYS AS IDENTITY, "
           "CONSTRAINT f_pk PRIMARY KEY (shard, a))") ==
        Complaints{"f.a: an identity column in a fact table"});
  CHECK(of("CREATE TABLE f (shard int NOT NULL, a int, CONSTRAINT f_pk PRIMARY KEY (shard, a), "
           "CONSTRAINT f_c FOREIGN KEY (shard, a) REFERENCES c (a))") ==
        Complaints{"f: f_c joins a fact table with another class"});
  CHECK(of("CREATE UNIQUE INDEX i ON f (a, shard)") ==
        Complaints{"f: a unique index that does not begin with shard"});
  CHECK(of("ALTER TABLE c ADD UNIQUE (a)") ==
        Complaints{"c: a constraint without a name is added"});
  CHECK(of("ALTER TABLE f ADD CONSTRAINT f_u UNIQUE (a)") ==
        Complaints{"f: f_u does not begin with shard"});
  CHECK(of("CREATE TRIGGER t BEFORE INSERT ON c EXECUTE FUNCTION x()").size() == 1);
  CHECK(of("WITH RECURSIVE r AS (SELECT 1) SELECT 1") == Complaints{"WITH RECURSIVE"});
  CHECK(of("CREATE TABLE c (a int, CONSTRAINT c_pk PRIMARY KEY (a), CONSTRAINT c_x EXCLUDE USING "
           "gist (a WITH =))") == Complaints{"c: c_x is an EXCLUDE constraint"});
  CHECK(test::lint_all({}, classes).size() == 3);

  Complaints complaints;
  test::read_classes("# a comment\na fact\na fact\nb factual\n", complaints);
  CHECK(complaints.size() == 2);
}
