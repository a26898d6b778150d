#pragma once

#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <utility>

#include "schema/store/connection.hpp"

// libpqxx with our exceptions; included by sources alone, as it is heavy.
namespace muster::store {

inline std::unique_ptr<pqxx::connection> connect_control(const std::string& dsn,
                                                         const ConnectOptions& options) {
  try {
    return std::make_unique<pqxx::connection>(conninfo(dsn, options));
  } catch (const pqxx::failure& fault) {
    throw Unavailable(std::string("cannot connect: ") + fault.what());
  }
}

// Runs `work` and turns what libpqxx throws into Unavailable or Rejected.
template <class Work>
auto translated(const pqxx::connection& connection, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const pqxx::broken_connection& fault) {
    throw Unavailable(fault.what());
  } catch (const pqxx::in_doubt_error& fault) {
    throw Unavailable(fault.what());
  } catch (const pqxx::sql_error& fault) {
    if (!connection.is_open()) throw Unavailable(fault.what());
    fail(fault.sqlstate(), fault.what());
  } catch (const pqxx::failure& fault) {
    // transaction_rollback and its kin: nothing was done.
    throw Unavailable(fault.what());
  }
}

}  // namespace muster::store
