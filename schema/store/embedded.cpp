#include "schema/store/embedded.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "schema/store/connection.hpp"

namespace muster::store {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int least_version = 15;  // the first with wal_compression = lz4
constexpr const char* package = "postgresql";
constexpr const char* role = "muster";
constexpr const char* database = "muster";
constexpr const char* port = "5432";  // names the socket; nothing listens on a network

struct Fd {
  explicit Fd(int f = -1) : fd(f) {}
  Fd(Fd&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

std::string words(int error) {
  return std::strerror(error);
}

// Who the server runs as.
struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  std::vector<gid_t> groups;
};

Account account_of(const passwd& entry) {
  Account account{entry.pw_uid, entry.pw_gid, entry.pw_name, {}};
  int count = 0;
  getgrouplist(entry.pw_name, entry.pw_gid, nullptr, &count);
  account.groups.resize(static_cast<std::size_t>(count));
  getgrouplist(entry.pw_name, entry.pw_gid, account.groups.data(), &count);
  return account;
}

Account choose_account(const fs::path& folder) {
  uid_t uid = geteuid();
  if (uid == 0) {
    struct stat about {};
    if (::stat(folder.c_str(), &about) == 0 && about.st_uid != 0) {
      uid = about.st_uid;
    } else {
      const passwd* entry = getpwnam("postgres");
      if (!entry) {
        throw EmbeddedRefused(
            "PostgreSQL does not run as root, and there is no user 'postgres' to run it as. "
            "Install the Debian "
            "package postgresql, or give the folder to another user: chown USER " +
            folder.string());
      }
      return account_of(*entry);
    }
  }
  const passwd* entry = getpwuid(uid);
  if (!entry) {
    throw EmbeddedRefused(
        "user id " + std::to_string(uid) +
        " has no name in /etc/passwd, which PostgreSQL needs: add one, or start as another user");
  }
  return account_of(*entry);
}

// Starts a program as `account`, in `folder`, with its output appended to `output`. Between fork
// and exec only what a signal handler may do: other threads may hold any lock.
pid_t launch(const std::vector<std::string>& command, const Account& account,
             const fs::path& folder, int output) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const std::string home = "HOME=" + folder.string();
  const std::string path = "PATH=/usr/local/bin:/usr/bin:/bin";
  const std::string locale = "LC_ALL=C";
  char* const environment[] = {const_cast<char*>(home.c_str()), const_cast<char*>(path.c_str()),
                               const_cast<char*>(locale.c_str()), nullptr};
  const bool change_user = geteuid() == 0;

  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) throw Unavailable("pipe: " + words(errno));
  const Fd read_end(report[0]);
  Fd write_end(report[1]);

