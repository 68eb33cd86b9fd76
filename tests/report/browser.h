#pragma once
// Chromium driven through its debugging pipe, in real time: with --virtual-time-budget --dump-dom sounds do not play.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/base/text.h"

namespace thaw::test {

inline bool has_chromium() {
  return std::system("command -v chromium >/dev/null 2>&1") == 0;
}

/// One page in a browser of its own. Chrome DevTools Protocol: JSON messages, each ended by a zero byte, on the
/// browser's descriptors 3 (in) and 4 (out).
class Browser {
 public:
  explicit Browser(const std::filesystem::path& profile) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const std::string profile_flag = "--user-data-dir=" + profile.string();
    process_ = ::fork();
    if (process_ == 0) run_browser(in[0], out[1], profile_flag.c_str());
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
    const auto target = call("Target.createTarget", {{"url", "about:blank"}}).at("targetId");
    session_ = call("Target.attachToTarget", {{"targetId", target}, {"flatten", true}}).at("sessionId");
    call("Runtime.enable");
    call("Log.enable");
  }

  ~Browser() {
    ::close(to_);  // the browser ends when its pipe does
    ::close(from_);
    for (int i = 0; i < 100 && ::waitpid(process_, nullptr, WNOHANG) == 0; ++i) {
      if (i == 60) ::kill(-process_, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  nlohmann::json call(const std::string& method, nlohmann::json params = nlohmann::json::object()) {
    nlohmann::json request{{"id", ++last_id_}, {"method", method}, {"params", std::move(params)}};
    if (!session_.empty()) request["sessionId"] = session_;
    const std::string text = request.dump() + '\0';
    for (std::size_t sent = 0; sent < text.size();) {
      const ssize_t wrote = ::write(to_, text.data() + sent, text.size() - sent);
      if (wrote <= 0) throw std::runtime_error("the browser is gone");
      sent += static_cast<std::size_t>(wrote);
    }
    while (true) {
      const nlohmann::json message = receive();
      note(message);
      if (message.value("id", 0) != last_id_) continue;
      if (message.contains("error")) throw std::runtime_error(concat(method, ": ", message["error"].dump()));
      return message.at("result");
    }
  }

  /// The value of a JavaScript expression; promises are awaited.
  nlohmann::json evaluate(const std::string& expression) {
    const auto answer =
        call("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
    if (answer.contains("exceptionDetails")) throw std::runtime_error(answer["exceptionDetails"].dump());
    return answer.at("result").value("value", nlohmann::json());
  }

  /// Opens a page and waits until `expression` is true there, at most 60 s.
  void visit(const std::string& address, const std::string& expression) {
    call("Page.navigate", {{"url", address}});
    for (int i = 0; i < 1200; ++i) {
      if (evaluate("document.body !== null && Boolean(" + expression + ")") == true) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    throw std::runtime_error(concat(address, ": never became true: ", expression));
  }

  /// What the page wrote to the console, and its uncaught exceptions, one a line.
  const std::string& console() const { return console_; }

 private:
  [[noreturn]] static void run_browser(int in, int out, const char* profile_flag) {
    ::setpgid(0, 0);
    ::dup2(::fcntl(in, F_DUPFD, 10), 3);  // by way of 10 and above: in or out may be 3 or 4 themselves
    ::dup2(::fcntl(out, F_DUPFD, 10), 4);
    const int silence = ::open("/dev/null", O_RDWR);
    ::dup2(silence, 1);
    ::dup2(silence, 2);
    ::execlp("chromium", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio",
             "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe", profile_flag, nullptr);
    ::_exit(127);
  }

  nlohmann::json receive() {
    while (buffer_.find('\0') == std::string::npos) {
      pollfd ready{from_, POLLIN, 0};
      if (::poll(&ready, 1, 60000) <= 0) throw std::runtime_error("the browser does not answer");
      std::array<char, 65536> part;
      const ssize_t got = ::read(from_, part.data(), part.size());
      if (got <= 0) throw std::runtime_error("the browser is gone");
      buffer_.append(part.data(), static_cast<std::size_t>(got));
    }
    const std::size_t end = buffer_.find('\0');
    const std::string text = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return nlohmann::json::parse(text);
  }

  void note(const nlohmann::json& message) {
    const std::string method = message.value("method", "");
    if (method == "Runtime.consoleAPICalled" || method == "Runtime.exceptionThrown" || method == "Log.entryAdded")
      console_ += message.at("params").dump() + "\n";
  }

  pid_t process_ = -1;
  int to_ = -1, from_ = -1, last_id_ = 0;
  std::string session_, buffer_, console_;
};

}  // namespace thaw::test
