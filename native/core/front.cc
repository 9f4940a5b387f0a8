// The loop, accepting and reporting; what happens to one pending connection is in front_pending.cc.
#include "front.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "layout.h"
#include "listener.h"
#include "opened.h"

namespace penstock {
namespace {

constexpr size_t kAcceptsPerTurn = 64;
constexpr size_t kAcceptsPerFullTurn = 4;  // while handshakes are waiting for the processor
constexpr uint64_t kListenerPauseMs = 100;
constexpr double kReportsPerSecond = 20;

uint64_t MonotonicMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

UniqueFd OpenReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Front::Front(FrontOptions options, double* counters, std::function<bool(Refusal)> on_refused)
    : options_(std::move(options)), counters_(counters), on_refused_(std::move(on_refused)) {
  for (const FrontListener& one : options_.listeners) {
    auto listener = std::make_unique<Listener>();
    BoundSocket bound = one.path.empty() ? BindAndListen(one.host, one.port) : BindUnix(one.path, one.mode, listener->place);
    listener->kind = SourceKind::kListener;
    listener->options = one;
    listener->index = static_cast<uint32_t>(listeners_.size());
    listener->fd = std::move(bound.fd);
    listener->port = bound.port;
    listener->error = bound.error;
    listeners_.push_back(std::move(listener));
  }
}

Front::~Front() { Stop(); }

uint16_t Front::BoundPort(size_t index, std::string& error) const {
  error = listeners_[index]->error;
  return listeners_[index]->port;
}

std::string Front::Start() {
  if (thread_.joinable() || is_stopping_.load()) return "the front was started before";
  for (const auto& listener : listeners_) {
    const std::string& context = listener->options.context;
    if (context.empty() || contexts_.Get(context) != nullptr) continue;
    return "listener " + listener->options.name + ": there is no secure context " + context;
  }
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  wake_.Reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  reserve_ = OpenReserve();
  if (!epoll_.is_open() || !wake_.is_open() || !Watch(EPOLL_CTL_ADD, wake_.get(), EPOLLIN, &wake_source_)) return "no descriptors are left";
  for (const auto& listener : listeners_)
    if (listener->fd.is_open() && !Watch(EPOLL_CTL_ADD, listener->fd.get(), EPOLLIN, listener.get())) return "no descriptors are left";
  // Signals are main's: the thread inherits a mask that blocks them all.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "penstock-front");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

void Front::Stop() {
  if (!is_stopping_.exchange(true) && thread_.joinable()) {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);  // an eventfd at 0 always takes it
    thread_.join();
  }
  handshaking_.clear();
  awaiting_frame_.clear();
  listeners_.clear();
  CountPending();
}

void Front::Run() {
  now_ms_ = report_tokens_at_ms_ = MonotonicMs();
  report_tokens_ = kReportsPerSecond;
  std::array<epoll_event, kEventsPerTurn> ready{};
  while (!is_stopping_.load(std::memory_order_acquire)) {
    const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), TimeoutMs());
    now_ms_ = MonotonicMs();
    if (count > 0) {
      const auto found = static_cast<size_t>(count);
      Turn(std::span(ready).first(found), found == ready.size() ? kAcceptsPerFullTurn : kAcceptsPerTurn);
    }
    ExpireDeadlines();
    ResumeListeners();
    CountPending();
  }
}

// Pending connections first, then new ones (invariant 3). An event's source is looked at once, before its own step, which may free it.
void Front::Turn(std::span<const epoll_event> ready, size_t accept_budget) {
  for (const epoll_event& event : ready) {
    auto* source = static_cast<Source*>(event.data.ptr);
    if (source->kind == SourceKind::kListener) static_cast<Listener*>(source)->is_ready = true;
    if (source->kind == SourceKind::kPending) OnPendingEvent(*static_cast<Pending*>(source), event.events);
  }
  for (const auto& listener : listeners_)
    if (std::exchange(listener->is_ready, false)) AcceptFrom(*listener, accept_budget);
}