  const pid_t child = ::fork();
  if (child < 0) throw Unavailable("fork: " + words(errno));
  if (child == 0) {
    struct Failure {
      int step;
      int error;
    } failure{};
    const auto leave = [&](int step) {
      failure = {step, errno};
      [[maybe_unused]] const auto n = ::write(report[1], &failure, sizeof failure);
      ::_exit(127);
    };
    ::setsid();  // an interrupt from the terminal is for muster, which stops the server in its turn
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (change_user) {
      if (::setgroups(account.groups.size(), account.groups.data()) != 0) leave(1);
      if (::setgid(account.gid) != 0 || ::setuid(account.uid) != 0) leave(1);
    }
    ::umask(077);
    if (::chdir(folder.c_str()) != 0) leave(2);
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (::dup2(nothing, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) leave(3);
    ::execve(argv[0], argv.data(), environment);
    leave(4);
  }

  write_end = Fd();
  int failure[2] = {0, 0};
  if (::read(read_end.fd, failure, sizeof failure) == sizeof failure) {
    ::waitpid(child, nullptr, 0);
    if (failure[0] == 2) {
      throw EmbeddedRefused(
          "user " + account.name + ", who runs PostgreSQL, cannot enter " + folder.string() + " (" +
          words(failure[1]) +
          "): choose a data folder outside of private homes, e.g. /var/lib/muster");
    }
    throw EmbeddedRefused("cannot run " + command[0] + " as " + account.name + ": " +
                          words(failure[1]));
  }
  return child;
}

// The end of a text file, for messages.
std::string tail(const fs::path& file, std::size_t bytes = 1500) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const auto size = static_cast<std::size_t>(in.tellg());
  const std::size_t from = size > bytes ? size - bytes : 0;
  in.seekg(static_cast<std::streamoff>(from));
  std::string text(size - from, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  return text;
}

// Runs a program to its end; its output when it went well.
std::string run(const std::vector<std::string>& command, const Account& account,
                const fs::path& folder) {
  Fd output(::memfd_create("output", MFD_CLOEXEC));
  if (output.fd < 0) throw Unavailable("memfd_create: " + words(errno));
  const pid_t child = launch(command, account, folder, output.fd);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::string text(static_cast<std::size_t>(std::max<off_t>(::lseek(output.fd, 0, SEEK_END), 0)),
                   '\0');
  const ssize_t got = ::pread(output.fd, text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw EmbeddedRefused(command[0] +
                          " failed: " + text.substr(text.size() > 1500 ? text.size() - 1500 : 0));
  }
  return text;
}

// The major version that "postgres (PostgreSQL) 15.10 (Debian …)" tells.
int major_in(std::string_view text) {
  const auto at = text.find(") ");
  return at == text.npos ? 0 : std::atoi(std::string(text.substr(at + 2)).c_str());
}

struct Programs {
  fs::path folder;
  int major = 0;
};

bool has_programs(const fs::path& folder) {
  return ::access((folder / "postgres").c_str(), X_OK) == 0 &&
         ::access((folder / "initdb").c_str(), X_OK) == 0;
}

std::vector<Programs> find_programs(const EmbeddedPostgres::Settings& settings,
                                    const Account& account) {
  std::vector<fs::path> places;
  if (!settings.programs.empty()) {
    places.push_back(settings.programs);
  } else {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
      places.push_back(entry.path() / "bin");
    }
    std::istringstream path(::getenv("PATH") ? ::getenv("PATH") : "");
    for (std::string place; std::getline(path, place, ':');) {
      if (place.empty()) continue;
      places.push_back(place);
      if (::access((fs::path(place) / "pg_config").c_str(), X_OK) != 0) continue;
      try {
        std::string told =
            run({(fs::path(place) / "pg_config").string(), "--bindir"}, account, settings.folder);
        told.erase(told.find_last_not_of(" \n") + 1);
        places.push_back(told);
      } catch (const EmbeddedRefused&) {
        // A pg_config that does not run knows no place.
      }
    }
  }

  std::vector<Programs> found;
  for (const fs::path& place : places) {
    if (!has_programs(place)) continue;
    const bool known = std::any_of(found.begin(), found.end(), [&](const Programs& p) {
      return fs::equivalent(p.folder, place);
    });
    if (known) continue;
    const int major =
        major_in(run({(place / "postgres").string(), "--version"}, account, settings.folder));
    if (major > 0) found.push_back({place, major});
  }
  // The newest first.
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.major > b.major; });
  return found;
}

