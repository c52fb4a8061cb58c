#include "tools/musterctl/context_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/toml_file.h"

namespace muster::ctl {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;

absl::Status Misunderstood(const std::string& path, const toml::node& node,
                           std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("{}:{}: {}", path, node.source().begin.line, what));
}

absl::Status CheckOwnerOnly(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (info.st_uid != geteuid()) {
    return absl::FailedPreconditionError(
        fmt::format("{} belongs to user {}, not to you; it is not read", path,
                    info.st_uid));
  }
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("{} holds tokens but has mode {:04o}; run: chmod 600 {}",
                    path, info.st_mode & 07777, path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextOf(const std::string& path,
                                   const toml::node& node,
                                   std::string_view key) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  return Misunderstood(path, node, fmt::format("{} must be a string", key));
}

absl::StatusOr<Context> ReadContext(const std::string& path,
                                    const toml::table& table) {
  Context context;
  for (const auto& [key, node] : table) {
    ASSIGN_OR_RETURN(std::string text, TextOf(path, node, key.str()));
    if (key == "server") {
      context.server = std::move(text);
    } else if (key == "token") {
      context.token = Secret(std::move(text));
    } else if (key == "ca_file") {
      context.ca_file = std::move(text);
    } else if (key == "pin") {
      context.pin = std::move(text);
    } else {
      return Misunderstood(
          path, node,
          fmt::format("unknown setting \"{}\"; known: server, token, ca_file, "
                      "pin",
                      key.str()));
    }
  }
  return context;
}

absl::StatusOr<Contexts> ReadAll(const std::string& path,
                                 const toml::table& file) {
  Contexts contexts;
  for (const auto& [key, node] : file) {
    if (key == "current") {
      ASSIGN_OR_RETURN(contexts.current, TextOf(path, node, "current"));
    } else if (const toml::table* all = node.as_table();
               all != nullptr && key == "context") {
      for (const auto& [name, one] : *all) {
        if (!one.is_table()) {
          return Misunderstood(path, one, "expected [context.NAME]");
        }
        ASSIGN_OR_RETURN(contexts.by_name[std::string(name.str())],
                         ReadContext(path, *one.as_table()));
      }
    } else {
      return Misunderstood(path, node,
                           fmt::format("unknown setting \"{}\"; known: "
                                       "current, [context.NAME]",
                                       key.str()));
    }
  }
  return contexts;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

// Bare where TOML allows it.
std::string Key(const std::string& name) {
  const bool bare = !name.empty() && std::ranges::all_of(name, [](char c) {
    return isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
  return bare ? name : Quoted(name);
}

}  // namespace

absl::StatusOr<Contexts> LoadContexts(const std::string& path) {
  if (!FileExists(path)) return Contexts{};
  RETURN_IF_ERROR(CheckOwnerOnly(path));
  ASSIGN_OR_RETURN(const toml::table file,
                   wire::ReadTomlFile(path, kFileBytesMax));
  return ReadAll(path, file);
}

absl::Status SaveContexts(const std::string& path, const Contexts& contexts) {
  std::string text;
  if (!contexts.current.empty()) {
    text += fmt::format("current = {}\n", Quoted(contexts.current));
  }
  for (const auto& [name, context] : contexts.by_name) {
    text += fmt::format("\n[context.{}]\n", Key(name));
    const auto line = [&](std::string_view key, const std::string& value) {
      if (!value.empty()) text += fmt::format("{} = {}\n", key, Quoted(value));
    };
    line("server", context.server);
    line("token", context.token.Reveal());
    line("ca_file", context.ca_file);
    line("pin", context.pin);
  }
  const std::string folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) RETURN_IF_ERROR(MakeFolder(folder, 0700));
  return WriteFileDurably(path, text, 0600);
}

}  // namespace muster::ctl
