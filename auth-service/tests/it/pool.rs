//! The hashing pool under more than it can take: refused at once, and everything that needs no hashing goes on.

use std::sync::{Arc, Condvar, Mutex};

use auth_service::{
    Injected,
    domain::phc::Cost,
    hashing::{HashingError, Kdf, argon2id::Memory},
};
use chassis::lifecycle::Exit;
use tonic::Code;

use crate::{
    stack::{PASSWORD, Place, Stack, reason},
    store::at_once,
};

/// Hashes nothing until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.changed.notify_all();
    }
}

impl Kdf for Gate {
    fn run(
        &self,
        _: &mut Memory,
        _: Cost,
        password: &[u8],
        _: &[u8],
        out: &mut [u8],
    ) -> Result<(), HashingError> {
        drop(self.changed.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
        for (to, from) in out.iter_mut().zip(password.iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_queued_is_refused_and_the_rest_goes_on() {
    const QUEUE: usize = 64;
    let gate = Arc::new(Gate::default());
    let place = Place::new();
    let injected = Injected { kdf: gate.clone(), ..place.injected() };
    let env = [("LATCHKEY__HASHING__THREADS", "1")];
    let stack = Arc::new(Stack::start_injected(place, &env, injected).await);
    gate.set(true);
    stack.register("alice", PASSWORD).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    gate.set(false);

    // 300 users at once: one is hashed, 64 wait, the others are told to come back.
    let refused = Arc::new(tokio::sync::Semaphore::new(0));
    let opener = {
        let (gate, refused) = (Arc::clone(&gate), Arc::clone(&refused));
        let stack = Arc::clone(&stack);
        async move {
            let enough = u32::try_from(300 - QUEUE - 1).unwrap();
            let _ = refused.acquire_many(enough).await.unwrap();
            // Meanwhile what needs no hashing is answered.
            stack.key_set().await;
            let again = stack.refresh(&tokens.refresh_token).await.unwrap().refresh_token;
            // Who waits for a turn has asked the database nothing: of 65 four have counted their attempt.
            let attempts = "SELECT COUNT(*) FROM login_throttle";
            let counted = || async {
                let mut database = stack.place.database().await;
                sqlx::query_scalar::<_, i64>(attempts).fetch_one(&mut database).await.unwrap()
            };
            while counted().await < 4 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            stack.refresh(&again).await.unwrap();
            assert_eq!(counted().await, 4);
            gate.set(true);
        }
    };
    let logins = at_once(300, |number| {
        let (stack, refused) = (Arc::clone(&stack), Arc::clone(&refused));
        async move {
            let outcome = stack.login(&format!("user-{number}"), PASSWORD).await;
            if matches!(&outcome, Err(status) if status.code() == Code::ResourceExhausted) {
                refused.add_permits(1);
            }
            (number, outcome)
        }
    });
    let (outcomes, ()) = tokio::join!(logins, opener);
    let (mut busy, mut told) = (Vec::new(), [0_usize; 3]);
    for (number, outcome) in outcomes {
        let status = outcome.unwrap_err();
        match chassis::status::reason(&status).as_deref() {
            Some("HASHING_BUSY") => {
                busy.push(number);
                let seconds = chassis::status::retry_after(&status).unwrap().as_secs();
                told[usize::try_from(seconds).unwrap() - 1] += 1;
            }
            Some("INVALID_CREDENTIALS") => {}
            other => panic!("{other:?}: {status:?}"),
        }
    }
    assert_eq!(busy.len(), 300 - QUEUE - 1);
    assert!(
        told.iter().all(|share| share.abs_diff(busy.len() / 3) <= 1),
        "they do not come back together: {told:?}"
    );
    // What was refused for want of room was no attempt.
    let turned_away = format!("user-{}", busy[0]);
    for _ in 0..5 {
        assert_eq!(reason(stack.login(&turned_away, PASSWORD).await), "INVALID_CREDENTIALS");
    }
    stack.login("alice", PASSWORD).await.unwrap();
    let (_, exit) = Arc::into_inner(stack).unwrap().stop().await;
    assert_eq!(exit, Exit::Clean, "the threads end with the service");
}