// Whether the process has ended; waits for it up to `patience`.
bool ended(pid_t pid, bool ours, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (handle.fd < 0 && errno == ESRCH) return true;
  for (;;) {
    if (ours) {
      const pid_t got = ::waitpid(pid, nullptr, WNOHANG);
      if (got == pid || (got < 0 && errno == ECHILD)) return true;
    } else if (::kill(pid, 0) != 0 && errno == ESRCH) {
      return true;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    if (handle.fd >= 0) {
      pollfd wait{handle.fd, POLLIN, 0};
      // Somebody else's child may stay a zombie; it has ended all the same.
      if (::poll(&wait, 1, static_cast<int>(left.count())) > 0 && !ours) return true;
    } else {
      ::poll(nullptr, 0,
             static_cast<int>(std::min<long>(20, left.count())));  // a kernel before 5.3
    }
  }
}

// Processes named postgres whose working folder is the cluster: they all have it.
std::vector<pid_t> processes_of(const fs::path& data) {
  std::vector<pid_t> found;
  std::error_code error;
  const fs::path real = fs::canonical(data, error);
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    std::error_code unreadable;
    if (fs::read_symlink(entry.path() / "cwd", unreadable) != real) continue;
    std::ifstream comm(entry.path() / "comm");
    std::string program;
    std::getline(comm, program);
    if (program == "postgres") found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

std::optional<pid_t> recorded_postmaster(const fs::path& data) {
  std::ifstream in(data / "postmaster.pid");
  long pid = 0;
  if (!(in >> pid) || pid <= 1) return std::nullopt;
  return static_cast<pid_t>(pid);
}

void write_whole(const fs::path& file, const std::string& text, const Account& account) {
  const fs::path next = file.string() + ".new";
  {
    const Fd out(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (out.fd < 0) throw Unavailable("cannot write " + next.string() + ": " + words(errno));
    if (geteuid() == 0 && ::fchown(out.fd, account.uid, account.gid) != 0) {
      throw Unavailable("cannot give " + next.string() + " to " + account.name + ": " +
                        words(errno));
    }
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = ::write(out.fd, text.data() + done, text.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Unavailable("cannot write " + next.string() + ": " + words(errno));
      done += static_cast<std::size_t>(n);
    }
    if (::fsync(out.fd) != 0)
      throw Unavailable("cannot write " + next.string() + ": " + words(errno));
  }
  fs::rename(next, file);
}

std::string in_quotes(std::string_view text, char escape) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || (c == '\\' && escape == '\\')) out += escape;
    out += c;
  }
  return out + "'";
}

}  // namespace

struct EmbeddedPostgres::Running {
  explicit Running(Settings s) : settings(std::move(s)) {}

  Settings settings;
  Account account;
  Programs programs;
  fs::path data;
  fs::path sockets;
  bool sockets_elsewhere = false;
  Fd lock;
  mutable std::mutex mutex;  // guards postmaster
  pid_t postmaster = 0;

  std::string dsn(const char* to) const {
    return "host=" + in_quotes(sockets.string(), '\\') + " port=" + port + " user=" + role +
           " dbname=" + to;
  }

  void prepare();
  void take_lock();
  void choose_programs();
  void clear_the_way();
  void initialise();
  void choose_sockets();
  void write_settings();
  void start();
  void make_database();
  void stop(int signal, std::chrono::seconds patience);
};

void EmbeddedPostgres::Running::prepare() {
  std::error_code error;
  settings.folder = fs::absolute(settings.folder);
  const bool made = fs::create_directories(settings.folder, error);
  if (error)
    throw EmbeddedRefused("cannot make the folder " + settings.folder.string() + ": " +
                          error.message());
  settings.folder = fs::canonical(settings.folder);
  if (made) fs::permissions(settings.folder, fs::perms::owner_all, error);
  account = choose_account(settings.folder);
  if (geteuid() == 0) {
    struct stat about {};
    if (::lstat(settings.folder.c_str(), &about) == 0 && about.st_uid != account.uid &&
        ::lchown(settings.folder.c_str(), account.uid, account.gid) != 0) {
      throw EmbeddedRefused("cannot give " + settings.folder.string() + " to " + account.name +
                            ": " + words(errno));
    }
  }
  data = settings.folder / "data";
  take_lock();
  choose_programs();
  clear_the_way();
  if (!fs::exists(data / "PG_VERSION")) initialise();
  choose_sockets();
}

// Two musters on one folder would stop each other's server.
void EmbeddedPostgres::Running::take_lock() {
  const fs::path file = settings.folder / "muster.lock";
  lock = Fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock.fd < 0) throw EmbeddedRefused("cannot write " + file.string() + ": " + words(errno));
  if (::flock(lock.fd, LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = {};
    [[maybe_unused]] const auto n = ::pread(lock.fd, pid, sizeof pid - 1, 0);
    throw EmbeddedRefused("another muster (pid " + std::string(pid) + ") runs on " +
                          settings.folder.string() + ": stop it, or choose another data folder");
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(lock.fd, 0) != 0 || ::pwrite(lock.fd, pid.data(), pid.size(), 0) < 0) {
    throw EmbeddedRefused("cannot write " + file.string() + ": " + words(errno));
  }
}

