//! The threads that hash, and the bounded queue before them.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chassis::lifecycle::Lifecycle;
use tokio::sync::{Semaphore, TryAcquireError, oneshot};
use zeroize::Zeroizing;

use super::{HashingError, Kdf, PasswordHashing, Place, argon2id::Memory};
use crate::domain::{
    password::Password,
    phc::{CURRENT, Cost, OUTPUT_BYTES, PasswordHash, SALT_BYTES},
};

/// Seconds over which those who are turned away are spread. The queue empties in about one; were all told so, a crowd would
/// come back in one wave, take both what it waits for and what everybody else needs, and be turned away together again.
const RETRY_SPREAD: u64 = 3;

/// Callers whose turn it is, for each thread: one whose password is hashed, and those who ask the database before and after.
const TURNS: usize = 4;

/// Size of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    pub threads: usize,
    /// Passwords that wait while all threads hash.
    pub queue: usize,
}

impl PoolSize {
    /// `threads` of zero: one fewer than there are cores, at least one, so that a core is left for everything else.
    pub fn new(threads: usize, queue: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: if threads == 0 { cores.saturating_sub(1).max(1) } else { threads }, queue }
    }
}

/// A handle to the pool. The threads belong to the lifecycle and end when the pool is closed.
#[derive(Clone)]
pub struct HashingPool {
    /// One for each thread and each place in the queue.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    size: PoolSize,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    refused: AtomicU64,
    runs: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    closed: bool,
}

struct Job {
    password: Password,
    cost: Cost,
    salt: Vec<u8>,
    length: usize,
    answer: oneshot::Sender<Result<Zeroizing<Vec<u8>>, HashingError>>,
}

impl HashingPool {
    /// Starts the threads.
    pub fn start(size: PoolSize, kdf: &Arc<dyn Kdf>, lifecycle: &Lifecycle) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            refused: AtomicU64::new(0),
            runs: AtomicU64::new(0),
        });
        for number in 0..size.threads {
            let (shared, kdf) = (Arc::clone(&shared), Arc::clone(kdf));
            lifecycle.spawn_thread(format!("hashing-{number}"), move || {
                // A login takes milliseconds whatever else there is; who needs none of them waits for none.
                chassis::process::give_way();
                shared.work(kdf.as_ref());
            })?;
        }
        let places = Arc::new(Semaphore::new(size.threads + size.queue));
        Ok(Self { places, turns: Arc::new(Semaphore::new(TURNS * size.threads)), size, shared })
    }

    /// What waits is dropped and the threads end. For when no call is left that could want an answer.
    pub fn close(&self) {
        self.places.close();
        self.turns.close();
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Passwords that wait now: for their turn, or for a thread.
    pub fn waiting(&self) -> usize {
        let taken = (self.size.threads + self.size.queue).saturating_sub(self.places.available_permits());
        let in_turn = (TURNS * self.size.threads).saturating_sub(self.turns.available_permits());
        taken.saturating_sub(in_turn) + self.shared.lock().waiting.len()
    }

    /// Runs so far.
    pub fn runs(&self) -> u64 {
        self.shared.runs.load(Ordering::Relaxed)
    }

    /// Passwords turned away so far.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    async fn run(
        &self,
        password: &Password,
        cost: Cost,
        salt: Vec<u8>,
        length: usize,
    ) -> Result<Zeroizing<Vec<u8>>, HashingError> {
        let (answer, answered) = oneshot::channel();
        self.shared.push(Job { password: password.clone(), cost, salt, length, answer })?;
        answered.await.map_err(|_| HashingError::Failed)?
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), HashingError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(HashingError::Failed);
        }
        queue.waiting.push_back(job);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// The next job that somebody still waits for; `None` when the pool is closed.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            match queue.waiting.pop_front() {
                Some(job) if job.answer.is_closed() => {}
                Some(job) => return Some(job),
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn work(&self, kdf: &dyn Kdf) {
        let mut memory = Memory::default();
        while let Some(job) = self.next() {
            let mut out = Zeroizing::new(vec![0; job.length]);
            let done = kdf.run(&mut memory, job.cost, job.password.as_bytes(), &job.salt, &mut out);
            self.runs.fetch_add(1, Ordering::Relaxed);
            if self.lock().waiting.is_empty() {
                memory = Memory::default();
            }
            // Whoever asked may have gone meanwhile.
            let _ = job.answer.send(done.map(|()| out));
        }
    }
}

#[async_trait]
impl PasswordHashing for HashingPool {
    async fn admit(&self) -> Result<Place, HashingError> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits) => {
                let earlier = self.shared.refused.fetch_add(1, Ordering::Relaxed);
                return Err(HashingError::Busy {
                    retry_after: Duration::from_secs(1 + earlier % RETRY_SPREAD),
                });
            }
            Err(TryAcquireError::Closed) => return Err(HashingError::Failed),
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| HashingError::Failed)?;
        Ok(Place { _place: place, _turn: turn })
    }

    async fn hash(
        &self,
        _: &Place,
        password: &Password,
        salt: [u8; SALT_BYTES],
    ) -> Result<PasswordHash, HashingError> {
        let out = self.run(password, CURRENT, salt.to_vec(), OUTPUT_BYTES).await?;
        let out: &[u8; OUTPUT_BYTES] = out.as_slice().try_into().map_err(|_| HashingError::Failed)?;
        Ok(PasswordHash::new(salt, out))
    }

    async fn verify(
        &self,
        _: &Place,
        password: &Password,
        hash: &PasswordHash,
    ) -> Result<bool, HashingError> {
        let out = self.run(password, hash.cost(), hash.salt().to_vec(), hash.output_len()).await?;
        Ok(hash.matches(&out))
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::Shutdown;

    use super::*;
    use crate::hashing::argon2id::Argon2id;

    /// Hashes for real and notes whether it found memory of an earlier run.
    #[derive(Default)]
    struct Noting(Mutex<Vec<bool>>);

    impl Kdf for Noting {
        fn run(
            &self,
            memory: &mut Memory,
            cost: Cost,
            password: &[u8],
            salt: &[u8],
            out: &mut [u8],
        ) -> Result<(), HashingError> {
            self.0.lock().unwrap().push(memory.is_kept());
            Argon2id.run(memory, cost, password, salt, out)
        }
    }

    #[tokio::test]
    async fn memory_is_kept_for_who_waits_and_no_longer() {
        let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::ZERO });
        let noting = Arc::new(Noting::default());
        let kdf: Arc<dyn Kdf> = noting.clone();
        let pool = HashingPool::start(PoolSize { threads: 1, queue: 8 }, &kdf, &lifecycle).unwrap();
        let password = Password::parse("correct horse battery").unwrap();
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let hash = || pool.run(&password, cost, vec![1; 16], 32);
        hash().await.unwrap();
        hash().await.unwrap();
        assert_eq!(*noting.0.lock().unwrap(), [false, false], "nobody waited");

        // All at once, so that the thread finds the others whenever it has done with one.
        let answered = {
            let mut queue = pool.shared.lock();
            let mut push = |_| {
                let (answer, answered) = oneshot::channel();
                let job = Job { password: password.clone(), cost, salt: vec![1; 16], length: 32, answer };
                queue.waiting.push_back(job);
                answered
            };
            [(); 3].map(&mut push)
        };
        pool.shared.changed.notify_one();
        for answer in answered {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(noting.0.lock().unwrap()[2..], [false, true, true]);
        pool.close();
    }
}