int Front::TimeoutMs() const {
  uint64_t next = UINT64_MAX;
  if (!handshaking_.empty()) next = std::min(next, handshaking_.front().deadline_ms);
  if (!awaiting_frame_.empty()) next = std::min(next, awaiting_frame_.front().deadline_ms);
  for (const auto& listener : listeners_)
    if (listener->paused_until_ms != 0) next = std::min(next, listener->paused_until_ms);
  if (next == UINT64_MAX) return -1;
  return next <= now_ms_ ? 0 : static_cast<int>(std::min<uint64_t>(next - now_ms_, 60'000));
}

void Front::ExpireDeadlines() {
  while (!handshaking_.empty() && handshaking_.front().deadline_ms <= now_ms_)
    Refuse(handshaking_.front(), FRONT_COUNTER_HANDSHAKE_TIMEOUT, "HANDSHAKE_TIMEOUT", "the TLS handshake took too long");
  while (!awaiting_frame_.empty() && awaiting_frame_.front().deadline_ms <= now_ms_) {
    const size_t received = awaiting_frame_.front().bytes.size();
    Refuse(awaiting_frame_.front(), FRONT_COUNTER_FIRST_FRAME_TIMEOUT, "FIRST_FRAME_TIMEOUT",
           received == 0 ? "nothing was sent" : "only " + std::to_string(received) + " bytes of the first frame were sent");
  }
}

void Front::AcceptFrom(Listener& listener, size_t budget) {
  for (size_t i = 0; i < budget; i++) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    UniqueFd fd(accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.is_open()) {
      if (peer.ss_family == AF_UNIX) peer = UnixPeerAddress(fd.get());
      Admit(listener, std::move(fd), peer);
      continue;
    }
    switch (errno) {
      case EAGAIN:
        return;
      case EMFILE:
      case ENFILE:
        if (RefuseWithReserve(listener)) break;
        PauseListener(listener);
        return;
      case ENOBUFS:
      case ENOMEM:
        Count(FRONT_COUNTER_ACCEPT_FAILED);
        Report(listener, {}, "ACCEPT_FAILED", "the system has no memory for another connection");
        PauseListener(listener);
        return;
      default:  // the connection was gone before it was accepted (ECONNABORTED, EPERM of a firewall, …)
        break;
    }
  }
}

void Front::Admit(Listener& listener, UniqueFd fd, const sockaddr_storage& peer) {
  Count(FRONT_COUNTER_ACCEPTED);
  if (handshaking_.size() + awaiting_frame_.size() >= options_.pending_max) {
    Count(FRONT_COUNTER_PENDING_LIMIT);
    return Report(listener, peer, "PENDING_LIMIT", "too many connections before their first frame");
  }
  const uint64_t key = AddressKey(peer);
  const CensusRefusal refusal = Census::Instance().Enter(key, options_.connections_max, options_.per_address_max);
  if (refusal == CensusRefusal::kConnectionLimit) {
    Count(FRONT_COUNTER_CONNECTION_LIMIT);
    return Report(listener, peer, "CONNECTION_LIMIT", "the gateway's limit of connections is reached");
  }
  if (refusal == CensusRefusal::kAddressLimit) {
    Count(FRONT_COUNTER_ADDRESS_LIMIT);
    return Report(listener, peer, "ADDRESS_LIMIT", "too many connections from this address");
  }
  CensusTicket ticket(key);
  const bool is_tls = !listener.options.context.empty();
  std::unique_ptr<TlsStream> tls;
  if (is_tls) {
    const SslContext context = contexts_.Get(listener.options.context);
    if (context != nullptr) tls = TlsStream::Accept(context.get());
  }
  std::list<Pending>& list = is_tls ? handshaking_ : awaiting_frame_;
  Pending& pending = list.emplace_back();
  pending.kind = SourceKind::kPending;
  pending.self = std::prev(list.end());
  pending.fd = std::move(fd);
  pending.tls = std::move(tls);
  pending.ticket = std::move(ticket);
  pending.listener = &listener;
  pending.peer = peer;
  pending.is_in_handshake = is_tls;
  pending.deadline_ms = now_ms_ + (is_tls ? options_.handshake_deadline_ms : options_.first_frame_deadline_ms);
  const bool is_complete = !is_tls || pending.tls != nullptr;
  if (is_complete && Watch(EPOLL_CTL_ADD, pending.fd.get(), EPOLLIN, &pending)) return;
  Refuse(pending, FRONT_COUNTER_ACCEPT_FAILED, "ACCEPT_FAILED", "there is no memory for another connection");
}

// Descriptors have run out: takes one connection and closes it at once, so that it neither waits for ever nor keeps the listener ready.
// False when even that failed; the listener must then pause, or the loop would spin.
bool Front::RefuseWithReserve(Listener& listener) {
  if (!reserve_.is_open()) reserve_ = OpenReserve();
  if (!reserve_.is_open()) return false;
  reserve_.Reset();
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  UniqueFd fd(accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
  const bool is_empty = !fd.is_open() && errno == EAGAIN;
  const bool is_refused = fd.is_open();
  fd.Reset();
  reserve_ = OpenReserve();
  if (!is_empty) {
    Count(FRONT_COUNTER_ACCEPT_FAILED);
    Report(listener, peer, "ACCEPT_FAILED", "no file descriptor is left: raise the limit (ulimit -n, LimitNOFILE)");
  }
  return is_refused || is_empty;
}

void Front::PauseListener(Listener& listener) {
  if (Watch(EPOLL_CTL_DEL, listener.fd.get(), 0, &listener)) listener.paused_until_ms = now_ms_ + kListenerPauseMs;
}

void Front::ResumeListeners() {
  for (const auto& listener : listeners_) {
    if (listener->paused_until_ms == 0 || listener->paused_until_ms > now_ms_) continue;
    const bool is_watched = Watch(EPOLL_CTL_ADD, listener->fd.get(), EPOLLIN, listener.get());
    listener->paused_until_ms = is_watched ? 0 : now_ms_ + kListenerPauseMs;
  }
}

bool Front::Watch(int operation, int fd, uint32_t events, Source* source) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  return epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

void Front::Refuse(Pending& pending, uint32_t counter, const char* reason, std::string detail) {
  Count(counter);
  Report(*pending.listener, pending.peer, reason, std::move(detail));
  SayGoodbye(pending);
  Discard(pending);
}

// At most kReportsPerSecond lines: a flood of bad peers must not become a flood of work for main.
void Front::Report(const Listener& listener, const sockaddr_storage& peer, const char* reason, std::string detail) {
  report_tokens_ += static_cast<double>(now_ms_ - report_tokens_at_ms_) * kReportsPerSecond / 1000;
  report_tokens_ = std::min(report_tokens_, kReportsPerSecond);
  report_tokens_at_ms_ = now_ms_;
  if (report_tokens_ < 1) return Count(FRONT_COUNTER_REFUSALS_UNREPORTED);
  report_tokens_ -= 1;
  if (!on_refused_({listener.index, ReadAddress(peer).text, reason, std::move(detail)})) Count(FRONT_COUNTER_REFUSALS_UNREPORTED);
}

// Closing the descriptor takes it out of epoll.
void Front::Discard(Pending& pending) { (pending.is_in_handshake ? handshaking_ : awaiting_frame_).erase(pending.self); }

void Front::Count(uint32_t counter, double by) {
  std::atomic_ref<double> value(counters_[counter]);
  value.store(value.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);  // one writer
}

void Front::CountPending() {
  std::atomic_ref<double>(counters_[FRONT_COUNTER_PENDING])
      .store(static_cast<double>(handshaking_.size() + awaiting_frame_.size()), std::memory_order_relaxed);
}

}  // namespace penstock