void EmbeddedPostgres::Running::choose_programs() {
  const std::vector<Programs> found = find_programs(settings, account);
  if (found.empty()) {
    throw EmbeddedRefused(
        "the PostgreSQL server is not installed" +
        (settings.programs.empty() ? std::string() : " in " + settings.programs.string()) +
        ": apt-get install " + package + " (or set control_dsn to use one that runs elsewhere)");
  }
  std::ifstream in(data / "PG_VERSION");
  int have = 0;
  if (in >> have) {
    for (const Programs& p : found) {
      if (p.major == have) {
        programs = p;
        return;
      }
    }
    const std::string h = std::to_string(have), f = std::to_string(found.front().major);
    throw EmbeddedRefused(
        data.string() + " was made by PostgreSQL " + h + ", but only version " + f +
        " is installed (" + found.front().folder.string() + "). Either install postgresql-" + h +
        " and start again, or upgrade the folder: with both versions installed, as user " +
        account.name +
        ", initdb a new folder with --data-checksums, run pg_upgrade -b /usr/lib/postgresql/" + h +
        "/bin -B /usr/lib/postgresql/" + f + "/bin -d " + data.string() +
        " -D NEW, and put NEW in its place");
  }
  programs = found.front();
  if (programs.major < least_version) {
    throw EmbeddedRefused("PostgreSQL " + std::to_string(programs.major) +
                          " is installed, and muster needs " + std::to_string(least_version) +
                          " or newer: apt-get install " + package);
  }
}

// Whatever an earlier run left: a living server whose muster was killed is stopped cleanly;
// backends whose postmaster was killed are told to end, as a new one does not start beside them.
void EmbeddedPostgres::Running::clear_the_way() {
  if (!fs::exists(data)) return;
  std::vector<pid_t> living = processes_of(data);
  if (living.empty()) return;

  const auto recorded = recorded_postmaster(data);
  if (recorded && std::find(living.begin(), living.end(), *recorded) != living.end()) {
    log::warn("postgres.left_behind",
              {{"pid", *recorded}, {"folder", data.string()}, {"then", "stopped cleanly"}});
    ::kill(*recorded, SIGINT);
    if (!ended(*recorded, false, settings.stop_max)) {
      ::kill(*recorded, SIGQUIT);
      ended(*recorded, false, std::chrono::seconds(10));
    }
  }
  // A backend that is idle sees the end of its postmaster at once; a busy one has to be told.
  const auto each = [&](int signal, std::chrono::seconds patience) {
    const auto deadline = Clock::now() + patience;
    for (const pid_t pid : processes_of(data)) {
      if (signal != 0) ::kill(pid, signal);
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      ended(pid, false, std::max(left, std::chrono::milliseconds(0)));
    }
  };
  each(0, std::chrono::seconds(1));
  each(SIGTERM, std::chrono::seconds(10));
  each(SIGKILL, std::chrono::seconds(10));
  living = processes_of(data);
  if (!living.empty()) {
    throw EmbeddedRefused("process " + std::to_string(living.front()) +
                          " of an earlier PostgreSQL on " + data.string() +
                          " does not end: end it and start again");
  }
}

// Into a folder of another name, so that a kill in mid-way leaves nothing that looks like a
// cluster.
void EmbeddedPostgres::Running::initialise() {
  if (fs::exists(data) && !fs::is_empty(data)) {
    throw EmbeddedRefused(data.string() +
                          " is not empty and holds no PostgreSQL cluster: choose another folder");
  }
  const fs::path fresh = settings.folder / "data.new";
  fs::remove_all(fresh);
  std::vector<std::string> command{(programs.folder / "initdb").string(),
                                   "--pgdata=" + fresh.string(),
                                   std::string("--username=") + role,
                                   "--auth=peer",
                                   "--encoding=UTF8",
                                   "--locale=C",
                                   "--data-checksums",
                                   "--no-instructions"};
  if (settings.initialise_without_sync) command.push_back("--no-sync");
  run(command, account, settings.folder);

  std::string conf = tail(fresh / "postgresql.conf", 1 << 20);
  conf +=
      "\n# muster writes its settings at each start; yours go into local.conf and win.\n"
      "include = 'muster.conf'\ninclude_if_exists = 'local.conf'\n";
  write_whole(fresh / "postgresql.conf", conf, account);
  fs::remove_all(data);
  fs::rename(fresh, data);
  log::info("postgres.initialised",
            {{"folder", data.string()}, {"version", programs.major}, {"user", account.name}});
}

