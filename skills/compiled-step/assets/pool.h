// A pool that shares pieces of work by claiming: a thread that the scheduler has put aside holds nobody up.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  explicit Pool(int threads) : ranges_(threads), size_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { serve(i); });
  }

  ~Pool() {
    stopping_ = true;
    wake();
    for (auto& worker : workers_) worker.join();
  }

  int size() const { return size_; }

  // Calls work(piece, thread) for every piece in [0, pieces), the caller taking part as thread 0.
  template <class Work>
  void run(int pieces, const Work& work) {
    if (pieces <= 1 || size_ == 1) {
      for (int i = 0; i < pieces; ++i) work(i, 0);
      return;
    }
    work_ = &work;
    call_ = [](const void* w, int piece, int thread) { (*static_cast<const Work*>(w))(piece, thread); };
    finished_.store(0, std::memory_order_relaxed);
    ++phase_;
    resting_.store(false, std::memory_order_relaxed);
    for (int i = 0; i < size_; ++i)
      ranges_[i].claims.store(packed(pieces * i / size_, pieces * (i + 1) / size_), std::memory_order_seq_cst);
    if (parked_.load(std::memory_order_seq_cst) > 0) wake();
    take_pieces(0);
    for (int spins = 0; finished_.load(std::memory_order_acquire) < pieces; ++spins) pause(spins);
  }

  // Says that no work follows for a while: the other threads sleep instead of waiting in a loop.
  void rest() { resting_.store(true, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kField = (1u << 20) - 1;
  static constexpr int kSpins = 4000;      // some tens of microseconds
  static constexpr int kLastSpins = 100;   // when the step is over

  // Claims hold (phase, end, next piece) in one word, so that a late thread never pairs one phase's number with
  // another's work; a claimed piece keeps its phase open until it is finished.
  struct alignas(64) Range {
    std::atomic<uint64_t> claims{0};
  };

  uint64_t packed(int next, int end) const { return phase_ << 40 | uint64_t(end) << 20 | uint64_t(next); }

  static bool open(uint64_t claims) { return (claims & kField) < (claims >> 20 & kField); }

  bool any_open(std::memory_order order) const {
    for (const Range& range : ranges_)
      if (open(range.claims.load(order))) return true;
    return false;
  }

  // Each thread begins with its own range, the same in every step: its share of the weights stays in its caches.
  void take_pieces(int thread) {
    for (int i = 0; i < size_; ++i) take_range(ranges_[(thread + i) % size_].claims, thread);
  }

  void take_range(std::atomic<uint64_t>& claims, int thread) {
    while (open(claims.load(std::memory_order_acquire))) {
      uint64_t claim = claims.fetch_add(1, std::memory_order_acq_rel);
      if (!open(claim)) return;
      call_(work_, int(claim & kField), thread);
      finished_.fetch_add(1, std::memory_order_release);
    }
  }

  static void pause(int spins) {
    if (spins < 500) relax();
    else std::this_thread::yield();
  }

  void serve(int thread) {
    for (int spins = 0; !stopping_;) {
      if (any_open(std::memory_order_acquire)) {
        take_pieces(thread);
        spins = 0;
      } else if (++spins > (resting_.load(std::memory_order_relaxed) ? kLastSpins : kSpins)) {
        park();
        spins = 0;
      } else {
        relax();
      }
    }
  }

  void park() {
    std::unique_lock<std::mutex> lock(mutex_);
    parked_.fetch_add(1, std::memory_order_seq_cst);
    awake_.wait(lock, [this] { return stopping_ || any_open(std::memory_order_seq_cst); });
    parked_.fetch_sub(1, std::memory_order_seq_cst);
  }

  void wake() {
    std::lock_guard<std::mutex> lock(mutex_);
    awake_.notify_all();
  }

  alignas(64) std::atomic<int> finished_{0};
  alignas(64) std::atomic<int> parked_{0};
  std::atomic<bool> resting_{false};
  std::atomic<bool> stopping_{false};
  std::vector<Range> ranges_;
  uint64_t phase_ = 0;
  const void* work_ = nullptr;
  void (*call_)(const void*, int, int) = nullptr;
  int size_;
  std::mutex mutex_;
  std::condition_variable awake_;
  std::vector<std::thread> workers_;
};