void EmbeddedPostgres::Running::choose_sockets() {
  // struct sockaddr_un holds 107 bytes and a zero.
  constexpr std::size_t path_max = 107;
  sockets = settings.folder / "run";
  if ((sockets / (std::string(".s.PGSQL.") + port)).string().size() <= path_max) {
    std::error_code ignored;
    fs::create_directory(sockets, ignored);
  } else {
    std::string made = "/tmp/muster-XXXXXX";
    if (!::mkdtemp(made.data()))
      throw EmbeddedRefused("cannot make a folder under /tmp: " + words(errno));
    sockets = made;
    sockets_elsewhere = true;
  }
  const Fd opened(::open(sockets.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (opened.fd < 0 || ::fchmod(opened.fd, 0700) != 0 ||
      (geteuid() == 0 && ::fchown(opened.fd, account.uid, account.gid) != 0)) {
    throw EmbeddedRefused("cannot use " + sockets.string() + " for the socket: " + words(errno));
  }
}

void EmbeddedPostgres::Running::write_settings() {
  const auto mb = [](int n) { return std::to_string(n) + "MB"; };
  std::map<std::string, std::string> lines{
      {"listen_addresses", ""},
      {"unix_socket_directories", sockets.string()},
      {"unix_socket_permissions", "0700"},
      {"port", port},
      {"max_connections", std::to_string(settings.connections_max)},
      {"shared_buffers", mb(settings.shared_buffers_mb)},
      {"effective_cache_size", mb(settings.shared_buffers_mb * 4)},
      {"work_mem", "16MB"},
      {"maintenance_work_mem", "128MB"},
      // An acknowledged sample is on the disk.
      {"fsync", "on"},
      {"synchronous_commit", "on"},
      {"full_page_writes", "on"},
      {"wal_compression", "lz4"},
      {"default_toast_compression", "lz4"},
      // Few checkpoints, as each makes full page images; 2 GB bound the disk and the time to
      // recover.
      {"checkpoint_timeout", "15min"},
      {"max_wal_size", "2GB"},
      {"min_wal_size", "256MB"},
      // Short statements all: compiling them costs more than it gives.
      {"jit", "off"},
      {"timezone", "UTC"},
      {"log_timezone", "UTC"},
      // A file per day of the week, overwritten after a week.
      {"logging_collector", "on"},
      {"log_directory", "log"},
      {"log_filename", "postgresql-%a.log"},
      {"log_truncate_on_rotation", "on"},
      {"log_rotation_age", "1d"},
      {"log_rotation_size", "0"},
      {"log_line_prefix", "%m [%p] %a "},
      {"log_checkpoints", "off"},
  };
  for (const auto& [name, value] : settings.more) lines[name] = value;

  std::string conf = "# Written by muster at each start. Your own settings go into local.conf.\n";
  for (const auto& [name, value] : lines) conf += name + " = " + in_quotes(value, '\'') + "\n";
  write_whole(data / "muster.conf", conf, account);

  // The socket lies in a folder that only these two may enter; peer says it once more.
  write_whole(data / "pg_hba.conf", "local all all peer map=muster\n", account);
  std::string ident = "muster " + account.name + " " + role + "\n";
  if (const passwd* self = getpwuid(geteuid()); self && self->pw_name != account.name) {
    ident += "muster " + std::string(self->pw_name) + " " + role + "\n";
  }
  write_whole(data / "pg_ident.conf", ident, account);
}

void EmbeddedPostgres::Running::start() {
  write_settings();
  const fs::path output_file = settings.folder / "start.log";
  const Fd output(
      ::open(output_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (output.fd < 0)
    throw Unavailable("cannot write " + output_file.string() + ": " + words(errno));

  const auto begun = Clock::now();
  postmaster = launch({(programs.folder / "postgres").string(), "-D", data.string()}, account,
                      settings.folder, output.fd);

  const std::string to = dsn("postgres");
  bool told = false;
  auto patience = std::chrono::milliseconds(10);
  // The file says that it is this one that answers.
  while (recorded_postmaster(data) != postmaster || PQping(to.c_str()) != PQPING_OK) {
    if (ended(postmaster, true, patience)) {
      postmaster = 0;
      throw Unavailable("PostgreSQL did not start: " + tail(output_file) + " (more in " +
                        (data / "log").string() + ")");
    }
    const auto waited = Clock::now() - begun;
    if (!told && waited > std::chrono::seconds(5)) {
      told = true;
      log::info("postgres.recovering", {{"folder", data.string()}});
    }
    if (waited > settings.start_max) {
      stop(SIGQUIT, std::chrono::seconds(10));
      throw Unavailable("PostgreSQL took more than " + std::to_string(settings.start_max.count()) +
                        " s to start; look into " + (data / "log").string());
    }
    patience = std::min(patience * 2, std::chrono::milliseconds(100));
  }
  make_database();
  log::info("postgres.started",
            {{"pid", postmaster},
             {"socket", sockets.string()},
             {"seconds", std::chrono::duration<double>(Clock::now() - begun).count()}});
}

void EmbeddedPostgres::Running::make_database() {
  ConnectOptions options;
  options.application_name = "muster start";
  options.statement_timeout = settings.start_max;
  Connection connection(dsn("postgres"), options);
  if (connection.run(std::string("SELECT 1 FROM pg_database WHERE datname = '") + database + "'")
          .size() == 0) {
    connection.run(std::string("CREATE DATABASE ") + database);
  }
}

void EmbeddedPostgres::Running::stop(int signal, std::chrono::seconds patience) {
  if (postmaster == 0) return;
  ::kill(postmaster, signal);
  if (!ended(postmaster, true, patience)) {
    log::warn("postgres.slow_stop",
              {{"pid", postmaster}, {"then", "stopped at once, it recovers at the next start"}});
    ::kill(postmaster, SIGQUIT);
    if (!ended(postmaster, true, std::chrono::seconds(10))) {
      ::kill(postmaster, SIGKILL);
      ended(postmaster, true, std::chrono::seconds(10));
    }
  }
  postmaster = 0;
}

EmbeddedPostgres::EmbeddedPostgres(Settings settings)
    : running_(std::make_unique<Running>(std::move(settings))) {
  running_->prepare();
  running_->start();
}

EmbeddedPostgres::~EmbeddedPostgres() {
  stop();
  std::error_code ignored;
  if (running_->sockets_elsewhere) std::filesystem::remove_all(running_->sockets, ignored);
}

std::string EmbeddedPostgres::dsn() const {
  return running_->dsn(database);
}

bool EmbeddedPostgres::ensure_running() {
  const std::lock_guard guard(running_->mutex);
  if (running_->postmaster != 0 && !ended(running_->postmaster, true, std::chrono::milliseconds(0)))
    return false;
  if (running_->postmaster != 0) {
    log::error("postgres.died", {{"pid", running_->postmaster}, {"then", "started again"}});
    running_->postmaster = 0;
  }
  running_->clear_the_way();
  running_->start();
  return true;
}

void EmbeddedPostgres::stop() {
  const std::lock_guard guard(running_->mutex);
  running_->stop(SIGINT, running_->settings.stop_max);
}

void EmbeddedPostgres::stop_immediate() {
  const std::lock_guard guard(running_->mutex);
  running_->stop(SIGQUIT, std::chrono::seconds(10));
}

pid_t EmbeddedPostgres::pid() const {
  const std::lock_guard guard(running_->mutex);
  return running_->postmaster;
}

}  // namespace muster::store
